//! Links in HTML, rewritten as the bytes pass. Upstream: `rewriteHTML` of apimachinery's util/proxy, which reads with
//! golang.org/x/net/html.
//!
//! Only links that change are touched; everything else passes as it is. What is kept back is the beginning of a tag
//! that has not ended yet, up to a limit: longer ones pass unread.

use super::link::Page;

/// Reads a page piece by piece.
#[derive(Debug)]
pub struct Rewriter {
    page: Page,
    /// What can't be decided yet.
    pending: Vec<u8>,
    state: State,
}

/// Where in a page the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between tags.
    Text,
    /// Within something that ends with this text.
    Until(&'static [u8]),
    /// Within an element whose content is no HTML.
    Raw(&'static str, Script),
    /// Until the page ends.
    Plain,
}

/// How deep within a script's comment: a `</script>` in a `<script>` in a comment does not end the outer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    Code,
    Comment,
    Nested,
}

/// An attribute within a tag: its name, its value, and the value with its quotes.
type Attribute = [std::ops::Range<usize>; 3];

/// The longest tag that is looked at.
const TAG_BYTES_MAX: usize = 64 << 10;
/// Elements whose content is no HTML.
const RAW: [&str; 9] = ["iframe", "noembed", "noframes", "noscript", "script", "style", "textarea", "title", "xmp"];
/// Attributes with links, by element.
const LINKS: [(&str, &[&str]); 25] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

// === impl Rewriter ===

impl Rewriter {
    pub fn new(page: Page) -> Rewriter {
        Rewriter { page, pending: Vec::new(), state: State::Text }
    }

    /// Takes the next piece and gives what is decided; all of it, after the last piece.
    pub fn push(&mut self, piece: &[u8], is_last: bool) -> Vec<u8> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(piece);
        let (mut out, mut rest) = (Vec::with_capacity(pending.len()), pending.as_slice());
        while !rest.is_empty() {
            let step = match self.state {
                State::Text => self.text(rest, &mut out),
                State::Until(end) => self.until(rest, end, &mut out),
                State::Raw(name, script) => self.raw(rest, name, script, &mut out),
                State::Plain => copy(rest, rest.len(), &mut out),
            };
            match step {
                Some(used) => rest = &rest[used..],
                None => break,
            }
        }
        if is_last || rest.len() > TAG_BYTES_MAX {
            out.extend_from_slice(rest);
            rest = &[];
        }
        self.pending = rest.to_vec();
        out
    }

    /// Up to and with the next tag, or what looks like one. None where more has to be seen.
    fn text(&mut self, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let Some(start) = rest.iter().position(|byte| *byte == b'<') else { return copy(rest, rest.len(), out) };
        if start > 0 {
            return copy(rest, start, out);
        }
        match rest.get(1)? {
            b'a'..=b'z' | b'A'..=b'Z' => {
                let tag = Tag::read(&rest[1..])?;
                let end = 1 + tag.end;
                self.tag(&rest[1..end], &tag, out);
                Some(end)
            }
            b'/' => match rest.get(2)? {
                b'a'..=b'z' | b'A'..=b'Z' => copy(rest, 2 + Tag::read(&rest[2..])?.end, out),
                _ => self.enter(State::Until(b">"), rest, 2, out),
            },
            b'!' if rest.starts_with(b"<!--") => match rest.get(4) {
                // A comment that ends at once.
                Some(b'>') => copy(rest, 5, out),
                Some(b'-') if rest.get(5)? == &b'>' => copy(rest, 6, out),
                Some(_) => self.enter(State::Until(b"-->"), rest, 4, out),
                None => None,
            },
            b'!' if b"<!--".starts_with(rest) => None,
            b'!' | b'?' => self.enter(State::Until(b">"), rest, 2, out),
            _ => copy(rest, 1, out),
        }
    }

    fn enter(&mut self, state: State, rest: &[u8], used: usize, out: &mut Vec<u8>) -> Option<usize> {
        self.state = state;
        copy(rest, used, out)
    }

    fn until(&mut self, rest: &[u8], end: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        match rest.windows(end.len()).position(|window| window == end) {
            Some(at) => self.enter(State::Text, rest, at + end.len(), out),
            None => copy(rest, (rest.len() + 1).saturating_sub(end.len()), out).filter(|used| *used > 0),
        }
    }

    /// Up to the next thing that matters within raw content.
    fn raw(&mut self, rest: &[u8], name: &'static str, script: Script, out: &mut Vec<u8>) -> Option<usize> {
        let is_script = name == "script";
        let matters = |byte: &u8| *byte == b'<' || (*byte == b'-' && script != Script::Code);
        let Some(start) = rest.iter().position(matters) else { return copy(rest, rest.len(), out) };
        if start > 0 {
            return copy(rest, start, out);
        }
        let raw = |script| State::Raw(name, script);
        let marks: &[(&[u8], State)] = match script {
            Script::Code if is_script => &[(b"<!--", raw(Script::Comment))],
            Script::Code => &[],
            Script::Comment | Script::Nested => &[(b"-->", raw(Script::Code))],
        };
        for (mark, state) in marks {
            if rest.starts_with(mark) {
                // The dashes may be the first ones of an end as well: `<!-->`.
                let used = if *state == raw(Script::Comment) { 2 } else { mark.len() };
                return self.enter(*state, rest, used, out);
            }
            if mark.starts_with(rest) {
                return None;
            }
        }
        match (script, ends_with_name(rest, b"</", name), ends_with_name(rest, b"<", name)) {
            (_, None, _) | (Script::Comment, _, None) => None,
            (Script::Nested, Some(true), _) => self.enter(raw(Script::Comment), rest, 2, out),
            (_, Some(true), _) => {
                self.state = State::Text;
                copy(rest, 0, out)
            }
            (Script::Comment, _, Some(true)) => self.enter(raw(Script::Nested), rest, 1, out),
            _ => copy(rest, 1, out),
        }
    }

    /// A start tag, its links rewritten.
    fn tag(&mut self, text: &[u8], tag: &Tag, out: &mut Vec<u8>) {
        let name = text[..tag.name].to_ascii_lowercase();
        let is = |known: &&str| known.as_bytes() == name;
        let links = LINKS.iter().find(|(known, _)| is(known)).map_or(&[][..], |(_, links)| links);
        out.push(b'<');
        let mut done = 0;
        for [key, value, whole] in &tag.attributes {
            let key = text[key.clone()].to_ascii_lowercase();
            if !links.iter().any(|link| link.as_bytes() == key) {
                continue;
            }
            let Ok(link) = std::str::from_utf8(&text[value.clone()]) else { continue };
            // What is no link is left alone, as upstream.
            if let Ok(Some(link)) = self.page.link(&unescaped(link)) {
                out.extend_from_slice(&text[done..whole.start]);
                out.extend_from_slice(format!("\"{}\"", escaped(&link)).as_bytes());
                done = whole.end;
            }
        }
        out.extend_from_slice(&text[done..]);
        self.state = match RAW.into_iter().find(|known| is(known)) {
            Some(name) => State::Raw(name, Script::Code),
            None if name == b"plaintext" => State::Plain,
            None => State::Text,
        };
    }
}

