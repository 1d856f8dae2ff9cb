//! The addresses of this machine's interfaces.

use std::net::IpAddr;

/// All addresses that are local to this network namespace, as the kernel lists them. Empty where it can't be asked.
pub fn addresses() -> Vec<IpAddr> {
    let v4 =
        std::fs::read_to_string("/proc/thread-self/net/fib_trie").map(|text| parse_fib_trie(&text)).unwrap_or_default();
    let v6 =
        std::fs::read_to_string("/proc/thread-self/net/if_inet6").map(|text| parse_if_inet6(&text)).unwrap_or_default();
    v4.into_iter().chain(v6).collect()
}

/// Lines `|-- ADDRESS` followed by `/32 host LOCAL` are local addresses.
fn parse_fib_trie(text: &str) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    let mut last: Option<IpAddr> = None;
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("|-- ") {
            Some(address) => last = address.parse().ok(),
            None if line == "/32 host LOCAL" => addresses.extend(last),
            None => {}
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Lines begin with 32 hexadecimal digits.
fn parse_if_inet6(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| u128::from_str_radix(line.get(..32)?, 16).ok();
    text.lines().filter_map(address).map(|bits| IpAddr::from(bits.to_be_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_lists() {
        let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 10.0.0.0/24 2 0 2\n        |-- 10.0.0.7\n           /32 host LOCAL\n        |-- 10.0.0.255\n           /32 link BROADCAST\n";
        assert_eq!(parse_fib_trie(trie), ["10.0.0.7".parse::<IpAddr>().unwrap()]);
        let inet6 = "fe8000000000000000000000000000aa 02 40 20 80     eth0\n";
        assert_eq!(parse_if_inet6(inet6), ["fe80::aa".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn this_machine_has_loopback() {
        assert!(addresses().contains(&"127.0.0.1".parse().unwrap()));
    }
}
