//! `pods/exec`, `pods/attach`, `pods/portforward`: the client's connection becomes one to the kubelet.

use ::api::status::Status;
use client::Body;
use http::Response;
use streaming::upgrade::is_upgrade;

use super::join::join;
use super::location::{self, target};
use super::translated::Translation;
use crate::api::Api;
use crate::context::Context;
use crate::request::Query;
use crate::served::Served;

/// The API's flags, and what kubelets call them.
const FLAGS: [(&str, &str); 4] = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];

/// Joins the client with the kubelet.
///
/// # Errors
/// The user may not, the pod or node is not there, or the kubelet can't be reached.
pub async fn connect(api: &Api, context: &Context, served: &Served) -> Result<Response<Body>, Status> {
    let info = &context.info;
    // A WebSocket begins with a GET, which must not be allowed more than a POST.
    api.authorize(context, "create")?;
    let pod = location::pod(api, context, served).await?;
    let base = format!("{}/{}", info.namespace, info.name);
    let path = match info.subresource.as_str() {
        "portforward" => format!("/portForward/{base}"),
        verb => {
            let container = location::container(&pod, context.query.get("container").unwrap_or_default())?;
            format!("/{verb}/{base}/{container}")
        }
    };
    let unbound = || Status::bad_request(format!("pod {} does not have a host assigned", info.name));
    let node = location::node(api, &pod)?.ok_or_else(unbound)?;
    if !is_upgrade(&context.headers) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let uri = target(&path, &params(&info.subresource, &context.query));
    let kubelet = api.kubelets.peer(&node)?;
    match Translation::needed(&node, &info.subresource, context) {
        Some(translation) => translation.connect(context, &kubelet, &uri).await,
        None => join(context, &kubelet, &uri).await,
    }
}

/// The kubelet's parameters. Upstream: `streamParams`.
fn params(subresource: &str, query: &Query) -> Vec<(&'static str, String)> {
    if subresource == "portforward" {
        let ports: Vec<&str> = query.all("ports").collect();
        return if ports.is_empty() { Vec::new() } else { vec![("port", ports.join(","))] };
    }
    let flags = FLAGS.into_iter().filter(|(name, _)| query.flag(name));
    let mut params: Vec<(&str, String)> = flags.map(|(_, name)| (name, "1".to_owned())).collect();
    if subresource == "exec" {
        params.extend(query.all("command").map(|word| ("command", word.to_owned())));
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let query = Query::parse("stdin=true&stdout=1&stderr=false&tty=true&command=sh&command=-c&ports=80&ports=81");
        assert_eq!(target("", &params("exec", &query)), "?input=1&output=1&tty=1&command=sh&command=-c");
        assert_eq!(target("", &params("attach", &query)), "?input=1&output=1&tty=1");
        assert_eq!(target("", &params("portforward", &query)), "?port=80%2C81");
    }
}
