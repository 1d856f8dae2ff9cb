//! An etcd of the test's own: random ports, a directory in memory, ended with the test.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use store::EtcdConfig;

use crate::harness::On;

pub struct EtcdServer {
    binary: PathBuf,
    directory: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
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

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port()
}

impl EtcdServer {
    pub fn start(on: On) -> Self {
        let memory = PathBuf::from("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let directory = directory.expect("a temporary directory");
        let mut server = Self { binary: binary(on), directory, port: free_port(), child: None };
        server.run();
        server
    }

    pub fn config(&self) -> EtcdConfig {
        EtcdConfig { endpoints: vec![format!("http://127.0.0.1:{}", self.port)], ..EtcdConfig::default() }
    }

    /// Starts etcd on its data, with the same port.
    pub fn run(&mut self) {
        let (client, peer) = (format!("http://127.0.0.1:{}", self.port), format!("http://127.0.0.1:{}", free_port()));
        let data = self.directory.path().join("data");
        let child = Command::new(&self.binary)
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

    /// The same data on another port.
    pub fn move_to(&mut self, port: Option<u16>) -> u16 {
        self.kill();
        let before = std::mem::replace(&mut self.port, port.unwrap_or_else(free_port));
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
