//! The machine's own name servers, from `resolv.conf`.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// DNS's port.
const PORT: u16 = 53;

/// The name servers of a `resolv.conf`, without those that would lead back here.
///
/// `own` are addresses of this server, the cluster IP included. A file that can't be read names no servers.
pub fn name_servers(path: &Path, own: &[SocketAddr]) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    parse(&text).into_iter().filter(|server| !own.contains(server)).collect()
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then_some(())?;
        // A zone (`%eth0`) after a link-local address is not followed.
        let address: IpAddr = words.next()?.parse().ok()?;
        Some(SocketAddr::new(address, PORT))
    };
    let mut servers: Vec<SocketAddr> = text.lines().filter_map(server).collect();
    servers.dedup();
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_servers_and_leaves_out_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let text = "# comment\nsearch a.b\nnameserver 10.96.0.10\n nameserver 192.168.0.1 # router\nnameserver fd00::1\nnameserver bad\n";
        std::fs::write(&path, text).unwrap();
        let servers = name_servers(&path, &["10.96.0.10:53".parse().unwrap()]);
        assert_eq!(servers, ["192.168.0.1:53".parse().unwrap(), "[fd00::1]:53".parse::<SocketAddr>().unwrap()]);
        assert!(name_servers(&folder.path().join("missing"), &[]).is_empty());
    }
}
