//! The packed golden files.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;

/// Contents by name (`HEAD/core.v1.Pod.json`, `discovery/api__v1.json`).
pub fn files() -> BTreeMap<String, Vec<u8>> {
    let mut tar = Vec::new();
    let packed: &[u8] = include_bytes!("../golden/golden.tar.gz");
    GzDecoder::new(packed).read_to_end(&mut tar).unwrap();
    let mut files = BTreeMap::new();
    let mut rest = tar.as_slice();
    // A header block of 512 bytes, then the content in whole blocks; an empty header ends it.
    while let Some((header, after)) = rest.split_at_checked(512) {
        if header[0] == 0 {
            break;
        }
        let field = |range: std::ops::Range<usize>| {
            let text = &header[range];
            let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
            String::from_utf8(text[..end].to_vec()).unwrap()
        };
        let size = usize::from_str_radix(field(124..136).trim(), 8).unwrap();
        files.insert(field(0..100), after[..size].to_vec());
        rest = &after[size.next_multiple_of(512)..];
    }
    files.retain(|name, _| !name.ends_with('/'));
    files
}
