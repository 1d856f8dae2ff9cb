//! Reading: the first document of a text becomes a tree, as if it had gone through JSON.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::plain::may_be_plain_json;
use super::scalar::{self, Scalar};
use crate::codec::json::{self, DEPTH_MAX, Duplicates, Parsed};
use crate::field::go_quote;
use crate::value::{Key, Map, Value};

/// Why a text is no YAML, or nothing that JSON could hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(String);

/// Reads the first document. Of duplicate keys the last one counts.
pub fn parse(text: &[u8]) -> Result<Value, YamlError> {
    parse_strict(text).map(|parsed| parsed.value)
}

/// The same, and says which keys came more than once.
pub fn parse_strict(text: &[u8]) -> Result<Parsed, YamlError> {
    if may_be_plain_json(text)
        && let Ok(parsed) = json::parse_strict(text)
        && parsed.duplicates == Duplicates::default()
    {
        return Ok(parsed);
    }
    read_as_yaml(text)
}

/// Reads with YAML's parser, whatever the text looks like.
pub(super) fn read_as_yaml(text: &[u8]) -> Result<Parsed, YamlError> {
    let text = std::str::from_utf8(text).map_err(|_| YamlError("yaml: invalid leading UTF-8 octet".to_owned()))?;
    let mut builder = Builder::default();
    for next in Parser::new_from_str(text) {
        let (event, span) =
            next.map_err(|error| YamlError(format!("yaml: line {}: {}", error.marker().line(), error.info())))?;
        if builder.on(event, span)? {
            break;
        }
    }
    builder.repeated.sort();
    let lines: Vec<&str> = builder.repeated.iter().map(|(_, said)| said.as_str()).collect();
    let said = match lines.as_slice() {
        [] => Vec::new(),
        lines => vec![format!("yaml: unmarshal errors:\n{}", lines.join("\n"))],
    };
    Ok(Parsed { value: builder.done.unwrap_or_default(), duplicates: Duplicates { said, ..Duplicates::default() } })
}

/// So many repeated keys are named.
const REPEATED_MAX: usize = 100;

/// Builds the tree from the parser's events.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    done: Option<Value>,
    /// What anchors stand for, and how much it is.
    anchors: HashMap<usize, (Value, Size)>,
    /// All that was read.
    read: Size,
    /// What of it aliases stood for.
    aliased: Size,
    /// Complaints about repeated keys, with their lines.
    repeated: Vec<(usize, String)>,
}

/// How large a tree is once every alias is what it stands for.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    /// Of its texts.
    bytes: usize,
}

/// A list or mapping that is being read.
struct Open {
    node: Node,
    anchor: usize,
    read_before: Size,
}

enum Node {
    List(Vec<Value>),
    Mapping { entries: Vec<Entry>, key: Option<MappingKey> },
}

struct Entry {
    key: Key,
    /// As Go prints it.
    shown: String,
    value: Value,
    line: usize,
}

enum MappingKey {
    Named(Key, String),
    Merge,
}

// === impl Builder ===

