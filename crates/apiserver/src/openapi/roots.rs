//! Paths above resources: discovery, the version, keys of tokens.

use api::registry::Registry;

use super::root;
use super::routes::{Content, OBJECTS, Route, known};

pub const VERSION: &str = "io.k8s.apimachinery.pkg.version.Info";

/// Documents of version 3 that belong to no group and version, by path: each has one method.
pub fn all() -> Vec<(String, Route)> {
    let mut all = vec![
        (".well-known/openid-configuration".to_owned(), configuration()),
        ("api".to_owned(), discovery("/api/", "APIVersions", "APIVersions", "get available API versions")),
        ("apis".to_owned(), discovery("/apis/", "APIGroupList", "APIVersions", "get available API versions")),
        ("openid/v1/jwks".to_owned(), keys()),
        ("version".to_owned(), version()),
    ];
    for group in Registry::builtin().groups().iter().filter(|group| !group.name.is_empty()) {
        let path = format!("apis/{}", group.name);
        let route = discovery(&format!("/{path}/"), "APIGroup", "APIGroup", "get information of a group");
        all.push((path, route));
    }
    all
}

/// What a group and version has.
pub fn resources(group: &str, version: &str) -> Route {
    let path = format!("{}/", root(group, version));
    discovery(&path, "APIResourceList", "APIResources", "get available resources")
}

fn discovery(path: &str, kind: &str, operation: &str, description: &str) -> Route {
    Route {
        id: ("get", operation.to_owned()),
        description: description.to_owned(),
        consumes: OBJECTS,
        produces: OBJECTS.to_vec(),
        answer: known("", "v1", kind).map(Content::Struct),
        ..Route::new(path.to_owned())
    }
}

fn version() -> Route {
    const JSON: &[&str] = OBJECTS.split_at(1).0;
    Route {
        id: ("get", "CodeVersion".to_owned()),
        description: "get the version information for this server".to_owned(),
        consumes: JSON,
        produces: JSON.to_vec(),
        answer: Some(Content::Named(VERSION)),
        ..Route::new("/version/".to_owned())
    }
}

fn configuration() -> Route {
    Route {
        id: ("get", "ServiceAccountIssuerOpenIDConfiguration".to_owned()),
        description: "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'"
            .to_owned(),
        produces: vec!["application/json"],
        answer: Some(Content::Text),
        ..Route::new("/.well-known/openid-configuration/".to_owned())
    }
}

fn keys() -> Route {
    Route {
        id: ("get", "ServiceAccountIssuerOpenIDKeyset".to_owned()),
        description: "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)"
            .to_owned(),
        produces: vec!["application/jwk-set+json"],
        answer: Some(Content::Text),
        ..Route::new("/openid/v1/jwks/".to_owned())
    }
}
