//! What types and fields are, in words: upstream's descriptions and possible values.
//!
//! The table is compressed in the binary and read when a document is made; nothing of it stays. tools/schema-gen
//! writes it and says what its columns are.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use api::codec::json;
use api::value::Value;
use flate2::read::GzDecoder;

static TABLE: &[u8] = include_bytes!("../../tables/prose.txt.gz");

/// All of it.
#[derive(Debug, Default)]
pub struct Prose(HashMap<String, HashMap<String, Words>>);

/// What is said of a type or a field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words {
    pub description: Arc<str>,
    /// The values that it can have.
    pub values: Option<Value>,
    /// The values that its items can have.
    pub item_values: Option<Value>,
}

/// What the words of a type itself are kept under; no field has this name.
const ITSELF: &str = "";

// === impl Prose ===

impl Prose {
    /// # Errors
    /// The table is broken.
    pub fn read() -> io::Result<Prose> {
        let mut table = String::new();
        GzDecoder::new(TABLE).read_to_string(&mut table)?;
        Prose::parse(&table).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a row that is none"))
    }

    /// The table's own name: it changes with what is said.
    pub fn table() -> &'static [u8] {
        TABLE
    }

    fn parse(table: &str) -> Option<Prose> {
        let mut texts: Vec<Arc<str>> = Vec::new();
        let mut types = HashMap::new();
        let mut current: (String, HashMap<String, Words>) = Default::default();
        for line in table.lines() {
            let mut columns = line.split('\t');
            let (name, text) = (columns.next()?, columns.next()?);
            let description = match text.strip_prefix('=') {
                Some(number) => texts.get(number.parse::<usize>().ok()?)?.clone(),
                None => {
                    let text: Arc<str> = unescaped(text).into();
                    texts.push(text.clone());
                    text
                }
            };
            let mut words = Words { description, ..Words::default() };
            if let Some(values) = columns.next() {
                let (of_items, values) = values.strip_prefix("[]").map_or((false, values), |values| (true, values));
                let values = Some(json::parse(values.as_bytes()).ok()?);
                *if of_items { &mut words.item_values } else { &mut words.values } = values;
            }
            let field = match name.strip_prefix('.') {
                Some(field) => field,
                None => {
                    let (done, fields) = std::mem::replace(&mut current, (name.to_owned(), HashMap::new()));
                    types.insert(done, fields);
                    ITSELF
                }
            };
            current.1.insert(field.to_owned(), words);
        }
        types.insert(current.0, current.1);
        Some(Prose(types))
    }

    /// What is said of a type.
    pub fn of_type(&self, name: &str) -> Option<&Words> {
        self.of_field(name, ITSELF)
    }

    /// What is said of a type's field.
    pub fn of_field(&self, name: &str, field: &str) -> Option<&Words> {
        self.0.get(name)?.get(field)
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                other => out.extend(other),
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_good() {
        let prose = Prose::read().unwrap();
        let port = "io.k8s.api.core.v1.ContainerPort";
        let words = prose.of_type(port).unwrap();
        assert_eq!(&*words.description, "ContainerPort represents a network port in a single container.");
        let protocol = prose.of_field(port, "protocol").unwrap();
        assert!(
            protocol
                .description
                .starts_with("Protocol for port. Must be UDP, TCP, or SCTP. Defaults to \"TCP\".\n\nPossible")
        );
        assert_eq!(protocol.values, Some(vec!["SCTP", "TCP", "UDP"].into()));
        assert!(prose.of_type("io.k8s.apimachinery.pkg.api.resource.Quantity").is_some());
    }

    #[test]
    fn rows() {
        let prose = Prose::parse("a.T\tone\n.x\ttwo\\n\\\\\n.y\t=0\t[][\"v\"]\na.U\t=1\n").unwrap();
        assert_eq!(&*prose.of_field("a.T", "x").unwrap().description, "two\n\\");
        let y = prose.of_field("a.T", "y").unwrap();
        assert_eq!((&*y.description, &y.values, &y.item_values), ("one", &None, &Some(vec!["v"].into())));
        assert_eq!(&*prose.of_type("a.U").unwrap().description, "two\n\\");
        assert!(prose.of_type("a.V").is_none() && Prose::parse("a.T\t=0\n").is_none());
    }
}