impl Builder {
    /// Takes an event; true at the end of the first document.
    fn on(&mut self, event: Event<'_>, span: Span) -> Result<bool, YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let size = Size { nodes: 1, bytes: text.len() };
                self.read.add(size);
                let plain = style == ScalarStyle::Plain;
                if let Some(Open { node: Node::Mapping { key: key @ None, .. }, .. }) = self.open.last_mut() {
                    *key = Some(mapping_key(&text, plain, tag.as_deref())?);
                    return Ok(false);
                }
                let value = scalar_value(&text, plain, tag.as_deref())?;
                if anchor > 0 {
                    self.anchors.insert(anchor, (value.clone(), size));
                }
                self.add(value, span)?;
            }
            Event::Alias(id) => {
                let Some((value, size)) = self.anchors.get(&id) else {
                    return Err(YamlError("yaml: anchor value contains itself".to_owned()));
                };
                self.aliased.add(*size);
                self.read.add(*size);
                let value = value.clone();
                self.check_aliases()?;
                self.check_depth(value.depth())?;
                if let Some(Open { node: Node::Mapping { key: key @ None, .. }, .. }) = self.open.last_mut() {
                    let Value::String(name) = value else { return Err(bad_key("alias")) };
                    *key = Some(MappingKey::Named(name.clone(), go_quote(&name)));
                    return Ok(false);
                }
                self.add(value, span)?;
            }
            Event::SequenceStart(_, anchor, _) => self.enter(Node::List(Vec::new()), anchor)?,
            Event::MappingStart(_, anchor, _) => {
                self.enter(Node::Mapping { entries: Vec::new(), key: None }, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            Event::DocumentEnd => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    fn enter(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        if let Some(Open { node: Node::Mapping { key: None, .. }, .. }) = self.open.last() {
            return Err(bad_key("collection"));
        }
        self.check_depth(1)?;
        self.open.push(Open { node, anchor, read_before: self.read });
        self.read.add(Size { nodes: 1, bytes: 0 });
        Ok(())
    }

    fn close(&mut self, span: Span) -> Result<(), YamlError> {
        let Some(Open { node, anchor, read_before }) = self.open.pop() else { return Ok(()) };
        let value = match node {
            Node::List(items) => Value::Array(items),
            Node::Mapping { entries, .. } => self.mapping(entries),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), self.read.since(read_before)));
        }
        self.add(value, span)
    }

    /// Sorts the keys, as upstream does by going through JSON; of repeated ones the last one counts.
    fn mapping(&mut self, mut entries: Vec<Entry>) -> Value {
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        let mut fields = Map::with_capacity(entries.len());
        for Entry { key, shown, value, line } in entries {
            match fields.entries_mut().last_mut() {
                Some((before, kept)) if *before == key => {
                    *kept = value;
                    if self.repeated.len() < REPEATED_MAX {
                        self.repeated.push((line, format!("  line {line}: key {shown} already set in map")));
                    }
                }
                _ => fields.push_unchecked(key, value),
            }
        }
        Value::Object(fields)
    }

    fn add(&mut self, value: Value, span: Span) -> Result<(), YamlError> {
        match self.open.last_mut().map(|open| &mut open.node) {
            None => self.done = Some(value),
            Some(Node::List(items)) => items.push(value),
            Some(Node::Mapping { entries, key }) => match key.take() {
                Some(MappingKey::Merge) => merge(entries, value, span.start.line())?,
                Some(MappingKey::Named(key, shown)) => {
                    entries.push(Entry { key, shown, value, line: span.start.line() });
                }
                None => return Err(bad_key("collection")),
            },
        }
        Ok(())
    }

    /// Whether something so deep may come here.
    fn check_depth(&self, depth: usize) -> Result<(), YamlError> {
        match self.open.len() + depth > DEPTH_MAX {
            true => Err(YamlError("yaml: exceeded max depth".to_owned())),
            false => Ok(()),
        }
    }

    /// Bombs of aliases within aliases are refused as go-yaml refuses them, and long texts that come often: in memory
    /// they are one, but what the tree is written to holds each.
    fn check_aliases(&self) -> Result<(), YamlError> {
        /// Up to so many nodes nearly all may come from aliases.
        const FEW: f64 = 400_000.0;
        /// From so many on only a tenth may.
        const MANY: f64 = 4_000_000.0;
        /// Several times as much as an object may be.
        const BYTES_MAX: usize = 16 << 20;
        let nodes = self.read.nodes as f64;
        let allowed = 0.99 - 0.89 * ((nodes - FEW) / (MANY - FEW)).clamp(0.0, 1.0);
        let many = self.aliased.nodes > 100 && self.read.nodes > 1000 && self.aliased.nodes as f64 / nodes > allowed;
        match many || self.aliased.bytes > BYTES_MAX {
            true => Err(YamlError("yaml: document contains excessive aliasing".to_owned())),
            false => Ok(()),
        }
    }
}

// === impl Size ===

impl Size {
    fn add(&mut self, other: Size) {
        self.nodes += other.nodes;
        self.bytes += other.bytes;
    }

    fn since(self, before: Size) -> Size {
        Size { nodes: self.nodes - before.nodes, bytes: self.bytes - before.bytes }
    }
}

/// Merges in the order of the text, as go-yaml v2 does: later keys win.
fn merge(entries: &mut Vec<Entry>, value: Value, line: usize) -> Result<(), YamlError> {
    let refused = || YamlError("yaml: map merge requires map or sequence of maps as the value".to_owned());
    match value {
        Value::Object(fields) => {
            entries.extend(fields.into_iter().map(|(key, value)| Entry { shown: go_quote(&key), key, value, line }));
            Ok(())
        }
        Value::Array(items) => items.into_iter().rev().try_for_each(|item| match item {
            Value::Object(_) => merge(entries, item, line),
            _ => Err(refused()),
        }),
        _ => Err(refused()),
    }
}

fn bad_key(what: &str) -> YamlError {
    YamlError(format!("unsupported map key of type: {what}"))
}

/// The core tag's short name (`str`, `int`); none for other tags.
fn core_tag(tag: &Tag) -> Option<&str> {
    (tag.handle() == "tag:yaml.org,2002:").then(|| tag.suffix())
}

