//! PEM: labelled base64 blocks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::PkiError;

/// One `-----BEGIN label-----` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub label: String,
    pub der: Vec<u8>,
}

/// Characters on a line, as everybody writes it.
const LINE: usize = 64;

/// All blocks of a text, in order; what stands between them is skipped, as are headers in them.
///
/// # Errors
/// A block that does not end or is no base64.
pub fn blocks(text: &[u8]) -> Result<Vec<Block>, PkiError> {
    let text = std::str::from_utf8(text).map_err(|_| PkiError::malformed("PEM is not UTF-8"))?;
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        let end = format!("-----END {label}-----");
        let (mut body, mut ended) = (String::new(), false);
        for line in lines.by_ref() {
            if line == end {
                ended = true;
                break;
            }
            if !line.contains(':') {
                body.push_str(line);
            }
        }
        let der = STANDARD.decode(&body).ok().filter(|_| ended);
        let der = der.ok_or_else(|| PkiError::malformed(format!("malformed PEM block {label}")))?;
        blocks.push(Block { label: label.to_owned(), der });
    }
    Ok(blocks)
}

/// The DER of all certificates of a text.
pub fn certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, PkiError> {
    Ok(blocks(text)?.into_iter().filter(|block| block.label == "CERTIFICATE").map(|block| block.der).collect())
}

pub fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(LINE) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_trouble() {
        let text = format!("junk\n{}between\n{}", encode("A B", &[1; 100]), encode("C", &[]));
        let found = blocks(text.as_bytes()).unwrap();
        assert_eq!(found[0], Block { label: "A B".into(), der: vec![1; 100] });
        assert_eq!(found.len(), 2);
        assert!(blocks(b"-----BEGIN A-----\nAAAA\n").is_err());
        assert!(blocks(b"-----BEGIN A-----\n?\n-----END A-----\n").is_err());
    }
}
