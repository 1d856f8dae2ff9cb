//! WebSockets for kubelets that speak only SPDY. Upstream: `StreamTranslatorHandler` and `TunnelingHandler` of
//! apiserver's util/proxy.

use std::io;

use ::api::status::Status;
use client::Body;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use streaming::channel::{self, PROTOCOLS, Protocol};
use streaming::translate::{Wanted, translate, tunnel};
use streaming::upgrade::{SPDY, STREAM_PROTOCOL, is_web_socket, switched};

use super::dial::Peer;
use super::join::forwarded_for;
use super::location::Node;
use crate::context::Context;

/// What stands between a client's WebSocket and a kubelet's SPDY connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Translation {
    /// Channels become streams.
    Command(Protocol, Wanted),
    /// Messages carry the SPDY connection; the protocol within it.
    Tunnel(String),
}

/// The subprotocol of a WebSocket that carries SPDY is this before the protocol within.
const TUNNEL: &str = "SPDY/3.1+";
/// Protocols within a tunnel end like this.
const OURS: &str = ".k8s.io";
/// The protocol that clients of kubelets speak within SPDY.
const COMMAND_PROTOCOL: &str = "v4.channel.k8s.io";

// === impl Translation ===

impl Translation {
    /// What a request needs; none where the kubelet takes it as it is. The older forms all kubelets take.
    pub fn needed(node: &Node, subresource: &str, context: &Context) -> Option<Translation> {
        if node.takes_web_sockets || !is_web_socket(&context.headers) {
            return None;
        }
        let offered = channel::offered(&context.headers);
        if subresource == "portforward" {
            let mut within = offered.iter().filter_map(|name| name.strip_prefix(TUNNEL));
            return within.find(|name| name.ends_with(OURS)).map(|name| Translation::Tunnel(name.to_owned()));
        }
        let protocol = PROTOCOLS.into_iter().find(|one| one.has_close && offered.contains(&one.name))?;
        let on = |name| context.query.flag(name);
        let wanted = Wanted { stdin: on("stdin"), stdout: on("stdout"), stderr: on("stderr"), tty: on("tty") };
        Some(Translation::Command(protocol, wanted))
    }

    /// Joins the client with the kubelet.
    ///
    /// # Errors
    /// The kubelet can't be reached or speaks no SPDY, or the WebSocket's handshake is none.
    pub async fn connect(self, context: &Context, kubelet: &Peer, target: &str) -> Result<Response<Body>, Status> {
        let accepted = channel::accepted(&context.headers, &self.subprotocol());
        let client = context.upgrade.lock().take();
        let broken = || Status::bad_request("websocket: the client is not using the websocket protocol");
        let (accepted, client) = accepted.zip(client).ok_or_else(broken)?;
        let mut request =
            Request::builder().method(Method::POST).uri(target).body(Body::empty()).map_err(Status::internal)?;
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, SPDY);
        headers.insert(STREAM_PROTOCOL, HeaderValue::from_str(self.protocol()).map_err(Status::internal)?);
        forwarded_for(headers, context);
        let failed = |error| Status::new(500, "", format!("error dialing backend: {error}"));
        let response = kubelet.send(request).await.map_err(failed)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response.map(Body::from));
        }
        let kubelet = hyper::upgrade::on(response).await.map_err(Status::internal)?;
        tokio::spawn(async move {
            let joined = async {
                let client = TokioIo::new(client.await.map_err(io::Error::other)?);
                match self {
                    Translation::Command(protocol, wanted) => {
                        translate(client, protocol, TokioIo::new(kubelet), wanted).await
                    }
                    Translation::Tunnel(_) => tunnel(client, TokioIo::new(kubelet)).await,
                }
            };
            if let Err(error) = joined.await {
                tracing::debug!(%error, "a stream to a kubelet broke");
            }
        });
        Ok(switched(accepted))
    }

    /// What the client is told that is spoken.
    fn subprotocol(&self) -> String {
        match self {
            Translation::Command(protocol, _) => protocol.name.to_owned(),
            Translation::Tunnel(within) => format!("{TUNNEL}{within}"),
        }
    }

    /// What the kubelet is asked to speak.
    fn protocol(&self) -> &str {
        match self {
            Translation::Command(..) => COMMAND_PROTOCOL,
            Translation::Tunnel(within) => within,
        }
    }
}