fn scalar_value(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Value, YamlError> {
    let resolved = match tag.map(core_tag) {
        None if plain => scalar::resolve(text),
        None | Some(None | Some("str")) => Scalar::Text,
        Some(Some("binary")) => {
            let joined: String = text.split_whitespace().collect();
            let bytes = STANDARD.decode(joined);
            let bytes = bytes.map_err(|_| YamlError("yaml: !!binary value contains invalid base64 data".to_owned()))?;
            return Ok(Value::from(&*String::from_utf8_lossy(&bytes)));
        }
        Some(Some("float")) => match scalar::resolve(text) {
            Scalar::Int(number) => Scalar::Float(number as f64),
            other => other,
        },
        Some(Some(_)) => scalar::resolve(text),
    };
    Ok(match resolved {
        Scalar::Null => Value::Null,
        Scalar::Bool(set) => Value::Bool(set),
        Scalar::Int(number) => Value::Int(number),
        Scalar::Large(number) => Value::Float(number as f64),
        Scalar::Float(number) if number.is_finite() => scalar::float(number),
        Scalar::Float(number) => {
            let shown = if number.is_nan() {
                "NaN"
            } else if number > 0.0 {
                "+Inf"
            } else {
                "-Inf"
            };
            return Err(YamlError(format!("json: unsupported value: {shown}")));
        }
        Scalar::Timestamp | Scalar::Merge | Scalar::Text => Value::from(text),
    })
}

fn mapping_key(text: &str, plain: bool, tag: Option<&Tag>) -> Result<MappingKey, YamlError> {
    if plain && tag.is_none() && scalar::resolve(text) == Scalar::Merge {
        return Ok(MappingKey::Merge);
    }
    Ok(match scalar_value(text, plain, tag)? {
        Value::String(name) => MappingKey::Named(name.clone(), go_quote(&name)),
        Value::Null => return Err(bad_key("%!s(<nil>), key: <nil>")),
        other => {
            let name = String::from_utf8_lossy(&json::to_vec(&other)).into_owned();
            MappingKey::Named(name.as_str().into(), name)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", "null")]
    #[case("a: 1\nb: [x, 'y', \"z\"]\n", r#"{"a":1,"b":["x","y","z"]}"#)]
    #[case("b: yes\na: 'yes'\nc: !!str yes\n", r#"{"a":"yes","b":true,"c":"yes"}"#)]
    #[case("defaultMode: 0644\nother: 08\nthird: 1e3\n", r#"{"defaultMode":420,"other":8,"third":1000}"#)]
    #[case("1: a\ntrue: b\n1.5: c\n", r#"{"1":"a","1.5":"c","true":"b"}"#)]
    #[case("when: 2001-01-02\n", r#"{"when":"2001-01-02"}"#)]
    #[case("a: |\n  x\n  y\nb: >-\n  x\n  y\n", r#"{"a":"x\ny\n","b":"x y"}"#)]
    #[case("a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  e: 2\n", r#"{"a":{"b":1},"c":{"b":1},"d":{"b":1,"e":2}}"#)]
    #[case("a: !!binary aGk=\n", r#"{"a":"hi"}"#)]
    #[case("a: 1\n---\nb: 2\n", r#"{"a":1}"#)]
    #[case(r#"{"kind":"Pod","n":1.5}"#, r#"{"kind":"Pod","n":1.5}"#)]
    #[case("# c\na:\n- b\n- - c\n", r#"{"a":["b",["c"]]}"#)]
    fn read(#[case] text: &str, #[case] expected: &str) {
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(json::to_vec(&value)).unwrap(), expected);
    }

    #[test]
    fn repeated_keys_are_named_with_their_lines() {
        let parsed = parse_strict(b"a: 1\nb:\n  c: 1\n  c: 2\na: 3\n").unwrap();
        assert_eq!(
            parsed.duplicates.said,
            ["yaml: unmarshal errors:\n  line 4: key \"c\" already set in map\n  line 5: key \"a\" already set in map"]
        );
        assert_eq!(parsed.value.at("b.c"), &Value::Int(2));
    }

    #[rstest]
    #[case("a: .inf")]
    #[case("a: [")]
    #[case("~: 1")]
    #[case("? [a]\n: b")]
    #[case("a: *nowhere")]
    #[case("<<: 1")]
    fn refused(#[case] text: &str) {
        assert!(parse(text.as_bytes()).is_err(), "{text}");
    }

    #[test]
    fn alias_bombs_are_refused() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let below = format!("*a{}", level - 1);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(",")));
        }
        assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), "yaml: document contains excessive aliasing");
    }

    /// Found by fuzzing: 3 MB of YAML became 300 GB of JSON.
    #[test]
    fn a_long_text_that_comes_often_is_refused() {
        let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 200].join(","));
        assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), "yaml: document contains excessive aliasing");
    }

    #[test]
    fn nesting_is_bounded() {
        // Found by fuzzing: a tower of which each level is an alias.
        let floors: String = (1..400).map(|at| format!("a{at}: &a{at} [*a{}]\n", at - 1)).collect();
        let tower = format!("a0: &a0 []\n{floors}");
        assert_eq!(parse(tower.as_bytes()).unwrap_err().to_string(), "yaml: exceeded max depth");
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }
}
