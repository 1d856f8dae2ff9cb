//! The resource of any kind that the server has, built in or custom.

use client::{Client, ClientError, Resource, json};

use super::resources;

/// A resource, and whether its objects can be scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The resource.
    pub resource: Resource,
    /// Whether it has a subresource `scale`.
    pub has_scale: bool,
}

/// Asks the server which resource a kind belongs to; none if there is no such kind.
///
/// # Errors
/// What the server says.
pub async fn find(client: &Client, api_version: &str, kind: &str) -> Result<Option<Found>, ClientError> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let path = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{api_version}") };
    let list = match client.get(&path).await {
        Ok(bytes) => json::parse(&bytes)?,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let rows = list.array_at("resources");
    let Some(row) = rows.iter().find(|row| row.str_at("kind") == kind && !row.str_at("name").contains('/')) else {
        return Ok(None);
    };
    let plural = row.str_at("name");
    let scale = format!("{plural}/scale");
    let resource = resources::of_kind(api_version, kind).unwrap_or_else(|| Resource {
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        plural: plural.to_owned().into(),
        kind: kind.to_owned().into(),
        namespaced: row.at("namespaced").as_bool().unwrap_or_default(),
    });
    Ok(Some(Found { resource, has_scale: rows.iter().any(|row| row.str_at("name") == scale) }))
}
