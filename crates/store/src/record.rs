//! The index record: what an object can be found by without reading its bytes.
//!
//! There is one beside every object in memory, so it is packed: one allocation that holds all strings, each with its
//! length before it. The same text is written to the embedded log, so that recovery reads no object.

use std::borrow::Cow;
use std::ops::Range;

/// What an [`Extract`](crate::Extract) found in an object; [`Record::new`] packs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts<'a> {
    /// `metadata.namespace`, empty if cluster-scoped.
    pub namespace: Cow<'a, str>,
    /// `metadata.name`.
    pub name: Cow<'a, str>,
    /// `metadata.uid`.
    pub uid: Cow<'a, str>,
    /// `metadata.labels`.
    pub labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Selectable fields besides name and namespace; those with an empty value may be left out.
    pub fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// UIDs of the owners.
    pub owners: Vec<Cow<'a, str>>,
    /// `metadata.finalizers`.
    pub finalizers: Vec<Cow<'a, str>>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// The span of the metadata object in the value.
    pub metadata: Range<u32>,
    /// Where `"resourceVersion":"N",` is spliced into the value.
    pub revision_at: u32,
}

/// The packed index record of one object. Derived from the bytes, never the truth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Namespace, name, uid, then the counted lists: labels, fields, owners, finalizers.
    packed: Box<str>,
    metadata: (u32, u32),
    revision_at: u32,
    deleting: bool,
}

// === impl Record ===

impl Record {
    /// Packs what was extracted.
    pub fn new(parts: &Parts<'_>) -> Self {
        let mut text = String::with_capacity(128);
        for word in [&parts.namespace, &parts.name, &parts.uid] {
            push(&mut text, word);
        }
        for pairs in [&parts.labels, &parts.fields] {
            push_number(&mut text, pairs.len());
            for (name, value) in pairs {
                push(&mut text, name);
                push(&mut text, value);
            }
        }
        for words in [&parts.owners, &parts.finalizers] {
            push_number(&mut text, words.len());
            for word in words {
                push(&mut text, word);
            }
        }
        Self {
            packed: text.into_boxed_str(),
            metadata: (parts.metadata.start, parts.metadata.end),
            revision_at: parts.revision_at,
            deleting: parts.deleting,
        }
    }

    /// `metadata.namespace`, empty if cluster-scoped.
    pub fn namespace(&self) -> &str {
        self.cursor(0).word()
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.cursor(1).word()
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.cursor(2).word()
    }

    /// All labels, in the object's order.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> + '_ {
        let mut cursor = self.cursor(3);
        let count = cursor.number();
        (0..count).map(move |_| (cursor.word(), cursor.word()))
    }

    /// One label's value.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The selectable fields besides name and namespace. One that is left out is empty.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> + '_ {
        let mut cursor = self.after_pairs(1);
        let count = cursor.number();
        (0..count).map(move |_| (cursor.word(), cursor.word()))
    }

    /// One selectable field's value, `metadata.name` and `metadata.namespace` included.
    pub fn field(&self, name: &str) -> Option<&str> {
        match name {
            "metadata.name" => Some(self.name()),
            "metadata.namespace" => Some(self.namespace()),
            _ => self.fields().find(|(key, _)| *key == name).map(|(_, value)| value),
        }
    }

    /// The owners' UIDs.
    pub fn owners(&self) -> impl Iterator<Item = &str> + '_ {
        let mut cursor = self.after_pairs(2);
        let count = cursor.number();
        (0..count).map(move |_| cursor.word())
    }

    /// The finalizers.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> + '_ {
        let mut cursor = self.after_pairs(2);
        for _ in 0..cursor.number() {
            cursor.word();
        }
        let count = cursor.number();
        (0..count).map(move |_| cursor.word())
    }

    /// Whether `metadata.deletionTimestamp` is set.
    pub fn deleting(&self) -> bool {
        self.deleting
    }

    /// The span of the metadata object in the value.
    pub fn metadata(&self) -> Range<usize> {
        self.metadata.0 as usize..self.metadata.1 as usize
    }

    /// Where `"resourceVersion":"N",` is spliced into the value.
    pub fn revision_at(&self) -> usize {
        self.revision_at as usize
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.packed.len()
    }

    fn cursor(&self, skip: usize) -> Cursor<'_> {
        let mut cursor = Cursor { text: if self.packed.is_empty() { EMPTY } else { &self.packed }, at: 0 };
        for _ in 0..skip {
            cursor.word();
        }
        cursor
    }

    /// Behind the first `lists` lists of pairs.
    fn after_pairs(&self, lists: usize) -> Cursor<'_> {
        let mut cursor = self.cursor(3);
        for _ in 0..lists {
            for _ in 0..2 * cursor.number() {
                cursor.word();
            }
        }
        cursor
    }
}