/// A tag, as its parts lie behind its `<` or `</`.
#[derive(Debug)]
struct Tag {
    name: usize,
    attributes: Vec<Attribute>,
    /// Behind its `>`.
    end: usize,
}

// === impl Tag ===

impl Tag {
    /// None where the tag has not ended yet.
    fn read(text: &[u8]) -> Option<Tag> {
        let from = |start: usize, matches: fn(&u8) -> bool| {
            text.get(start..)?.iter().position(matches).map(|length| start + length)
        };
        let name = from(0, |byte| is_space(byte) || matches!(byte, b'/' | b'>'))?;
        let (mut at, mut attributes) = (name, Vec::new());
        loop {
            at = from(at, |byte| !is_space(byte))?;
            match text[at] {
                b'>' => return Some(Tag { name, attributes, end: at + 1 }),
                b'/' => at += 1,
                _ => {
                    // An equals sign that begins a name belongs to it.
                    let key = at..from(at + 1, |byte| is_space(byte) || matches!(byte, b'/' | b'>' | b'='))?;
                    at = from(key.end, |byte| !is_space(byte))?;
                    if text[at] != b'=' {
                        continue;
                    }
                    at = from(at + 1, |byte| !is_space(byte))?;
                    let (value, whole) = match text[at] {
                        b'>' => continue,
                        b'"' => quoted(at, from(at + 1, |byte| *byte == b'"')?),
                        b'\'' => quoted(at, from(at + 1, |byte| *byte == b'\'')?),
                        _ => {
                            let end = from(at, |byte| is_space(byte) || *byte == b'>')?;
                            (at..end, at..end)
                        }
                    };
                    at = whole.end;
                    attributes.push([key, value, whole]);
                }
            }
        }
    }
}

/// A value between quotes, without and with them.
fn quoted(start: usize, end: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    (start + 1..end, start..end + 1)
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0c)
}

fn copy(rest: &[u8], used: usize, out: &mut Vec<u8>) -> Option<usize> {
    out.extend_from_slice(&rest[..used]);
    Some(used)
}

/// Whether a tag of this name begins here; none where more has to be seen.
fn ends_with_name(rest: &[u8], before: &[u8], name: &str) -> Option<bool> {
    let wanted = [before, name.as_bytes()].concat();
    let seen = rest.len().min(wanted.len());
    if !rest[..seen].eq_ignore_ascii_case(&wanted[..seen]) {
        return Some(false);
    }
    rest.get(wanted.len()).map(|byte| is_space(byte) || matches!(byte, b'/' | b'>'))
}

