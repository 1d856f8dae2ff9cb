//! Calls to etcd over gRPC: those few that are used.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::wire;
use crate::{CommitError, EtcdConfig, OpenError, ReadError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that does not answer a ping is dead; upstream's numbers.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes on their way to us before etcd must wait: an initial list comes at the speed of the network.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Requests in a watch stream that wait to be sent.
const ASKS_MAX: usize = 4;

/// A connection to one etcd cluster. Clones share it.
#[derive(Clone)]
pub(crate) struct Client {
    channel: Channel,
}

/// One stream with one watcher.
pub(crate) struct WatchStream {
    asks: mpsc::Sender<wire::WatchRequest>,
    responses: Streaming<wire::WatchResponse>,
}

// === impl Client ===

impl Client {
    /// Connects when the first call is made, and again whenever the connection was lost.
    pub(crate) fn new(config: &EtcdConfig) -> Result<Self, OpenError> {
        let endpoints = config.endpoints.iter().map(|url| endpoint(url, config)).collect::<Result<Vec<_>, _>>()?;
        let channel = match &endpoints[..] {
            [] => return Err(OpenError::Etcd("no endpoint is given".into())),
            [one] => one.connect_lazy(),
            _ => Channel::balance_list(endpoints.into_iter()),
        };
        Ok(Self { channel })
    }

    async fn call<Q, R>(&self, path: &'static str, request: Q) -> Result<R, Status>
    where
        Q: prost::Message + 'static,
        R: prost::Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let response =
            grpc.unary(Request::new(request), PathAndQuery::from_static(path), ProstCodec::default()).await?;
        Ok(response.into_inner())
    }

    pub(crate) async fn range(&self, request: wire::RangeRequest) -> Result<wire::RangeResponse, Status> {
        self.call("/etcdserverpb.KV/Range", request).await
    }

    pub(crate) async fn txn(&self, request: wire::TxnRequest) -> Result<wire::TxnResponse, Status> {
        self.call("/etcdserverpb.KV/Txn", request).await
    }

    pub(crate) async fn compact(&self, revision: u64) -> Result<(), Status> {
        let request = wire::CompactionRequest { revision: revision as i64 };
        self.call::<_, wire::Empty>("/etcdserverpb.KV/Compact", request).await.map(drop)
    }

    /// A lease for `ttl` seconds.
    pub(crate) async fn grant(&self, ttl: i64) -> Result<i64, Status> {
        let request = wire::LeaseGrantRequest { ttl };
        self.call::<_, wire::LeaseGrantResponse>("/etcdserverpb.Lease/LeaseGrant", request).await.map(|lease| lease.id)
    }

    pub(crate) async fn version(&self) -> Result<String, Status> {
        self.call::<_, wire::StatusResponse>("/etcdserverpb.Maintenance/Status", wire::Empty {})
            .await
            .map(|status| status.version)
    }

    pub(crate) async fn watch(&self, create: wire::WatchCreateRequest) -> Result<WatchStream, Status> {
        let (asks, receiver) = mpsc::channel(ASKS_MAX);
        // The channel is empty.
        let _ = asks.try_send(wire::WatchRequest { ask: Some(wire::WatchAsk::Create(create)) });
        let mut request = Request::new(ReceiverStream::new(receiver));
        // A member that has lost the others ends the watch instead of staying silent.
        request.metadata_mut().insert("hasleader", tonic::metadata::MetadataValue::from_static("true"));
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        let responses = grpc.streaming(request, path, ProstCodec::default()).await?.into_inner();
        Ok(WatchStream { asks, responses })
    }
}

fn endpoint(url: &str, config: &EtcdConfig) -> Result<Endpoint, OpenError> {
    let refused = |error: tonic::transport::Error| OpenError::Etcd(format!("endpoint {url}: {}", chain(&error)));
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(refused)?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let Some(tls) = &config.tls else { return Ok(endpoint) };
    let mut client = ClientTlsConfig::new();
    if !tls.ca.is_empty() {
        client = client.ca_certificate(Certificate::from_pem(&tls.ca));
    }
    if !tls.certificate.is_empty() {
        client = client.identity(Identity::from_pem(&tls.certificate, &tls.key));
    }
    endpoint.tls_config(client).map_err(refused)
}

// === impl WatchStream ===

impl WatchStream {
    /// The next response, complete: fragments are put together. None at the stream's end.
    ///
    /// May be dropped while it waits: the fragments that came are in `partial`, for the next call.
    pub(crate) async fn next(
        &mut self,
        partial: &mut Option<wire::WatchResponse>,
    ) -> Result<Option<wire::WatchResponse>, Status> {
        while let Some(mut response) = self.responses.message().await? {
            if let Some(mut before) = partial.take() {
                before.events.append(&mut response.events);
                response.events = before.events;
            }
            if !response.fragment {
                return Ok(Some(response));
            }
            *partial = Some(response);
        }
        Ok(None)
    }

    /// Asks for a response that says how far the watch has come. It is asked for again if it must.
    pub(crate) fn ask_progress(&self) {
        let _ = self.asks.try_send(wire::WatchRequest { ask: Some(wire::WatchAsk::Progress(wire::Empty {})) });
    }
}

// === errors ===

/// The message with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

pub(crate) fn describe(status: &Status) -> String {
    match status.source() {
        Some(cause) => format!("{}: {}", status.message(), chain(cause)),
        None => status.message().to_owned(),
    }
}

pub(crate) fn is_lease_gone(status: &Status) -> bool {
    status.message().contains("requested lease not found")
}

pub(crate) fn is_compacted(status: &Status) -> bool {
    status.message().contains("required revision has been compacted")
}

/// Whether asking again, ever, could help at opening.
pub(crate) fn is_refusal(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented | Code::InvalidArgument
    )
}

/// What a failed transaction means. Only what certainly did not happen is not `Unknown`.
pub(crate) fn commit_error(status: &Status) -> CommitError {
    let text = describe(status);
    let has = |part: &str| text.contains(part);
    if has("database space exceeded") {
        return CommitError::Full { needed: 0, free: 0 };
    }
    if has("request is too large")
        || has("too many operations")
        || has("duplicate key")
        || status.code() == Code::InvalidArgument
    {
        return CommitError::Invalid(text);
    }
    let not_sent = has("onnect error") || has("trying to connect") || has("tcp connect") || has("onnection refused");
    let refused = has("no leader") || has("too many requests") || is_refusal(status) || is_lease_gone(status);
    if not_sent || refused { CommitError::Unavailable(text) } else { CommitError::Unknown(io::Error::other(text)) }
}

pub(crate) fn read_error(status: &Status) -> ReadError {
    ReadError::Unavailable(describe(status))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Status::resource_exhausted("etcdserver: mvcc: database space exceeded"), "Full")]
    #[case(Status::invalid_argument("etcdserver: request is too large"), "Invalid")]
    #[case(Status::unavailable("etcdserver: request timed out"), "Unknown")]
    #[case(Status::unavailable("etcdserver: leader changed"), "Unknown")]
    #[case(Status::unknown("h2 protocol error: broken pipe"), "Unknown")]
    #[case(Status::unavailable("tcp connect error"), "Unavailable")]
    #[case(Status::unavailable("etcdserver: no leader"), "Unavailable")]
    #[case(Status::permission_denied("etcdserver: permission denied"), "Unavailable")]
    fn only_what_did_not_happen_is_not_unknown(#[case] status: Status, #[case] expected: &str) {
        assert!(format!("{:?}", commit_error(&status)).starts_with(expected));
    }
}
