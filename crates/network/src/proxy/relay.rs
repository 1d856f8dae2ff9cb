//! NodePorts on localhost: a relay over TCP in this process.
//!
//! Kernels don't route from 127.0.0.1 to pods unless `route_localnet` opens the loopback range to the network, which
//! is a known hole. Upstream (pkg/proxy/localnodeportproxy, alpha in 1.37) relays for the same reason.

use super::model::Relay;
use rand::seq::IndexedRandom;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a connection to an endpoint may take to be set up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A pause after a failed accept (no descriptors left, mostly), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The relays of one family.
pub struct Relays {
    listen: IpAddr,
    active: HashMap<u16, Listener>,
}

struct Listener {
    target: Arc<parking_lot::Mutex<Target>>,
    stop: CancellationToken,
    accepting: JoinHandle<Option<()>>,
}

/// Where connections go.
struct Target {
    relay: Relay,
    /// The endpoint that local clients stay with, and when it was last used.
    pinned: Option<(SocketAddr, Instant)>,
}

// === impl Relays ===

impl Relays {
    /// No relays yet; listeners will be on this address.
    pub fn new(listen: IpAddr) -> Relays {
        Relays { listen, active: HashMap::new() }
    }

    /// Opens and closes listeners so that they are the wanted ones. A listener whose endpoints change stays, with its
    /// connections. One that can't be opened is logged and tried again at the next call.
    pub async fn sync(&mut self, wanted: &BTreeMap<u16, Relay>) {
        let unwanted: Vec<Listener> =
            self.active.extract_if(|port, _| !wanted.contains_key(port)).map(|(_, listener)| listener).collect();
        for listener in unwanted {
            listener.close().await;
        }
        for (port, relay) in wanted {
            if let Some(listener) = self.active.get(port) {
                listener.target.lock().update(relay);
                continue;
            }
            match TcpListener::bind((self.listen, *port)).await {
                Ok(listener) => {
                    self.active.insert(*port, Listener::start(listener, relay));
                }
                Err(error) => tracing::warn!(%error, port, address = %self.listen, "no NodePort on localhost"),
            }
        }
    }

    /// The number of open listeners.
    pub fn len(&self) -> usize {
        self.active.len()
    }

    /// Whether no listener is open.
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }
}

// === impl Listener ===

impl Listener {
    fn start(listener: TcpListener, relay: &Relay) -> Listener {
        let target = Arc::new(parking_lot::Mutex::new(Target { relay: relay.clone(), pinned: None }));
        let stop = CancellationToken::new();
        let accepting = stop.clone().run_until_cancelled_owned(accept(listener, target.clone(), stop.clone()));
        Listener { target, stop, accepting: tokio::spawn(accepting) }
    }

    /// Closes the listener and its connections; new connections are refused once this returns.
    async fn close(mut self) {
        self.stop.cancel();
        // It ends by the cancellation; a panic in it is reported by the runtime.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Listener {
    /// Closes the listener and its connections.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, target: Arc<parking_lot::Mutex<Target>>, stop: CancellationToken) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let endpoint = target.lock().pick(Instant::now());
                tokio::spawn(stop.clone().run_until_cancelled_owned(relay(client, endpoint)));
            }
            Err(error) => {
                tracing::debug!(%error, "accept on localhost NodePort");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Copies both ways; an end of one direction is passed on, the other goes on.
async fn relay(mut client: TcpStream, endpoint: Option<SocketAddr>) {
    let Some(endpoint) = endpoint else { return };
    let copied = async {
        let mut server = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint)).await??;
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        tokio::io::copy_bidirectional(&mut client, &mut server).await
    };
    if let Err(error) = copied.await {
        tracing::debug!(%error, %endpoint, "localhost NodePort connection");
    }
}

// === impl Target ===

impl Target {
    fn update(&mut self, relay: &Relay) {
        if self.relay.affinity_seconds != relay.affinity_seconds {
            self.pinned = None;
        }
        if self.relay != *relay {
            self.relay = relay.clone();
        }
    }

    /// An endpoint at random; with affinity the same one for as long as it is used often enough.
    fn pick(&mut self, now: Instant) -> Option<SocketAddr> {
        let Some(seconds) = self.relay.affinity_seconds else {
            return self.relay.endpoints.choose(&mut rand::rng()).copied();
        };
        let keep = Duration::from_secs(seconds.into());
        let pinned = self
            .pinned
            .filter(|(endpoint, used)| now.duration_since(*used) <= keep && self.relay.endpoints.contains(endpoint));
        let endpoint = match pinned {
            Some((endpoint, _)) => Some(endpoint),
            None => self.relay.endpoints.choose(&mut rand::rng()).copied(),
        };
        self.pinned = endpoint.map(|endpoint| (endpoint, now));
        endpoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut text = Vec::new();
                    let _ = stream.read_to_end(&mut text).await;
                    let _ = stream.write_all(&text).await;
                });
            }
        });
        address
    }

    async fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn relays_whole_conversations_and_closes_with_the_service() {
        let (endpoint, port) = (echo().await, free_port().await);
        let mut relays = Relays::new("127.0.0.1".parse().unwrap());
        let relay = Relay { node_port: port, endpoints: vec![endpoint], affinity_seconds: None };
        relays.sync(&BTreeMap::from([(port, relay)])).await;

        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "hello");

        let mut idle = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        relays.sync(&BTreeMap::new()).await;
        assert!(matches!(idle.read(&mut [0]).await, Ok(0) | Err(_)));
        assert!(relays.is_empty());
    }

    #[test]
    fn affinity_holds_until_it_is_not_used() {
        let endpoints: Vec<SocketAddr> = (1..=50).map(|n| SocketAddr::from(([10, 0, 0, n], 80))).collect();
        let relay = Relay { node_port: 30_000, endpoints: endpoints.clone(), affinity_seconds: Some(10) };
        let mut target = Target { relay: relay.clone(), pinned: None };
        let start = Instant::now();
        let first = target.pick(start).unwrap();
        assert!((1..5).all(|n| target.pick(start + Duration::from_secs(n * 9)) == Some(first)));

        let others = endpoints.into_iter().filter(|endpoint| *endpoint != first).collect();
        target.update(&Relay { endpoints: others, ..relay });
        assert_ne!(target.pick(start + Duration::from_secs(37)), Some(first));
    }
}
