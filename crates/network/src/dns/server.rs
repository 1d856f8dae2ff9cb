//! Listening: UDP and TCP on one or several addresses.

use super::forward::Forwarder;
use super::index::Index;
use super::wire::{self, Answer, Code, Data, Query, kind};
use super::zone::{Outcome, Zone};
use parking_lot::RwLock;
use rand::Rng;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long a TCP client may be silent.
const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(8);
/// TCP clients at once; more wait in the kernel's queue.
const TCP_CLIENTS_MAX: usize = 1_000;
/// A pause after a failed receive or accept (no descriptors left, mostly), so that it does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// A server: what it knows, and whom it asks.
pub struct Server {
    /// The cluster's names.
    pub zone: Zone,
    /// What there is.
    pub index: RwLock<Index>,
    /// Other servers.
    pub forwarder: Forwarder,
}

/// What is to be done with a query.
enum Next {
    Done(Vec<u8>),
    Nothing,
    /// A CNAME leads out of the cluster.
    Complete(Query, Answer, String),
    Forward(Query),
}

// === impl Server ===

impl Server {
    /// Listens on an address until `stop`; both protocols are on the same port.
    ///
    /// # Errors
    /// Where the address can't be bound.
    pub async fn listen(self: &Arc<Server>, address: SocketAddr, stop: &CancellationToken) -> io::Result<SocketAddr> {
        let udp = UdpSocket::bind(address).await?;
        let bound = udp.local_addr()?;
        let tcp = TcpListener::bind(bound).await?;
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve_udp(self.clone(), Arc::new(udp))));
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve_tcp(self.clone(), tcp, stop.clone())));
        Ok(bound)
    }

    /// Answers what needs no other server at once.
    fn begin(&self, bytes: &[u8], bytes_max: impl Fn(&Query) -> usize) -> Next {
        let query = match Query::parse(bytes) {
            Ok(query) => query,
            Err(malformed) => return malformed.id.map_or(Next::Nothing, |id| Next::Done(wire::format_error(id))),
        };
        if query.edns.is_some_and(|edns| edns.version > 0) || !query.is_internet() {
            let code = if query.is_internet() { Code::NoError } else { Code::Refused };
            return Next::Done(Answer::code(code).encode(&query, bytes_max(&query)));
        }
        let outcome = match &query.name {
            Some(name) => self.zone.answer(&self.index.read(), name, query.kind),
            None => Outcome::NotOurs,
        };
        match outcome {
            Outcome::Answer(mut answer) => {
                rotate(&mut answer);
                Next::Done(answer.encode(&query, bytes_max(&query)))
            }
            Outcome::Outside(cnames, target) => {
                let answer = Answer { authoritative: true, answers: cnames, ..Answer::code(Code::NoError) };
                Next::Complete(query, answer, target)
            }
            Outcome::NotOurs => Next::Forward(query),
        }
    }

    async fn finish(&self, next: Next, bytes: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        match next {
            Next::Done(answer) => Some(answer),
            Next::Nothing => None,
            Next::Forward(query) => Some(self.forwarder.answer(&query, bytes, over_tcp).await),
            Next::Complete(query, mut answer, target) => {
                if matches!(query.kind, kind::A | kind::AAAA) {
                    answer.answers.extend(self.forwarder.resolve(&target, query.kind).await);
                }
                let bytes_max = if over_tcp { wire::TCP_BYTES_MAX } else { query.udp_bytes() };
                Some(answer.encode(&query, bytes_max))
            }
        }
    }
}

/// Begins a list of addresses at another one each time: clients take the first.
fn rotate(answer: &mut Answer) {
    let are_addresses = answer.answers.iter().all(|record| matches!(record.data, Data::A(_) | Data::Aaaa(_)));
    if answer.answers.len() > 1 && are_addresses {
        let by = rand::rng().random_range(0..answer.answers.len());
        answer.answers.rotate_left(by);
    }
}

/// Answers what it can at once, from this task; what needs other servers gets a task of its own.
async fn serve_udp(server: Arc<Server>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; wire::TCP_BYTES_MAX];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "DNS receive");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let bytes = &buffer[..length];
        match server.begin(bytes, Query::udp_bytes) {
            Next::Done(answer) => send(&socket, &answer, client).await,
            Next::Nothing => {}
            next => {
                let (server, socket, bytes) = (server.clone(), socket.clone(), bytes.to_vec());
                tokio::spawn(async move {
                    if let Some(answer) = server.finish(next, &bytes, false).await {
                        send(&socket, &answer, client).await;
                    }
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, answer: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(answer, client).await {
        tracing::debug!(%error, %client, "DNS answer");
    }
}

async fn serve_tcp(server: Arc<Server>, listener: TcpListener, stop: CancellationToken) {
    let clients = Arc::new(Semaphore::new(TCP_CLIENTS_MAX));
    loop {
        let Ok(permit) = clients.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = server.clone();
                let client = async move {
                    // The end of the stream, or a broken client: nothing to tell anybody.
                    let _ = serve_client(&server, stream).await;
                    drop(permit);
                };
                tokio::spawn(stop.clone().run_until_cancelled_owned(client));
            }
            Err(error) => {
                tracing::debug!(%error, "DNS accept");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// Questions of one client, one after the other.
async fn serve_client(server: &Server, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = timeout(TCP_IDLE_TIMEOUT, stream.read_u16()).await??;
        let mut bytes = vec![0; length.into()];
        timeout(TCP_IDLE_TIMEOUT, stream.read_exact(&mut bytes)).await??;
        let next = server.begin(&bytes, |_| wire::TCP_BYTES_MAX);
        if let Some(answer) = server.finish(next, &bytes, true).await {
            let mut message = (answer.len() as u16).to_be_bytes().to_vec();
            message.extend(answer);
            timeout(TCP_IDLE_TIMEOUT, stream.write_all(&message)).await??;
        }
    }
}

#[cfg(test)]
mod tests;
