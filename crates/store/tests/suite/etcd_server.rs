//! An etcd of the test's own: its own address, a directory in memory, ended with the test.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use store::{EtcdConfig, EtcdTls};

use crate::harness::On;

pub struct EtcdServer {
    binary: PathBuf,
    directory: tempfile::TempDir,
    address: String,
    child: Option<Child>,
    /// Serves and demands certificates.
    tls: bool,
}

/// `XEBEC_ETCD` and `XEBEC_ETCD_NEW` name others.
fn binary(on: On) -> PathBuf {
    let (variable, path) = match on {
        On::EtcdNew => ("XEBEC_ETCD_NEW", "/root/.cache/upstream-v1.37.2/etcd"),
        _ => ("XEBEC_ETCD", "/usr/bin/etcd"),
    };
    if let Some(named) = std::env::var_os(variable) {
        return named.into();
    }
    if on == On::EtcdNew && !PathBuf::from(path).exists() {
        eprintln!("{path} has not been built: {variable} names another; this test runs on the distribution's etcd");
        return binary(On::Etcd);
    }
    path.into()
}

/// An address and port that no other test has: by this process's number and a counter. Free ports that are looked
/// for are found by two at a time.
fn free_address() -> String {
    static COUNTER: AtomicU16 = AtomicU16::new(0);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    format!("127.{}.{middle}.{low}:{}", 64 + high, 12379 + COUNTER.fetch_add(1, Ordering::Relaxed))
}

impl EtcdServer {
    pub fn start(on: On) -> Self {
        let mut server = Self::prepare(on);
        server.run();
        server
    }

    /// An etcd that knows its clients by their certificates.
    pub fn start_with_tls(on: On) -> Self {
        let mut server = Self::prepare(on);
        server.tls = true;
        server.make_certificates();
        server.run();
        server
    }

    fn prepare(on: On) -> Self {
        let memory = PathBuf::from("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let directory = directory.expect("a temporary directory");
        Self { binary: binary(on), directory, address: free_address(), child: None, tls: false }
    }

    fn make_certificates(&self) {
        let script = "
            set -e
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.crt
            for name in server client; do
                openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=$name -keyout $name.key -out $name.csr
                printf \"subjectAltName=IP:$IP\\nextendedKeyUsage=serverAuth,clientAuth\\n\" > extensions
                openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out $name.crt
            done";
        let ip = self.address.split(':').next().unwrap_or_default();
        let made = Command::new("sh").args(["-c", script]).env("IP", ip).current_dir(self.directory.path()).output();
        let made = made.expect("a shell");
        assert!(made.status.success(), "openssl is needed: {}", String::from_utf8_lossy(&made.stderr));
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.directory.path().join(name)).expect("it was made")
    }

    fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    pub fn config(&self) -> EtcdConfig {
        let tls = self.tls.then(|| EtcdTls {
            ca: self.file("ca.crt"),
            certificate: self.file("client.crt"),
            key: self.file("client.key"),
        });
        EtcdConfig { endpoints: vec![self.url()], tls, ..EtcdConfig::default() }
    }

    /// Starts etcd on its data, at the same address.
    pub fn run(&mut self) {
        let (client, peer) = (self.url(), format!("http://{}", free_address()));
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let data = self.directory.path().join("data");
        let mut command = Command::new(&self.binary);
        if self.tls {
            let files = [("cert-file", "server.crt"), ("key-file", "server.key"), ("trusted-ca-file", "ca.crt")];
            command.args(files.map(|(flag, file)| format!("--{flag}={}", path(file)))).arg("--client-cert-auth");
        }
        let child = command
            .arg(format!("--data-dir={}", data.display()))
            .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
            .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
            .args([
                format!("--initial-cluster=default={peer}"),
                "--log-level=fatal".to_owned(),
                "--logger=zap".to_owned(),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(
            child.unwrap_or_else(|error| panic!("{}: {error}; install the package etcd-server", self.binary.display())),
        );
    }

    /// The same data at another address.
    pub fn move_to(&mut self, address: Option<String>) -> String {
        self.kill();
        let before = std::mem::replace(&mut self.address, address.unwrap_or_else(free_address));
        self.run();
        before
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
        }
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.kill();
    }
}