/// The references that occur in links.
const REFERENCES: [(&str, char); 5] = [("amp;", '&'), ("lt;", '<'), ("gt;", '>'), ("quot;", '"'), ("apos;", '\'')];

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, behind) = (&rest[..at], &rest[at + 1..]);
        out.push_str(before);
        let known = REFERENCES.iter().find_map(|(name, c)| Some((*c, behind.strip_prefix(name)?)));
        let found = known.or_else(|| numbered(behind));
        out.push(found.map_or('&', |(c, _)| c));
        rest = found.map_or(behind, |(_, behind)| behind);
    }
    out + rest
}

/// `#38;` or `#x26;`, and what is behind it.
fn numbered(text: &str) -> Option<(char, &str)> {
    let (number, behind) = text.strip_prefix('#')?.split_once(';')?;
    let number = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    Some((char::from_u32(number.ok()?)?, behind))
}

fn escaped(text: &str) -> String {
    let replaced = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    replaced.replace('"', "&#34;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn rewriter() -> Rewriter {
        Rewriter::new(Page { prefix: b"/p".to_vec(), server: "10.0.0.1:80".into(), host: "door".into() })
    }

    fn rewritten(text: &str) -> String {
        String::from_utf8(rewriter().push(text.as_bytes(), true)).unwrap()
    }

    #[rstest]
    #[case::href(r#"<a href="/x">y</a>"#, r#"<a href="/p/x">y</a>"#)]
    #[case::unquoted("<A HREF=/x>", "<A HREF=\"/p/x\">")]
    #[case::single("<img\nsrc = '/a&amp;b' alt='/x'/>", "<img\nsrc = \"/p/a&amp;b\" alt='/x'/>")]
    #[case::several(r##"<img src="/i" usemap="#m" longdesc=/d>"##, r##"<img src="/p/i" usemap="#m" longdesc="/p/d">"##)]
    #[case::relative(r#"<a href="x"><a href="http://other/x">"#, r#"<a href="x"><a href="http://other/x">"#)]
    #[case::same_host(r#"<a href="http://10.0.0.1:80/x">"#, r#"<a href="/p/x">"#)]
    #[case::comment(r#"<!-- <a href="/x"> --><a href="/y">"#, r#"<!-- <a href="/x"> --><a href="/p/y">"#)]
    #[case::empty_comment(r#"<!--><a href="/y">"#, r#"<!--><a href="/p/y">"#)]
    #[case::script(
        r#"<script src=/s>if (a<b) "<a href='/x'>"</script><a href="/y">"#,
        r#"<script src="/p/s">if (a<b) "<a href='/x'>"</script><a href="/p/y">"#
    )]
    #[case::nested_script(
        r#"<script><!-- <script> </script> <a href="/x"> --></script><a href="/y">"#,
        r#"<script><!-- <script> </script> <a href="/x"> --></script><a href="/p/y">"#
    )]
    #[case::title(r#"<title><a href="/x"></title>"#, r#"<title><a href="/x"></title>"#)]
    #[case::plaintext(r#"<plaintext><a href="/x">"#, r#"<plaintext><a href="/x">"#)]
    #[case::no_tag("a < b <1 </> <?x?> <!DOCTYPE html>", "a < b <1 </> <?x?> <!DOCTYPE html>")]
    #[case::no_link(r#"<a href="%zz">"#, r#"<a href="%zz">"#)]
    #[case::open("text <a href=\"/x", "text <a href=\"/x")]
    fn pages(#[case] page: &str, #[case] expected: &str) {
        assert_eq!(rewritten(page), expected);
    }

    #[test]
    fn a_tag_without_end_is_not_kept() {
        let mut rewriter = rewriter();
        let endless = [b"<a ".as_slice(), &[b'x'; TAG_BYTES_MAX]].concat();
        assert_eq!(rewriter.push(&endless, false), endless);
        assert!(rewriter.pending.is_empty());
    }

    proptest! {
        /// However a page is cut into pieces, the same comes out.
        #[test]
        fn pieces(
            parts in prop::collection::vec(prop::sample::select(vec![
                "<a href=\"/x\">", "<", "!--", "-->", "<script>", "</script>", "<!-- ", "/", ">", "'", "\"", " href=/y ", "<img src='", "title>", "text",
            ]), 0..24),
            size in 1_usize..7,
        ) {
            let page = parts.concat();
            let mut rewriter = rewriter();
            let mut pieces: Vec<u8> = page.as_bytes().chunks(size).flat_map(|piece| rewriter.push(piece, false)).collect();
            pieces.extend(rewriter.push(b"", true));
            prop_assert_eq!(String::from_utf8(pieces).unwrap(), rewritten(&page));
        }
    }
}
