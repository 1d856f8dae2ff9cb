//! Addresses and ranges, by family.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IP family. The proxy keeps one table a family; the two know nothing of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Family {
    V4,
    V6,
}

/// A range of addresses in prefix notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    address: IpAddr,
    prefix_bits: u8,
}

/// The text is no range of addresses.
#[derive(Debug, thiserror::Error)]
#[error("invalid CIDR {0:?}: expected ADDRESS/BITS")]
pub struct InvalidCidr(String);

// === impl Family ===

impl Family {
    /// Both families.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// The family of an address.
    pub fn of(address: &IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// nftables' word for the family and for its header.
    pub fn nft(self) -> &'static str {
        match self {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }
    }

    /// nftables' type of an address.
    pub fn nft_type(self) -> &'static str {
        match self {
            Family::V4 => "ipv4_addr",
            Family::V6 => "ipv6_addr",
        }
    }

    /// An EndpointSlice's `addressType`, and upstream's label value in metrics and health.
    pub fn kubernetes(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }

    /// The loopback range.
    pub fn loopback(self) -> &'static str {
        match self {
            Family::V4 => "127.0.0.0/8",
            Family::V6 => "::1",
        }
    }
}

/// Reads an address as old API objects may hold it: IPv4 numbers may have leading zeros.
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| {
        let mut octets = text.split('.').map(|part| part.parse::<u8>().ok());
        let address = [octets.next()??, octets.next()??, octets.next()??, octets.next()??];
        octets.next().is_none().then(|| Ipv4Addr::from(address).into())
    })
}

// === impl Cidr ===

impl Cidr {
    /// The range of addresses that share their first bits with this one.
    pub fn of(address: IpAddr, prefix_bits: u8) -> Cidr {
        Cidr { address: mask(address, prefix_bits), prefix_bits }
    }

    /// All addresses of a family.
    pub fn all(family: Family) -> Cidr {
        match family {
            Family::V4 => Cidr { address: Ipv4Addr::UNSPECIFIED.into(), prefix_bits: 0 },
            Family::V6 => Cidr { address: Ipv6Addr::UNSPECIFIED.into(), prefix_bits: 0 },
        }
    }

    /// The family of the range.
    pub fn family(&self) -> Family {
        Family::of(&self.address)
    }

    /// Whether the range holds all addresses of its family.
    pub fn is_all(&self) -> bool {
        self.prefix_bits == 0
    }

    /// Whether the range begins with a loopback address.
    pub fn is_loopback(&self) -> bool {
        self.address.is_loopback()
    }

    /// Whether the address is in the range.
    pub fn contains(&self, address: &IpAddr) -> bool {
        Family::of(address) == self.family() && mask(*address, self.prefix_bits) == self.address
    }

    /// The first address.
    pub fn network(&self) -> IpAddr {
        self.address
    }

    /// The length of the prefix in bits.
    pub fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }

    /// The n-th address of the range, if there is one.
    pub fn nth(&self, n: u32) -> Option<IpAddr> {
        let address = match self.address {
            IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from(u32::from(address).checked_add(n)?)),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address).checked_add(n.into())?)),
        };
        self.contains(&address).then_some(address)
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    /// Reads a range; bits beyond the prefix are cleared, blanks around it ignored.
    fn from_str(text: &str) -> Result<Cidr, InvalidCidr> {
        let invalid = || InvalidCidr(text.to_string());
        let (address, bits) = text.trim().split_once('/').ok_or_else(invalid)?;
        let address = parse_ip(address).ok_or_else(invalid)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.parse().ok().filter(|bits| *bits <= bits_max).ok_or_else(invalid)?;
        Ok(Cidr { address: mask(address, prefix_bits), prefix_bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

/// An address with all bits after the prefix cleared.
fn mask(address: IpAddr, prefix_bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits)).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits)).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain("10.244.0.0/16", "10.244.255.1", true)]
    #[case::outside("10.244.0.0/16", "10.245.0.1", false)]
    #[case::host_bits_are_cleared("10.244.3.4/16", "10.244.9.9", true)]
    #[case::everything("0.0.0.0/0", "1.2.3.4", true)]
    #[case::other_family("0.0.0.0/0", "::1", false)]
    #[case::blanks(" fd00::/64 ", "fd00::17", true)]
    #[case::one_address("fd00::17/128", "fd00::18", false)]
    fn contains(#[case] cidr: Cidr, #[case] address: IpAddr, #[case] expected: bool) {
        assert_eq!(cidr.contains(&address), expected);
    }

    #[rstest]
    #[case("10.0.0.0", None)]
    #[case("10.0.0.0/33", None)]
    #[case("010.001.0.3/32", Some("10.1.0.3/32"))]
    fn parses(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(text.parse::<Cidr>().ok().map(|cidr| cidr.to_string()).as_deref(), expected);
    }
}
