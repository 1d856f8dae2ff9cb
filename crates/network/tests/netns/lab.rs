//! Network namespaces for tests: made, wired, entered, removed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a client waits for what must come, and for what must not.
pub const PATIENCE: Duration = Duration::from_secs(2);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A group of namespaces that belong to one test.
pub struct Lab {
    prefix: String,
    made: Vec<String>,
}

impl Lab {
    pub fn new() -> Lab {
        let prefix = format!("xbt{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        Lab { prefix, made: Vec::new() }
    }

    /// Makes a namespace with loopback up.
    pub fn namespace(&mut self, name: &str) -> Ns {
        let full = format!("{}-{name}", self.prefix);
        run(&format!("ip netns add {full}"));
        self.made.push(full.clone());
        run(&format!("ip -n {full} link set lo up"));
        Ns(full)
    }

    /// A client outside: joined to the node by a wire, 172.30.0.2 to 172.30.0.1 (and fd30::2 to fd30::1).
    pub fn outside(&mut self, node: &Ns) -> Ns {
        let client = self.namespace("client");
        run(&format!("ip link add eth0 netns {} type veth peer name eth0 netns {}", node.0, client.0));
        for (ns, host) in [(node, 1), (&client, 2)] {
            run(&format!("ip -n {} address add 172.30.0.{host}/24 dev eth0", ns.0));
            run(&format!("ip -n {} address add fd30::{host}/64 dev eth0 nodad", ns.0));
            run(&format!("ip -n {} link set eth0 up", ns.0));
        }
        run(&format!("ip -n {} route add default via 172.30.0.1", client.0));
        run(&format!("ip -n {} -6 route add default via fd30::1", client.0));
        client
    }

    /// A pod on a routed wire: 10.244.0.N and fd44::N.
    pub fn pod(&mut self, node: &Ns, n: u8) -> Ns {
        let pod = self.namespace(&format!("p{n}"));
        run(&format!("ip link add pod{n} netns {} type veth peer name eth0 netns {}", node.0, pod.0));
        run(&format!("ip -n {} address add 10.244.0.{n}/32 dev eth0", pod.0));
        run(&format!("ip -n {} address add fd44::{n}/128 dev eth0 nodad", pod.0));
        run(&format!("ip -n {} link set eth0 up", pod.0));
        run(&format!("ip -n {} route add 10.244.0.1 dev eth0", pod.0));
        run(&format!("ip -n {} route add default via 10.244.0.1", pod.0));
        run(&format!("ip -n {} address add 10.244.0.1/32 dev pod{n}", node.0));
        run(&format!("ip -n {} address add fd44::1/128 dev pod{n} nodad", node.0));
        run(&format!("ip -n {} link set pod{n} up", node.0));
        run(&format!("ip -n {} route add 10.244.0.{n} dev pod{n}", node.0));
        run(&format!("ip -n {} -6 route add fd44::{n} dev pod{n}", node.0));
        run(&format!("ip -n {} -6 route add fd44::1 dev eth0", pod.0));
        run(&format!("ip -n {} -6 route add default via fd44::1", pod.0));
        pod
    }

    /// A node that forwards.
    pub fn node(&mut self) -> Ns {
        let node = self.namespace("node");
        run(&format!("ip netns exec {} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1", node.0));
        node
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.made {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

/// Runs a command that must succeed.
pub fn run(command: &str) {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().expect(words[0]);
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A namespace.
#[derive(Clone, Debug)]
pub struct Ns(pub String);

impl Ns {
    /// Runs something inside, on a thread of its own.
    pub fn enter<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
        let path = format!("/run/netns/{}", self.0);
        std::thread::spawn(move || {
            let file = std::fs::File::open(path).unwrap();
            rustix::thread::move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&file),
                Some(rustix::thread::LinkNameSpaceType::Network),
            )
            .unwrap();
            work()
        })
    }

    /// Runs something inside on a runtime, all of whose threads are inside.
    pub fn block_on<T: Send + 'static>(&self, work: impl std::future::Future<Output = T> + Send + 'static) -> T {
        self.enter(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(work)
        })
    }

    /// A server on TCP and UDP port 8080 that tells its name and who asked; then it echoes lines.
    pub fn serve(&self, name: &'static str) {
        let (ready, is_ready) = std::sync::mpsc::channel();
        let udp_ready = ready.clone();
        self.spawn(move || {
            let listener = TcpListener::bind("[::]:8080").unwrap();
            ready.send(()).unwrap();
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let from = stream.peer_addr().map(|peer| peer.ip().to_canonical().to_string());
                    let mut writer = stream.try_clone().unwrap();
                    let _ = writeln!(writer, "{name} {}", from.unwrap_or_default());
                    for line in BufReader::new(stream).lines().map_while(Result::ok) {
                        let _ = writeln!(writer, "{name} {line}");
                    }
                });
            }
        });
        self.spawn(move || {
            let socket = UdpSocket::bind("[::]:8080").unwrap();
            udp_ready.send(()).unwrap();
            let mut buffer = [0; 100];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(name.as_bytes(), from);
            }
        });
        is_ready.recv().unwrap();
        is_ready.recv().unwrap();
    }

    /// Connects from inside and gives the server's first line: its name and whom it saw.
    pub fn ask(&self, to: &str) -> Result<String, std::io::ErrorKind> {
        let to: SocketAddr = to.parse().unwrap();
        self.enter(move || ask(to))
    }

    /// The names that answer to many connections, sorted, once each.
    pub fn who_answers(&self, to: &str, times: usize) -> Vec<String> {
        let to: SocketAddr = to.parse().unwrap();
        self.enter(move || {
            let name = |_| ask(to).unwrap().split(' ').next().unwrap().to_string();
            let names: std::collections::BTreeSet<String> = (0..times).map(name).collect();
            names.into_iter().collect()
        })
    }

    /// A connection from inside that stays.
    pub fn connect(&self, to: &str) -> Connection {
        let to: SocketAddr = to.parse().unwrap();
        let stream = self.enter(move || TcpStream::connect_timeout(&to, PATIENCE).unwrap());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = Connection { reader: BufReader::new(stream.try_clone().unwrap()), stream };
        connection.line();
        connection
    }

    /// A UDP socket from inside.
    pub fn udp(&self, local: IpAddr) -> UdpSocket {
        self.enter(move || {
            let socket = UdpSocket::bind((local, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        })
    }
}

fn ask(to: SocketAddr) -> Result<String, std::io::ErrorKind> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE).map_err(|error| error.kind())?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = String::new();
    BufReader::new(stream.take(200)).read_line(&mut line).map_err(|error| error.kind())?;
    Ok(line.trim().to_string())
}

/// Asks over UDP through a socket that stays.
pub fn ask_udp(socket: &UdpSocket, to: &str) -> Option<String> {
    socket.send_to(b"?", to).unwrap();
    let mut buffer = [0; 100];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).to_string())
}

/// A connection that stays.
pub struct Connection {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Connection {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim().to_string()
    }

    /// Sends a line and gives the answer.
    pub fn say(&mut self, text: &str) -> String {
        writeln!(self.stream, "{text}").unwrap();
        self.line()
    }
}
