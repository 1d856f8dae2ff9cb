//! Links in what a proxied server says, made to lead through the proxy. Upstream: `rewriteURL` of apimachinery's
//! util/proxy, with Go's `net/url` for what a link is.

use super::path::{escape, join, unescape};

/// The page that a link is on.
#[derive(Clone, Debug)]
pub struct Page {
    /// What stands before the server's own paths in ours.
    pub prefix: Vec<u8>,
    /// The server, as we reach it.
    pub server: String,
    /// The host that the client asked.
    pub host: String,
}

/// A link, taken apart as far as rewriting needs it.
#[derive(Debug, PartialEq, Eq)]
struct Link<'a> {
    /// Scheme and host as they are written, up to the path.
    origin: &'a str,
    host: &'a str,
    path: &'a str,
    /// Query and fragment, with their marks.
    rest: &'a str,
}

// === impl Link ===

impl<'a> Link<'a> {
    /// None for what has no path of its own: `mailto:x@y`.
    fn parse(text: &'a str) -> Result<Option<Link<'a>>, String> {
        let failed = |why: String| format!("parse {}: {why}", quoted(text));
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err(failed("net/url: invalid control character in URL".to_owned()));
        }
        let (location, rest) = text.split_at(text.find(['?', '#']).unwrap_or(text.len()));
        let scheme = scheme_bytes(location).map_err(|why| failed(why.to_owned()))?;
        let behind = &location[scheme..];
        let authority = behind.strip_prefix("//").filter(|_| scheme > 0 || !behind.starts_with("///"));
        let (host, path) = match authority {
            Some(authority) => authority.split_at(authority.find('/').unwrap_or(authority.len())),
            None if scheme > 0 && !behind.starts_with('/') => return Ok(None),
            None => ("", behind),
        };
        if authority.is_none() && path.split('/').next().is_some_and(|first| first.contains(':')) {
            return Err(failed("first path segment in URL cannot contain colon".to_owned()));
        }
        unescape(path.as_bytes()).map_err(|escape| failed(format!("invalid URL escape {}", quoted(&escape))))?;
        let origin = &location[..location.len() - path.len()];
        Ok(Some(Link { origin, host, path, rest }))
    }
}

// === impl Page ===

impl Page {
    /// The link to use in the place of another one; none where that one is right as it is.
    ///
    /// # Errors
    /// It is no link, in Go's words.
    pub fn link(&self, text: &str) -> Result<Option<String>, String> {
        let Some(link) = Link::parse(text)? else { return Ok(None) };
        let is_elsewhere = !link.host.is_empty() && link.host != self.server && link.host != self.host;
        if is_elsewhere || !link.path.starts_with('/') {
            return Ok(None);
        }
        let origin = if link.host == self.host { link.origin } else { "" };
        let path = unescape(link.path.as_bytes())?;
        let path = match path.starts_with(&self.prefix) {
            true => link.path.to_owned(),
            false => escape(&join(&[&self.prefix, &path])),
        };
        let made = format!("{origin}{path}{}", link.rest);
        Ok((made != text).then_some(made))
    }
}

/// How long a scheme and its colon are; 0 where there is none.
fn scheme_bytes(text: &str) -> Result<usize, &'static str> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme"),
            b':' => return Ok(at + 1),
            _ => return Ok(0),
        }
    }
    Ok(0)
}

/// Text as Go's `%q` writes it, for what occurs in links.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const PREFIX: &str = "/api/v1/namespaces/default/services/one/proxy";

    fn page() -> Page {
        Page { prefix: PREFIX.into(), server: "192.0.2.2:18080".into(), host: "apiserver.example".into() }
    }

    /// What kube-apiserver v1.37.2 made of the same headers; `P` stands for the prefix.
    #[rstest]
    #[case("/abs?x=1", "P/abs?x=1")]
    #[case("rel/x", "rel/x")]
    #[case("http://192.0.2.2:18080/same/", "P/same/")]
    #[case("http://other.example/z", "http://other.example/z")]
    #[case("http://apiserver.example/z", "http://apiserver.exampleP/z")]
    #[case("/", "P/")]
    #[case("//192.0.2.2:18080/a", "P/a")]
    #[case("P/already", "P/already")]
    #[case("?q=1", "?q=1")]
    #[case("#f", "#f")]
    #[case("http://192.0.2.2:18080", "http://192.0.2.2:18080")]
    #[case("/a%20b", "P/a%20b")]
    #[case("mailto:a@b", "mailto:a@b")]
    #[case("/a/../b/", "P/b/")]
    fn links(#[case] text: &str, #[case] expected: &str) {
        let (text, expected) = (text.replace('P', PREFIX), expected.replace('P', PREFIX));
        assert_eq!(page().link(&text).unwrap().unwrap_or(text), expected);
    }

    #[rstest]
    #[case("%zz", "parse \"%zz\": invalid URL escape \"%zz\"")]
    #[case(":x", "parse \":x\": missing protocol scheme")]
    #[case("1:x", "parse \"1:x\": first path segment in URL cannot contain colon")]
    #[case("/\u{7f}", "parse \"/\\x7f\": net/url: invalid control character in URL")]
    fn no_links(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(page().link(text), Err(expected.to_owned()));
    }
}
