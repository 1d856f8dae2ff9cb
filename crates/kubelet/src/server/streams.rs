//! `/exec`, `/attach`, `/portForward`: a client's connection joined with the runtime's.
//!
//! SPDY goes through as it is; a WebSocket's channels become SPDY streams here.

use std::sync::Arc;

use client::Body;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use streaming::{
    channel::{self, Protocol},
    relay::relay,
    translate::{Wanted, translate, tunnel},
    upgrade,
};
use tokio::net::TcpStream;

use super::{query::Query, text};
use crate::{cri::v1, kubelet::Kubelet, pod::PodExt};

/// What a client wants of a pod.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'a> {
    /// Run a command in a container.
    Exec(&'a str),
    /// Use a container's own streams.
    Attach(&'a str),
    /// Reach ports.
    PortForward,
}

/// How the client's messages become the runtime's bytes.
#[derive(Debug, PartialEq, Eq)]
enum Join {
    /// As they are.
    Relay,
    /// Channels become streams.
    Translate(Protocol, Wanted),
    /// The WebSocket carries SPDY.
    Tunnel,
}

/// How the runtime is asked for its streams.
#[derive(Debug)]
struct Hello {
    method: Method,
    headers: HeaderMap,
}

/// The subprotocol of a WebSocket that carries SPDY is this before the protocol within.
const TUNNEL: &str = "SPDY/3.1+";
/// The protocol within SPDY for commands.
const COMMAND_PROTOCOL: &str = "v4.channel.k8s.io";

/// Joins the client with the runtime.
///
/// # Errors
/// The answer that says why not.
pub async fn answer(
    kubelet: &Arc<Kubelet>,
    (namespace, pod): (&str, &str),
    ask: Ask<'_>,
    query: &Query,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Response<Body>> {
    let refused = |why: &str| text(StatusCode::BAD_REQUEST, why.to_owned());
    let missing = || text(StatusCode::NOT_FOUND, "pod does not exist");
    let pod = kubelet.find_pod(namespace, pod, None).ok_or_else(missing)?;
    let headers = request.headers().clone();
    let Some(client) = request.extensions_mut().remove::<OnUpgrade>().filter(|_| upgrade::is_upgrade(&headers)) else {
        return Err(refused("Upgrade request required"));
    };
    let wanted = wanted(&pod, ask, query).map_err(refused)?;
    let (join, answered, hello) = plan(&headers, ask, wanted).map_err(refused)?;
    // A tunnel's SPDY streams name their ports themselves.
    if let (Ask::PortForward, Join::Relay, true) = (ask, &join, upgrade::is_web_socket(&headers)) {
        ports(query).map_err(|why| refused(&why))?;
    }
    let failed = |why: String| text(StatusCode::INTERNAL_SERVER_ERROR, why);
    let url = url(kubelet, &pod, ask, wanted, query).await.map_err(failed)?;
    let response = dial(&url, hello).await.map_err(failed)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(response.map(Body::from));
    }
    let answered = answered.unwrap_or_else(|| upgrade::headers_of(response.headers()));
    let runtime = hyper::upgrade::on(response).await.map_err(|error| failed(error.to_string()))?;
    let stop = kubelet.stop.clone();
    tokio::spawn(async move {
        let joined = async {
            match join {
                Join::Relay => {
                    relay(client, runtime).await;
                    Ok(())
                }
                Join::Translate(protocol, wanted) => {
                    let client = client.await.map_err(std::io::Error::other)?;
                    translate(TokioIo::new(client), protocol, TokioIo::new(runtime), wanted).await
                }
                Join::Tunnel => {
                    let client = client.await.map_err(std::io::Error::other)?;
                    tunnel(TokioIo::new(client), TokioIo::new(runtime)).await
                }
            }
        };
        if let Some(Err(error)) = stop.run_until_cancelled(joined).await {
            tracing::debug!(%error, "a stream to a container broke");
        }
    });
    Ok(upgrade::switched(answered))
}

/// How to join, with the headers that accept a WebSocket where the runtime's are not passed on, and how to ask the
/// runtime.
fn plan(headers: &HeaderMap, ask: Ask<'_>, wanted: Wanted) -> Result<(Join, Option<HeaderMap>, Hello), &'static str> {
    if !upgrade::is_web_socket(headers) {
        let spoken = headers.get_all(upgrade::STREAM_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        return Ok((Join::Relay, None, Hello::spdy(&spoken.collect::<Vec<_>>().join(","))));
    }
    const UNKNOWN: &str = "unable to upgrade: unable to negotiate protocol";
    const BROKEN: &str = "unable to upgrade: no Sec-WebSocket-Key";
    if let Ask::PortForward = ask {
        let offered = channel::offered(headers);
        let Some(spoken) = offered.into_iter().find_map(|name| name.strip_prefix(TUNNEL)) else {
            // The older form: a pair of channels a port, which the runtime knows to speak.
            return Ok((Join::Relay, None, Hello::passed_on(headers)));
        };
        let accepted = channel::accepted(headers, &format!("{TUNNEL}{spoken}")).ok_or(BROKEN)?;
        return Ok((Join::Tunnel, Some(accepted), Hello::spdy(spoken)));
    }
    let protocol = channel::choose(headers).ok_or(UNKNOWN)?;
    let accepted = channel::accepted(headers, protocol.name).ok_or(BROKEN)?;
    Ok((Join::Translate(protocol, wanted), Some(accepted), Hello::spdy(COMMAND_PROTOCOL)))
}

/// The streams that are asked for. Upstream: remotecommand's `NewOptions`.
fn wanted(pod: &Pod, ask: Ask<'_>, query: &Query) -> Result<Wanted, &'static str> {
    let container = match ask {
        Ask::PortForward => return Ok(Wanted::default()),
        Ask::Exec(container) | Ask::Attach(container) => container,
    };
    let on = |name: &str| query.get(name) == Some("1");
    let mut tty = on("tty");
    let wanted = Wanted { stdin: on("input"), stdout: on("output"), stderr: on("error") && !tty, tty };
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        return Err("you must specify at least 1 of stdin, stdout, stderr");
    }
    if let Ask::Attach(_) = ask {
        // Whether a process runs in a terminal was decided at its start.
        tty = pod.find_container(container).is_some_and(|(_, one)| one.tty == Some(true));
    }
    Ok(Wanted { tty, ..wanted })
}

/// Where the runtime serves it, once.
async fn url(kubelet: &Kubelet, pod: &Pod, ask: Ask<'_>, wanted: Wanted, query: &Query) -> Result<String, String> {
    let Wanted { stdin, stdout, stderr, tty } = wanted;
    let said = |error: crate::cri::Error| error.to_string();
    match ask {
        Ask::Exec(container) => {
            let found = kubelet.running_container(pod, container).await.map_err(said)?;
            let container_id = found.ok_or_else(|| format!("container not found ({container:?})"))?.id;
            let cmd = query.all("command");
            let request = v1::ExecRequest { container_id, cmd, tty, stdin, stdout, stderr };
            Ok(kubelet.runtime.exec(request).await.map_err(said)?.url)
        }
        Ask::Attach(container) => {
            let found = kubelet.running_container(pod, container).await.map_err(said)?;
            let missing = || format!("container {container} not found in pod {}_{}", pod.name(), pod.namespace());
            let container_id = found.ok_or_else(missing)?.id;
            let request = v1::AttachRequest { container_id, stdin, tty, stdout, stderr };
            Ok(kubelet.runtime.attach(request).await.map_err(said)?.url)
        }
        Ask::PortForward => {
            let missing = || format!("pod {}_{} not found", pod.name(), pod.namespace());
            let pod_sandbox_id = kubelet.sandbox_id(pod).await.map_err(said)?.ok_or_else(missing)?;
            // Over SPDY each stream names its own.
            let port = ports(query).unwrap_or_default();
            let request = v1::PortForwardRequest { pod_sandbox_id, port };
            Ok(kubelet.runtime.port_forward(request).await.map_err(said)?.url)
        }
    }
}

/// The ports that a WebSocket is to reach. Upstream: portforward's `NewV4Options`.
fn ports(query: &Query) -> Result<Vec<i32>, String> {
    let given = query.all("port");
    if given.is_empty() {
        return Err("query parameter \"port\" is required".to_owned());
    }
    if given.iter().any(|text| text.is_empty()) {
        return Err("query parameter \"port\" cannot be empty".to_owned());
    }
    let number = |text: &str| match text.parse::<u16>() {
        Ok(0) => Err(format!("port {text:?} must be > 0")),
        Ok(port) => Ok(i32::from(port)),
        Err(error) => Err(format!("unable to parse {text:?} as a port: {error}")),
    };
    given.iter().flat_map(|text| text.split(',')).map(number).collect()
}

// === impl Hello ===

impl Hello {
    /// SPDY, and one of the protocols within it.
    fn spdy(protocols: &str) -> Hello {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, upgrade::SPDY);
        let names = protocols.split(',').map(str::trim).filter(|one| !one.is_empty());
        for name in names.filter_map(|name| HeaderValue::from_str(name).ok()) {
            headers.append(upgrade::STREAM_PROTOCOL, name);
        }
        Hello { method: Method::POST, headers }
    }

    /// The client's own WebSocket, which the runtime is to answer.
    fn passed_on(client: &HeaderMap) -> Hello {
        Hello { method: Method::GET, headers: upgrade::headers_of(client) }
    }
}

/// Asks the runtime's streaming server for its streams.
async fn dial(url: &str, hello: Hello) -> Result<Response<Incoming>, String> {
    let url: Uri = url.parse().map_err(|error| format!("{url:?}: {error}"))?;
    let authority = url.authority().map(ToString::to_string).unwrap_or_default();
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(hello.method).uri(path).body(Body::empty());
    if let Ok(request) = &mut request {
        *request.headers_mut() = hello.headers;
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    let request = request.map_err(|error| error.to_string())?;
    let io = TcpStream::connect(&authority).await.map_err(|error| format!("dial tcp {authority}: {error}"))?;
    let _ = io.set_nodelay(true);
    upgrade::send(io, &authority, request).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use http::header::{SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION};
    use rstest::rstest;

    use super::*;

    fn web_socket(protocol: &'static str) -> HeaderMap {
        let texts = [
            (UPGRADE, "websocket"),
            (CONNECTION, "Upgrade"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_PROTOCOL, protocol),
            (http::header::AUTHORIZATION, "Bearer secret"),
        ];
        texts.into_iter().map(|(name, text)| (name, HeaderValue::from_static(text))).collect()
    }

    /// kube-rs and the Python client forward ports with a pair of channels a port, not with SPDY in a WebSocket.
    #[test]
    fn ports_over_channels_are_the_runtimes_to_serve() {
        let (join, answered, hello) =
            plan(&web_socket("v4.channel.k8s.io"), Ask::PortForward, Wanted::default()).unwrap();
        assert_eq!((join, answered, &hello.method), (Join::Relay, None, &Method::GET));
        assert_eq!(hello.headers[SEC_WEBSOCKET_PROTOCOL], "v4.channel.k8s.io");
        assert!(!hello.headers.contains_key(http::header::AUTHORIZATION));
        let (join, answered, hello) =
            plan(&web_socket("SPDY/3.1+portforward.k8s.io"), Ask::PortForward, Wanted::default()).unwrap();
        assert_eq!((join, &hello.method), (Join::Tunnel, &Method::POST));
        assert_eq!(answered.unwrap()[SEC_WEBSOCKET_PROTOCOL], "SPDY/3.1+portforward.k8s.io");
        assert_eq!(hello.headers[upgrade::STREAM_PROTOCOL], "portforward.k8s.io");
    }

    #[rstest]
    #[case("port=80", Ok(vec![80]))]
    #[case("port=80&port=81,82", Ok(vec![80, 81, 82]))]
    #[case("", Err("query parameter \"port\" is required"))]
    #[case("port=", Err("query parameter \"port\" cannot be empty"))]
    #[case("port=0", Err("port \"0\" must be > 0"))]
    #[case("port=x", Err("unable to parse \"x\" as a port: invalid digit found in string"))]
    fn ports_of_a_web_socket(#[case] query: &str, #[case] expected: Result<Vec<i32>, &str>) {
        assert_eq!(ports(&Query::parse(query)), expected.map_err(str::to_owned));
    }
}
