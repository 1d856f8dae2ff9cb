//! Certificates in PEM, brought into one form: no headers, nothing between the blocks.

use api::kinds::pem;
use base64::{Engine, engine::general_purpose::STANDARD};

/// Characters of a line.
const LINE_CHARS: usize = 64;

/// The contents of all blocks of a text, in its order.
pub fn contents(text: &str) -> impl Iterator<Item = Vec<u8>> {
    pem::blocks(text).into_iter().map(|block| block.bytes)
}

/// One block.
pub fn block(label: &str, content: &[u8]) -> String {
    let encoded = STANDARD.encode(content);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        // Base 64 is ASCII: any place is one to cut at.
        let (line, after) = rest.split_at(rest.len().min(LINE_CHARS));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text + &format!("-----END {label}-----\n")
}

/// All blocks of a text, as certificates.
pub fn chain(text: &str) -> String {
    contents(text).map(|content| block("CERTIFICATE", &content)).collect()
}

/// The certificates of several texts, each once, in an order that only they decide.
pub fn anchors<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let set: std::collections::BTreeSet<Vec<u8>> = texts.into_iter().flat_map(contents).collect();
    set.iter().map(|content| block("CERTIFICATE", content)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_64_characters() {
        let text = block("X", &[0; 49]);
        let lines: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(lines, ["-----BEGIN X-----".len(), 64, 4, "-----END X-----".len()]);
        assert_eq!(contents(&text).collect::<Vec<_>>(), [vec![0; 49]]);
    }

    #[test]
    fn what_is_no_certificate_goes_and_each_comes_once() {
        let (one, two) = (block("CERTIFICATE", b"one"), block("CERTIFICATE", b"two"));
        let with_header = "-----BEGIN CERTIFICATE-----\na: b\n\nb25l\n-----END CERTIFICATE-----\n";
        assert_eq!(chain(&format!("text\n{with_header}\nmore\n{two}")), format!("{one}{two}"));
        assert_eq!(anchors([two.as_str(), with_header, two.as_str()]), format!("{one}{two}"));
    }
}
