//! PEM blocks, as far as rules look into them: what kind of thing is there, and whether it is
//! DER at all. Signatures and names are the business of who uses a certificate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One block.
#[derive(Debug, PartialEq)]
pub struct Block<'a> {
    pub label: &'a str,
    pub has_headers: bool,
    pub bytes: Vec<u8>,
}

/// The first block of a text and what comes after it. Like Go's decoder, skips what is no block.
pub fn decode(text: &str) -> Option<(Block<'_>, &str)> {
    const BEGIN: &str = "-----BEGIN ";
    let mut rest = text;
    loop {
        let at = rest.find(BEGIN)?;
        let starts_line = at == 0 || rest.as_bytes()[at - 1] == b'\n';
        rest = &rest[at + BEGIN.len()..];
        if starts_line && let Some(found) = block(rest) {
            return Some(found);
        }
    }
}

fn block(text: &str) -> Option<(Block<'_>, &str)> {
    let (first, mut body) = text.split_once('\n')?;
    let label = first.trim_end().strip_suffix("-----")?;
    let mut has_headers = false;
    while let Some((line, rest)) = body.split_once('\n').filter(|(line, _)| line.contains(':')) {
        debug_assert!(!line.is_empty());
        has_headers = true;
        body = rest;
    }
    let end = format!("-----END {label}-----");
    let at = body.find(&end)?;
    let encoded: String = body[..at].chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(encoded).ok()?;
    let rest = &body[at + end.len()..];
    Some((Block { label, has_headers, bytes }, rest.split_once('\n').map_or("", |(_, rest)| rest)))
}

/// All blocks of a text.
pub fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((block, after)) = decode(rest) {
        found.push(block);
        rest = after;
    }
    found
}

/// Whether bytes are one DER sequence and nothing else.
pub fn is_sequence(bytes: &[u8]) -> bool {
    matches!(element(bytes), Some((0x30, _, [])))
}

/// Whether a certificate says that it is an authority's.
pub fn is_authority(certificate: &[u8]) -> bool {
    /// The object identifier of basic constraints, 2.5.29.19.
    const BASIC_CONSTRAINTS: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x13];
    const TRUE: [u8; 3] = [0x01, 0x01, 0xff];
    let Some(at) = certificate.windows(BASIC_CONSTRAINTS.len()).position(|window| window == BASIC_CONSTRAINTS) else {
        return false;
    };
    let value = &certificate[at + BASIC_CONSTRAINTS.len()..];
    // It may be marked as critical.
    let value = value.strip_prefix(&TRUE).unwrap_or(value);
    let Some((0x04, octets, _)) = element(value) else { return false };
    matches!(element(octets), Some((0x30, constraints, _)) if constraints.starts_with(&TRUE))
}

/// A DER element's tag and contents, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        ..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0usize, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_in_any_text() {
        let text = "noise\n-----BEGIN A-----\nMAA=\n-----END A-----\nmore\n-----BEGIN B C-----\nX: y\n\nMAMC\nAQE=\n-----END B C-----\n";
        let found = blocks(text);
        assert_eq!(
            found.iter().map(|block| (block.label, block.has_headers)).collect::<Vec<_>>(),
            [("A", false), ("B C", true)]
        );
        assert!(found.iter().all(|block| is_sequence(&block.bytes)));
        assert!(decode("-----BEGIN A-----\nMA").is_none());
        assert!(!is_sequence(&[0x30, 0x01]));
    }

    #[test]
    fn authorities_say_so() {
        let with = |contents: &[u8]| {
            let mut der = vec![0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, contents.len() as u8];
            der.extend(contents);
            is_authority(&der)
        };
        assert!(with(&[0x30, 0x03, 0x01, 0x01, 0xff]));
        assert!(!with(&[0x30, 0x00]));
        assert!(!is_authority(&[]));
    }
}
