//! The parser: one pass over the text, straight into the tree.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use smol_str::SmolStr;

use super::number;
use super::scan::{ESCAPED, Stops};
use crate::value::{Key, Map, Value};

/// How deep arrays and objects may be nested. Go allows 10,000; our trees are walked recursively (decoded, encoded,
/// compared, dropped), and an unoptimized build takes up to 4 KiB of a thread's 2 MiB of stack a level. No known
/// object is a tenth as deep.
pub const DEPTH_MAX: usize = 256;

/// Objects with more fields than this look for duplicates by hashing instead of by comparing all pairs.
const PAIRWISE_FIELDS_MAX: usize = 24;

/// So deep lies an entry of `metadata.managedFields`: in a list, in an object, in an object.
const FIELDS_DEPTH: usize = 4;

/// So many duplicates are named; upstream stops there too.
const DUPLICATES_MAX: usize = 100;

/// Fields are named by their paths, each of which may be as long as the text: all of them take so many bytes for each
/// byte of the text, or none is named.
const NAMING_BYTES_MAX: usize = 16;

/// Said where fields came more than once and are not named.
const UNNAMED: &str = "duplicate fields, with paths too long to be told";

/// Why a text is no JSON; the message is Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    message: String,
    /// Bytes read when the error was seen.
    pub offset: usize,
}

/// What [`parse_strict`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    pub value: Value,
    pub duplicates: Duplicates,
}

/// Fields that came more than once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Duplicates {
    /// Their paths (`spec.containers[0].name`), in the text's order, each once.
    pub paths: Vec<String>,
    /// The paths of all fields in the text's order, and whether their object had them before; empty where
    /// nothing came more than once.
    pub all: Vec<(String, bool)>,
    /// Complaints that are worded already and come first (YAML names lines instead of paths).
    pub said: Vec<String>,
}

/// Reads a JSON text. Of duplicate fields the last one counts.
pub fn parse(text: &[u8]) -> Result<Value, ParseError> {
    let text = utf8(text);
    Parser::new(&text).document()
}

/// Reads the JSON text of an API object: the fields that its managers own (`fieldsV1`) stay text where they are compact.
pub fn parse_object(text: &[u8]) -> Result<Value, ParseError> {
    let text = utf8(text);
    Parser { keeps_fields: true, ..Parser::new(&text) }.document()
}

/// The same for the text of a `fieldsV1` alone.
pub(crate) fn parse_fields(text: &[u8]) -> Result<Value, ParseError> {
    let text = utf8(text);
    let mut parser = Parser::new(&text);
    match parser.kept_fields() {
        Some(value) if parser.at == text.len() => Ok(value),
        _ => parse(text.as_bytes()),
    }
}

/// As [`parse`], and says which fields came more than once.
pub fn parse_strict(text: &[u8]) -> Result<Parsed, ParseError> {
    strict(text, false)
}

/// As [`parse_object`], and says which fields came more than once.
pub fn parse_body(text: &[u8]) -> Result<Parsed, ParseError> {
    strict(text, true)
}