// --- on disk ---

impl Record {
    /// Appends the record's bytes; [`Record::decode`] reads them.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for number in [self.metadata.0, self.metadata.1, self.revision_at, u32::from(self.deleting)] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(self.packed.as_bytes());
    }

    /// The inverse of [`Record::encode`]; `None` for bytes that no record encodes to.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, text) = bytes.split_at_checked(16)?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let packed: Box<str> = std::str::from_utf8(text).ok()?.into();
        Some(Self { packed, metadata: (number(0), number(4)), revision_at: number(8), deleting: number(12) != 0 })
    }
}

// --- packing: a length in base 64 (bit 6: more follows), so that the whole stays UTF-8 ---

/// What an empty record reads as: three empty strings and four empty lists.
const EMPTY: &str = "\0\0\0\0\0\0\0";

fn push_number(text: &mut String, mut number: usize) {
    while number >= 64 {
        text.push(char::from((number % 64) as u8 | 64));
        number /= 64;
    }
    text.push(char::from(number as u8));
}

fn push(text: &mut String, word: &str) {
    push_number(text, word.len());
    text.push_str(word);
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn number(&mut self) -> usize {
        let (mut number, mut shift) = (0, 0);
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            self.at += 1;
            // Nearly always the first.
            if byte < 64 {
                return number | usize::from(byte) << shift;
            }
            number |= usize::from(byte & 63) << shift;
            shift += 6;
            if shift > 54 {
                break;
            }
        }
        number
    }

    fn word(&mut self) -> &'a str {
        let end = self.number().saturating_add(self.at);
        let word = self.text.get(self.at..end).unwrap_or_default();
        self.at = end;
        word
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_record_reads_as_empty() {
        let record = Record::default();
        assert_eq!((record.namespace(), record.name(), record.uid()), ("", "", ""));
        assert_eq!(
            record.labels().count() + record.fields().count() + record.owners().count() + record.finalizers().count(),
            0
        );
    }

    fn words() -> impl Strategy<Value = Vec<Cow<'static, str>>> {
        prop::collection::vec(".{0,80}".prop_map(Cow::from), 0..5)
    }

    fn pairs() -> impl Strategy<Value = Vec<(Cow<'static, str>, Cow<'static, str>)>> {
        prop::collection::vec((".{0,80}".prop_map(Cow::from), ".{0,5000}".prop_map(Cow::from)), 0..70)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_packed_is_read_back((namespace, name, uid) in (".{0,70}", ".{0,70}", ".{0,40}"), labels in pairs(), fields in pairs(),
                                       owners in words(), finalizers in words(), deleting: bool, at: u32) {
            let parts = Parts { namespace: namespace.into(), name: name.into(), uid: uid.into(), labels, fields, owners, finalizers,
                                deleting, metadata: at / 2..at, revision_at: at / 3 };
            let record = Record::new(&parts);
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            prop_assert_eq!(Record::decode(&bytes), Some(record.clone()));
            let strings = |list: &[(Cow<'_, str>, Cow<'_, str>)]| list.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect::<Vec<_>>();
            let read = |list: Vec<(&str, &str)>| list.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect::<Vec<_>>();
            prop_assert_eq!((record.namespace(), record.name(), record.uid()), (&*parts.namespace, &*parts.name, &*parts.uid));
            prop_assert_eq!(read(record.labels().collect()), strings(&parts.labels));
            prop_assert_eq!(read(record.fields().collect()), strings(&parts.fields));
            prop_assert_eq!(record.owners().collect::<Vec<_>>(), parts.owners);
            prop_assert_eq!(record.finalizers().collect::<Vec<_>>(), parts.finalizers);
            prop_assert_eq!((record.deleting(), record.metadata(), record.revision_at()),
                            (parts.deleting, parts.metadata.start as usize..parts.metadata.end as usize, parts.revision_at as usize));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            if let Some(record) = Record::decode(&bytes) {
                record.labels().take(1000).count();
                record.fields().take(1000).count();
                record.finalizers().take(1000).count();
            }
        }
    }
}
