//! Paths through a proxy, in Go's ways of cleaning and escaping them (`path`, `net/url`).

use std::fmt::Write;

use crate::context::Context;

/// The paths of one request. All of them are what escapes stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// What the client asked for.
    asked: Vec<u8>,
    /// What of it is for the other side; empty for the proxy verb itself.
    passed: Vec<u8>,
}

/// Path segments of `/api/v1/namespaces/NS/pods/NAME/proxy`, and of `/api/v1/nodes/NAME/proxy`.
const SEGMENTS_NAMESPACED: usize = 7;
const SEGMENTS_CLUSTER: usize = 5;

// === impl Paths ===

impl Paths {
    pub fn of(context: &Context) -> Paths {
        let segments = if context.info.namespace.is_empty() { SEGMENTS_CLUSTER } else { SEGMENTS_NAMESPACED };
        Paths::new(context.uri.path(), segments)
    }

    /// Takes the segments that lead to the proxy verb from a path.
    fn new(path: &str, segments: usize) -> Paths {
        let asked = unescape(path.as_bytes()).unwrap_or_else(|_| path.as_bytes().to_vec());
        let mut rest = asked.as_slice();
        for _ in 0..segments {
            let start = rest.iter().position(|byte| *byte != b'/').unwrap_or(rest.len());
            let end = rest[start..].iter().position(|byte| *byte == b'/').map_or(rest.len(), |at| start + at);
            rest = &rest[end..];
        }
        let passed = join(&[rest]);
        Paths { asked, passed }
    }

    /// Whether only the proxy verb was asked for, without a slash behind.
    pub fn is_bare(&self) -> bool {
        self.passed.is_empty()
    }

    /// The path as it was asked for, its escapes resolved.
    pub fn asked_text(&self) -> String {
        String::from_utf8_lossy(&self.asked).into_owned()
    }

    /// The path for the other side, with a query.
    pub fn target(&self, query: &str) -> String {
        match self.passed.first() {
            Some(b'/') => escape(&self.passed) + query,
            _ => format!("/{}{query}", escape(&self.passed)),
        }
    }

    /// What stands before the other side's own paths in ours.
    pub fn prefix(&self) -> &[u8] {
        let (asked, mut suffix) = (self.asked.as_slice(), self.passed.clone());
        if asked.ends_with(b"/") && !suffix.ends_with(b"/") {
            suffix.push(b'/');
        }
        asked.strip_suffix(suffix.as_slice()).unwrap_or(asked)
    }

    /// `X-Forwarded-Uri`.
    pub fn forwarded(&self) -> String {
        let target = self.target("");
        let mut forwarded = clean(&[self.prefix(), b"/", target.as_bytes()].concat());
        if target.ends_with('/') {
            forwarded.push(b'/');
        }
        String::from_utf8_lossy(&forwarded).into_owned()
    }
}

/// Joins the parts that are not empty and cleans the result; a slash at the end stays.
pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    let parts: Vec<&[u8]> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    let Some(last) = parts.last() else { return Vec::new() };
    let mut joined = clean(&parts.join(&b"/"[..]));
    if last.ends_with(b"/") && !joined.ends_with(b"/") {
        joined.push(b'/');
    }
    joined
}

/// The shortest path with the same meaning: Go's `path.Clean`.
fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut kept: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match kept.last() {
                Some(&last) if last != b".." => drop(kept.pop()),
                _ if rooted => {}
                _ => kept.push(part),
            },
            part => kept.push(part),
        }
    }
    let joined = kept.join(&b"/"[..]);
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

/// What escapes stand for; else the escape that is none.
pub fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let Some(value) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            let end = after.len().min(2);
            return Err(format!("%{}", String::from_utf8_lossy(&after[..end])));
        };
        out.push(value);
        rest = &after[2..];
    }
    Ok(out)
}

/// A path in a URL: Go's `url.URL.EscapedPath` of a path that was not written otherwise.
pub fn escape(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(*byte)),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' => {
                out.push(char::from(*byte));
            }
            // Writing to a string does not fail.
            other => drop(write!(out, "%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const POD: &str = "/api/v1/namespaces/default/pods/echo/proxy";

    /// What kube-apiserver v1.37.2 made of the same paths.
    #[rstest]
    #[case("/some/path", "/some/path", "/some/path")]
    #[case("/", "/", "/")]
    #[case("//a//b/", "/a/b/", "/a/b/a/b/")]
    #[case("/a%2Fb%20c/d%3Fe", "/a/b%20c/d%3Fe", "/a/b%20c/d%3Fe")]
    #[case("/a/../b", "/b", "/b")]
    #[case("/%C3%A9", "/%C3%A9", "/%C3%A9")]
    #[case("/a+b;c=d&e,f$g@h:i", "/a+b;c=d&e,f$g@h:i", "/a+b;c=d&e,f$g@h:i")]
    #[case("/*", "/%2A", "/%2A")]
    #[case("", "/", "/")]
    fn paths(#[case] rest: &str, #[case] target: &str, #[case] forwarded: &str) {
        let paths = Paths::new(&format!("{POD}{rest}"), SEGMENTS_NAMESPACED);
        assert_eq!(paths.target(""), target);
        assert_eq!(paths.forwarded(), format!("{POD}{forwarded}"));
        assert_eq!(paths.is_bare(), rest.is_empty());
    }

    #[test]
    fn above_the_root_there_is_nothing() {
        let paths = Paths::new(&format!("{POD}/../..//c"), SEGMENTS_NAMESPACED);
        assert_eq!(paths.target("?q"), "/c?q");
        assert_eq!(paths.forwarded(), "/api/v1/namespaces/default/pods/c");
    }

    #[rstest]
    #[case("", ".")]
    #[case("a/./b//c/..", "a/b")]
    #[case("../a", "../a")]
    #[case("/..", "/")]
    fn cleaned(#[case] path: &str, #[case] expected: &str) {
        assert_eq!(clean(path.as_bytes()), expected.as_bytes());
    }

    #[test]
    fn broken_escapes() {
        assert_eq!(unescape(b"a%zzb"), Err("%zz".to_owned()));
        assert_eq!(unescape(b"%4"), Err("%4".to_owned()));
        assert_eq!(unescape(b"%41%2f"), Ok(b"A/".to_vec()));
    }
}
