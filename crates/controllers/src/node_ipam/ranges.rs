//! Cutting a range of addresses into equal pieces.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A range of addresses: `10.244.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    first: u128,
    prefix: u32,
    is_v4: bool,
}

/// Not a range of addresses.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid CIDR address: {0}")]
pub struct BadRange(String);

// === impl Range ===

impl Range {
    fn bits(self) -> u32 {
        if self.is_v4 { 32 } else { 128 }
    }

    /// The number of addresses that a prefix leaves, less one.
    fn mask(bits: u32, prefix: u32) -> u128 {
        u128::MAX.checked_shr(128 - (bits - prefix)).unwrap_or(0)
    }

    fn last(self) -> u128 {
        self.first | Range::mask(self.bits(), self.prefix)
    }

    /// Whether they have an address in common.
    pub fn overlaps(self, other: Range) -> bool {
        self.is_v4 == other.is_v4 && self.first <= other.last() && other.first <= self.last()
    }

    /// Length of a node's prefix; upstream's defaults of `--node-cidr-mask-size`.
    pub fn node_prefix(self) -> u32 {
        let usual = if self.is_v4 { 24 } else { 64 };
        usual.max(self.prefix)
    }

    /// How many pieces there are for nodes.
    pub fn pieces(self) -> u128 {
        1u128.checked_shl(self.node_prefix() - self.prefix).unwrap_or(u128::MAX)
    }

    /// One of the pieces.
    pub fn piece(self, index: u128) -> Range {
        let prefix = self.node_prefix();
        let size = Range::mask(self.bits(), prefix).wrapping_add(1);
        Range { first: self.first.wrapping_add(index.wrapping_mul(size)), prefix, is_v4: self.is_v4 }
    }

    /// The first piece from `from` on (and around) that overlaps nothing in `used`, with its index.
    pub fn free_piece(self, from: u128, used: &[Range]) -> Option<(u128, Range)> {
        let pieces = self.pieces();
        // As many pieces can't be taken by fewer ranges, unless these are larger: then all are tried.
        let indexes = (0..pieces).map(|step| (from % pieces + step) % pieces);
        let candidates = indexes.map(|index| (index, self.piece(index)));
        candidates.into_iter().find(|(_, piece)| !used.iter().any(|range| range.overlaps(*piece)))
    }
}

impl FromStr for Range {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Range, BadRange> {
        let bad = || BadRange(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(bad)?;
        let (address, prefix) =
            (address.parse::<IpAddr>().map_err(|_| bad())?, prefix.parse::<u32>().map_err(|_| bad())?);
        let (first, bits, is_v4) = match address {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32, true),
            IpAddr::V6(address) => (u128::from(address), 128, false),
        };
        if prefix > bits {
            return Err(bad());
        }
        Ok(Range { first: first & !Range::mask(bits, prefix), prefix, is_v4 })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match u32::try_from(self.first) {
            Ok(address) if self.is_v4 => IpAddr::from(address.to_be_bytes()),
            _ => IpAddr::from(self.first.to_be_bytes()),
        };
        write!(f, "{address}/{}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::first("10.244.0.0/16", 0, &[], Some("10.244.0.0/24"))]
    #[case::next("10.244.0.0/16", 1, &["10.244.0.0/24"], Some("10.244.1.0/24"))]
    #[case::around("10.244.0.0/23", 1, &["10.244.1.0/24"], Some("10.244.0.0/24"))]
    #[case::full("10.244.0.0/23", 0, &["10.244.1.0/24", "10.244.0.0/24"], None)]
    #[case::services_within("10.0.0.0/8", 0, &["10.0.0.0/16"], Some("10.1.0.0/24"))]
    #[case::smaller_than_a_node("10.1.2.0/26", 0, &[], Some("10.1.2.0/26"))]
    #[case::v6("fd00::/48", 1, &["10.0.0.0/8"], Some("fd00:0:0:1::/64"))]
    #[case::all_of_v6("::/0", 0, &[], Some("::/64"))]
    fn pieces(#[case] cluster: &str, #[case] from: u128, #[case] used: &[&str], #[case] expected: Option<&str>) {
        let used: Vec<Range> = used.iter().map(|text| text.parse().unwrap()).collect();
        let cluster: Range = cluster.parse().unwrap();
        let piece = cluster.free_piece(from, &used).map(|(_, piece)| piece.to_string());
        assert_eq!(piece.as_deref(), expected);
    }

    #[rstest]
    #[case("10.244.0.0")]
    #[case("10.244.0.0/33")]
    #[case("x/8")]
    fn nonsense(#[case] text: &str) {
        assert_eq!(text.parse::<Range>(), Err(BadRange(text.to_owned())));
    }
}