fn strict(text: &[u8], keeps_fields: bool) -> Result<Parsed, ParseError> {
    let text = utf8(text);
    let mut parser = Parser { keeps_fields, ..Parser::new(&text) };
    let value = parser.document()?;
    if !parser.saw_duplicates {
        return Ok(Parsed { value, duplicates: Duplicates::default() });
    }
    // Paths are only kept on this rare second pass.
    let mut parser = Parser::new(&text);
    parser.path = Some(Vec::new());
    parser.naming_bytes_left = NAMING_BYTES_MAX * text.len();
    let value = parser.document()?;
    if parser.naming_bytes_left == 0 {
        let said = vec![UNNAMED.to_owned()];
        return Ok(Parsed { value, duplicates: Duplicates { said, ..Duplicates::default() } });
    }
    let mut paths: Vec<String> = Vec::new();
    for (path, repeated) in &parser.fields {
        if *repeated && paths.len() < DUPLICATES_MAX && !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    Ok(Parsed { value, duplicates: Duplicates { paths, all: parser.fields, said: Vec::new() } })
}

/// The text with every invalid byte replaced by U+FFFD, as Go reads strings. (Outside of
/// strings it is a syntax error either way.)
fn utf8(text: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(text) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let mut valid = String::with_capacity(text.len());
            for chunk in text.utf8_chunks() {
                valid.push_str(chunk.valid());
                valid.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
            }
            Cow::Owned(valid)
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    saw_duplicates: bool,
    /// Whether the fields that managers own are kept as text.
    keeps_fields: bool,
    /// Where the parser is, if anybody wants to know.
    path: Option<Vec<Step>>,
    /// The paths of all fields met and whether they came again, kept along with `path`.
    fields: Vec<(String, bool)>,
    /// The names met in each open object, kept along with `path`.
    names: Vec<HashSet<Key>>,
    /// What `fields` may still take; once there is too little, there is none.
    naming_bytes_left: usize,
    /// A number that no float can hold; Go sees it only after the syntax of the whole text.
    too_large: Option<ParseError>,
}

enum Step {
    Field(Key),
    Index(usize),
}

// === impl ParseError ===

impl ParseError {
    pub(super) fn other(message: String) -> ParseError {
        ParseError { message, offset: 0 }
    }
}

// === impl Parser ===

type Result<T, E = ParseError> = std::result::Result<T, E>;

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        Parser {
            text,
            bytes: text.as_bytes(),
            at: 0,
            depth: 0,
            saw_duplicates: false,
            keeps_fields: false,
            path: None,
            fields: Vec::new(),
            names: Vec::new(),
            naming_bytes_left: 0,
            too_large: None,
        }
    }

    fn document(&mut self) -> Result<Value> {
        let value = self.value()?;
        self.skip_space();
        match self.too_large.take() {
            _ if self.at < self.bytes.len() => Err(self.unexpected("after top-level value")),
            Some(error) => Err(error),
            None => Ok(value),
        }
    }

    fn value(&mut self) -> Result<Value> {
        self.skip_space();
        match self.peek() {
            b'"' => self.string().map(Value::String),
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::array),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal("true", Value::Bool(true)),
            b'f' => self.literal("false", Value::Bool(false)),
            b'n' => self.literal("null", Value::Null),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn nested(&mut self, parse: fn(&mut Self) -> Result<Value>) -> Result<Value> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.unexpected("exceeded max depth"));
        }
        self.at += 1;
        let value = parse(self);
        self.depth -= 1;
        value
    }

    fn array(&mut self) -> Result<Value> {
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == b']' {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            self.enter(|| Step::Index(items.len()));
            items.push(self.value()?);
            self.leave();
            self.skip_space();
            match self.peek() {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                _ => return Err(self.unexpected("after array element")),
            }
        }
    }

    fn object(&mut self) -> Result<Value> {
        let mut fields = Map::new();
        self.skip_space();
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(Value::Object(fields));
        }
        if self.path.is_some() {
            self.names.push(HashSet::new());
        }
        loop {
            self.skip_space();
            if self.peek() != b'"' {
                return Err(self.unexpected("looking for beginning of object key string"));
            }
            let key = self.string()?;
            self.skip_space();
            if self.peek() != b':' {
                return Err(self.unexpected("after object key"));
            }
            self.at += 1;
            self.enter(|| Step::Field(key.clone()));
            self.note(&key);
            let is_fields = self.keeps_fields && self.depth == FIELDS_DEPTH && key == "fieldsV1";
            let kept = if is_fields { self.kept_fields() } else { None };
            let value = match kept {
                Some(value) => value,
                None => self.value()?,
            };
            self.leave();
            fields.push_unchecked(key, value);
            self.skip_space();
            match self.peek() {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    self.names.pop();
                    self.settle(&mut fields);
                    return Ok(Value::Object(fields));
                }
                _ => return Err(self.unexpected("after object key:value pair")),
            }
        }
    }

    /// Leaves the last value of every field that came more than once, in the first one's place.
    fn settle(&mut self, fields: &mut Map) {
        let entries = fields.entries_mut();
        if surely_unique(entries) {
            return;
        }
        let unique = match entries.len() {
            0..=PAIRWISE_FIELDS_MAX => !(1..entries.len()).any(|at| {
                let (before, rest) = entries.split_at(at);
                before.iter().any(|(key, _)| *key == rest[0].0)
            }),
            many => {
                let mut names: Vec<&Key> = Vec::with_capacity(many);
                names.extend(entries.iter().map(|(key, _)| key));
                names.sort_unstable();
                names.windows(2).all(|pair| pair[0] != pair[1])
            }
        };
        if unique {
            return;
        }
        self.saw_duplicates = true;
        let mut places: HashMap<Key, usize> = HashMap::new();
        let mut settled: Vec<(Key, Value)> = Vec::with_capacity(entries.len());
        for (key, value) in std::mem::take(entries) {
            match places.get(&key) {
                Some(&place) => {
                    settled[place].1 = value;
                }
                None => {
                    places.insert(key.clone(), settled.len());
                    settled.push((key, value));
                }
            }
        }
        *entries = settled;
    }

    /// The text of an object of objects, if it is written as Go would write it; else nothing is read.
    fn kept_fields(&mut self) -> Option<Value> {
        let start = self.at;
        if self.skip_fields(self.depth + 1) {
            return Some(Value::Json(SmolStr::new(&self.text[start..self.at])));
        }
        self.at = start;
        None
    }

    fn skip_fields(&mut self, depth: usize) -> bool {
        if depth > DEPTH_MAX || !self.skip(b'{') {
            return false;
        }
        if self.skip(b'}') {
            return true;
        }
        loop {
            if !(self.skip_plain_string() && self.skip(b':') && self.skip_fields(depth + 1)) {
                return false;
            }
            if !self.skip(b',') {
                return self.skip(b'}');
            }
        }
    }

    fn skip_plain_string(&mut self) -> bool {
        if !self.skip(b'"') {
            return false;
        }
        loop {
            self.at += ESCAPED.plain(&self.bytes[self.at..]);
            match self.peek() {
                b'\\' if matches!(self.bytes.get(self.at + 1), Some(b'"' | b'\\')) => self.at += 2,
                _ => return self.skip(b'"'),
            }
        }
    }

    /// Goes past a byte, if it is the next.
    fn skip(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn enter(&mut self, step: impl FnOnce() -> Step) {
        if let Some(path) = &mut self.path {
            path.push(step());
        }
    }

    /// Notes down that the parser is at a field, and whether its object had it before.
    fn note(&mut self, key: &Key) {
        let (Some(path), Some(names)) = (&self.path, self.names.last_mut()) else { return };
        let length: usize = path.iter().map(Step::length).sum();
        self.naming_bytes_left = self.naming_bytes_left.saturating_sub(length + size_of::<(String, bool)>());
        if self.naming_bytes_left == 0 {
            self.fields = Vec::new();
            return;
        }
        let mut text = String::with_capacity(length);
        for (at, step) in path.iter().enumerate() {
            step.append_to(&mut text, at == 0);
        }
        self.fields.push((text, !names.insert(key.clone())));
    }

    fn leave(&mut self) {
        if let Some(path) = &mut self.path {
            path.pop();
        }
    }

    fn number(&mut self) -> Result<Value> {
        let start = self.at;
        let mut whole = true;
        if self.peek() == b'-' {
            self.at += 1;
        }
        match self.peek() {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        if self.peek() == b'.' {
            whole = false;
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            whole = false;
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        number::parse(&self.text[start..self.at], whole).or_else(|error| {
            self.too_large.get_or_insert(error);
            Ok(Value::Int(0))
        })
    }

    fn some_digits(&mut self, context: &str) -> Result<()> {
        if !self.peek().is_ascii_digit() {
            return Err(self.unexpected(context));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value> {
        for (at, expected) in word.char_indices() {
            if at > 0 && self.peek() != expected as u8 {
                return Err(self.unexpected(&format!("in literal {word} (expecting '{expected}')")));
            }
            self.at += 1;
        }
        Ok(value)
    }

    /// A string; the parser stands on its opening quote.
    fn string(&mut self) -> Result<SmolStr> {
        self.at += 1;
        let start = self.at;
        self.skip_plain();
        if self.peek() == b'"' {
            let text = &self.text[start..self.at];
            self.at += 1;
            return Ok(SmolStr::new(text));
        }
        let mut text = String::from(&self.text[start..self.at]);
        loop {
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(SmolStr::from(text));
                }
                b'\\' => text.push(self.escape()?),
                _ => return Err(self.unexpected("in string literal")),
            }
            let start = self.at;
            self.skip_plain();
            text.push_str(&self.text[start..self.at]);
        }
    }

    /// Goes on to the next quote, backslash or control character.
    fn skip_plain(&mut self) {
        static STOPS: Stops<2> = Stops::new([b'"', b'\\']);
        self.at += STOPS.plain(&self.bytes[self.at..]);
    }

    fn escape(&mut self) -> Result<char> {
        self.at += 1;
        let plain = match self.peek() {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        Ok(plain)
    }

    /// `\uXXXX`, with the second half of a surrogate pair if it follows. Halves alone become U+FFFD.
    fn unicode_escape(&mut self) -> Result<char> {
        self.at += 1;
        let first = self.hex4()?;
        if !(0xd800..0xe000).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let after = self.at;
        if first < 0xdc00 && self.bytes[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let second = self.hex4()?;
            if (0xdc00..0xe000).contains(&second) {
                let joined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = after;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32> {
        let mut number = 0;
        for _ in 0..4 {
            let Some(digit) = char::from(self.peek()).to_digit(16) else {
                return Err(self.unexpected("in \\u hexadecimal character escape"));
            };
            number = number * 16 + digit;
            self.at += 1;
        }
        Ok(number)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r' | b'\n') && self.at < self.bytes.len() {
            self.at += 1;
        }
    }

    /// The next byte, 0 at the end: no place in the grammar takes a zero byte.
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[cold]
    fn unexpected(&self, context: &str) -> ParseError {
        let message = match self.text[self.at..].chars().next() {
            Some(found) => format!("invalid character {} {context}", quoted(found)),
            // Go lets a space follow the text, and complains of it where it must not stand.
            None if context.contains("literal") && context != "in string literal" => {
                format!("invalid character ' ' {context}")
            }
            None if context.contains("escape") => format!("invalid character ' ' {context}"),
            None => "unexpected end of JSON input".to_owned(),
        };
        ParseError { message, offset: self.at + 1 }
    }
}

/// A quick look that is often enough: no two names share length and first and last byte.
fn surely_unique(entries: &[(Key, Value)]) -> bool {
    let mut seen = 0u128;
    entries.iter().all(|(key, _)| {
        let bytes = key.as_bytes();
        let edges = match bytes {
            [] => 0,
            [first, .., last] => usize::from(*first) * 5 + usize::from(*last) * 23,
            [only] => usize::from(*only),
        };
        let bit = 1 << ((edges + bytes.len() * 37) % 128);
        let new = seen & bit == 0;
        seen |= bit;
        new
    })
}

/// A character as Go quotes it in syntax errors; Go looks at bytes, so beyond ASCII only the first one shows.
fn quoted(found: char) -> String {
    match found {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        '\\' => "'\\\\'".to_owned(),
        '\n' => "'\\n'".to_owned(),
        '\r' => "'\\r'".to_owned(),
        '\t' => "'\\t'".to_owned(),
        '\u{7}' => "'\\a'".to_owned(),
        '\u{8}' => "'\\b'".to_owned(),
        '\u{b}' => "'\\v'".to_owned(),
        '\u{c}' => "'\\f'".to_owned(),
        control if control.is_ascii_control() => format!("'\\x{:02x}'", control as u32),
        ascii if ascii.is_ascii() => format!("'{ascii}'"),
        wide => {
            let mut buffer = [0; 4];
            let first = wide.encode_utf8(&mut buffer).as_bytes()[0];
            format!("'{}'", char::from(first))
        }
    }
}

// === impl Step ===

impl Step {
    /// About as many bytes as it takes in a path.
    fn length(&self) -> usize {
        match self {
            Step::Index(_) => "[00]".len(),
            Step::Field(name) => name.len() + 1,
        }
    }

    fn append_to(&self, path: &mut String, first: bool) {
        match self {
            Step::Index(index) => {
                path.push('[');
                path.push_str(&index.to_string());
                path.push(']');
            }
            Step::Field(name) => {
                if !first {
                    path.push('.');
                }
                path.push_str(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn parsed(text: &str) -> Value {
        parse(text.as_bytes()).unwrap()
    }

    #[rstest]
    #[case(r#""a\u00e9\ud83d\ude00\/\b""#, "aé😀/\u{8}")]
    #[case(r#""\ud800x""#, "\u{fffd}x")]
    #[case(r#""\ud800\u0041""#, "\u{fffd}A")]
    #[case(r#""\udc00""#, "\u{fffd}")]
    fn strings(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(parsed(text), Value::from(expected));
    }

    #[test]
    fn invalid_utf8_is_replaced_byte_by_byte() {
        assert_eq!(parse(b"\"a\xff\xe2\x82b\""), Ok(Value::from("a\u{fffd}\u{fffd}\u{fffd}b")));
    }

    #[rstest]
    #[case("", "unexpected end of JSON input")]
    #[case("{", "unexpected end of JSON input")]
    #[case("[1 2]", "invalid character '2' after array element")]
    #[case("{a", "invalid character 'a' looking for beginning of object key string")]
    #[case(r#"{"a" 1}"#, "invalid character '1' after object key")]
    #[case(r#"{"a":1 "b"}"#, "invalid character '\"' after object key:value pair")]
    #[case(r#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string")]
    #[case("[1,]", "invalid character ']' looking for beginning of value")]
    #[case("tru1", "invalid character '1' in literal true (expecting 'e')")]
    #[case("nul", "invalid character ' ' in literal null (expecting 'l')")]
    #[case("[-", "invalid character ' ' in numeric literal")]
    #[case(r#""\u1"#, "invalid character ' ' in \\u hexadecimal character escape")]
    #[case(r#""a"#, "unexpected end of JSON input")]
    #[case("[1e999,]", "invalid character ']' looking for beginning of value")]
    #[case("[1e999]", "json: cannot unmarshal number 1e999 into Go value of type float64")]
    #[case("1 x", "invalid character 'x' after top-level value")]
    #[case("-x", "invalid character 'x' in numeric literal")]
    #[case("1.x", "invalid character 'x' after decimal point in numeric literal")]
    #[case("1ex", "invalid character 'x' in exponent of numeric literal")]
    #[case("01", "invalid character '1' after top-level value")]
    #[case("\"a\nb\"", "invalid character '\\n' in string literal")]
    #[case(r#""\x""#, "invalid character 'x' in string escape code")]
    #[case(r#""\u00g0""#, "invalid character 'g' in \\u hexadecimal character escape")]
    #[case("'", "invalid character '\\'' looking for beginning of value")]
    #[case("é", "invalid character 'Ã' looking for beginning of value")]
    fn errors_read_as_in_go(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), expected);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(parse(&nested(1_000_000)).unwrap_err().to_string(), "invalid character '[' exceeded max depth");
    }

    #[test]
    fn the_last_duplicate_counts_and_is_named() {
        let text = br#"{"a":1,"b":[{"c":1,"d":2,"c":3,"c":4}],"a":{"x":null}}"#;
        let strict = parse_strict(text).unwrap();
        assert_eq!(strict.duplicates.paths, ["b[0].c", "a"]);
        let again: Vec<&str> = strict.duplicates.all.iter().filter(|one| one.1).map(|one| one.0.as_str()).collect();
        assert_eq!(again, ["b[0].c", "b[0].c", "a"]);
        assert_eq!(strict.value, parsed(r#"{"a":{"x":null},"b":[{"c":4,"d":2}]}"#));
        assert_eq!(parse(text), Ok(strict.value));
    }

    /// Found by fuzzing: with all of them named, a body of 3 MB took more memory than any machine has.
    #[test]
    fn long_paths_are_not_told() {
        let fields = "\"a\":0,".repeat(10_000);
        let text = format!("{{\"{}\":{{{fields}\"b\":0}}}}", "k".repeat(100_000));
        let strict = parse_strict(text.as_bytes()).unwrap();
        assert_eq!(strict.duplicates, Duplicates { said: vec![UNNAMED.to_owned()], ..Duplicates::default() });
        assert_eq!(parse(text.as_bytes()), Ok(strict.value));
    }

    #[rstest]
    #[case::kept(r#"{"f:a":{},"f:b":{"k:{\"n\":\"x\"}":{".":{}}}}"#, true)]
    #[case::empty("{}", true)]
    #[case::spaced(r#"{"f:a": {}}"#, false)]
    #[case::no_object(r#"{"f:a":1}"#, false)]
    #[case::null("null", false)]
    #[case::escaped(r#"{"f:\u0061":{}}"#, false)]
    #[case::html(r#"{"f:<":{}}"#, false)]
    fn compact_fields_stay_text(#[case] fields: &str, #[case] kept: bool) {
        let text = format!(r#"{{"metadata":{{"managedFields":[{{"fieldsV1":{fields}}}]}},"fieldsV1":{{}}}}"#);
        let object = parse_object(text.as_bytes()).unwrap();
        let value = object.array_at("metadata.managedFields")[0].get("fieldsV1");
        assert_eq!(matches!(value, Value::Json(_)), kept);
        assert!(matches!(object.get("fieldsV1"), Value::Object(_)));
        assert_eq!(object, parsed(&text));
        assert_eq!(parse_fields(fields.as_bytes()), Ok(parsed(fields)));
    }

    #[rstest]
    #[case(r#"{"f:a":{}"#, "unexpected end of JSON input")]
    #[case(r#"{"f:a":{},}"#, "invalid character '}' looking for beginning of object key string")]
    fn fields_fail_as_anything_else(#[case] fields: &str, #[case] expected: &str) {
        let text = format!(r#"{{"metadata":{{"managedFields":[{{"fieldsV1":{fields}"#);
        assert_eq!(parse_object(text.as_bytes()).unwrap_err().to_string(), expected);
        assert_eq!(parse_fields(fields.as_bytes()).unwrap_err().to_string(), expected);
    }

    #[test]
    fn duplicates_in_a_large_object_are_found() {
        let fields: Vec<String> = (0..100).map(|at| format!("\"k{}\":{at}", at % 99)).collect();
        let strict = parse_strict(format!("{{{}}}", fields.join(",")).as_bytes()).unwrap();
        assert_eq!(strict.duplicates.paths, ["k0"]);
        assert_eq!(strict.value.get("k0"), &Value::Int(99));
        assert_eq!(strict.value.as_object().unwrap().len(), 99);
    }
}
