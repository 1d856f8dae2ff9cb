//! Writing, in go-yaml v2's style: blocks, two spaces a level, lists at their key's level, keys sorted.
//! Lines of text go on in the next one once they are long; a key that is long or of several lines has a line of its own, `? KEY`, above `: VALUE`.

use std::cmp::Ordering;

use super::scalar::{self, Scalar};
use crate::codec::json;
use crate::value::{Key, Map, Value};

/// Longer keys have lines of their own, as in go-yaml; no parser takes more than 1,024 bytes before a `:`.
const SIMPLE_KEY_BYTES_MAX: usize = 128;
/// A space further to the right than this becomes a line's end.
const WIDTH: usize = 80;

/// Appends the tree as one document.
pub fn write(value: &Value, out: &mut Vec<u8>) {
    match &*value.opened() {
        Value::Object(fields) if !fields.is_empty() => mapping(fields, 0, false, out),
        Value::Array(items) if !items.is_empty() => list(items, 0, false, out),
        flat => {
            scalar(flat, 0, false, out);
            out.push(b'\n');
        }
    }
}

/// `inline`: the first line goes on where a list's dash stands.
fn mapping(fields: &Map, indent: usize, inline: bool, out: &mut Vec<u8>) {
    for (at, (key, value)) in in_natural_order(fields.iter().collect()).into_iter().enumerate() {
        if at > 0 || !inline {
            out.resize(out.len() + indent, b' ');
        }
        let simple = key.len() <= SIMPLE_KEY_BYTES_MAX && !key.contains(is_break);
        if !simple {
            out.extend_from_slice(b"? ");
        }
        text(key, indent, simple, out);
        if !simple {
            out.push(b'\n');
            out.resize(out.len() + indent, b' ');
            out.extend_from_slice(b": ");
            item(value, indent, out);
            continue;
        }
        out.push(b':');
        match &*value.opened() {
            Value::Object(inner) if !inner.is_empty() => {
                out.push(b'\n');
                mapping(inner, indent + 2, false, out);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push(b'\n');
                list(items, indent, false, out);
            }
            flat => {
                out.push(b' ');
                scalar(flat, indent, false, out);
                out.push(b'\n');
            }
        }
    }
}

fn list(items: &[Value], indent: usize, inline: bool, out: &mut Vec<u8>) {
    for (at, one) in items.iter().enumerate() {
        if at > 0 || !inline {
            out.resize(out.len() + indent, b' ');
        }
        out.extend_from_slice(b"- ");
        item(one, indent, out);
    }
}

/// What stands behind `- `, or `: ` on a line of its own.
fn item(value: &Value, indent: usize, out: &mut Vec<u8>) {
    match &*value.opened() {
        Value::Object(inner) if !inner.is_empty() => mapping(inner, indent + 2, true, out),
        Value::Array(inner) if !inner.is_empty() => list(inner, indent + 2, true, out),
        flat => {
            scalar(flat, indent, false, out);
            out.push(b'\n');
        }
    }
}

fn scalar(value: &Value, indent: usize, key: bool, out: &mut Vec<u8>) {
    match value {
        Value::String(string) => text(string, indent, key, out),
        other => json::write(other, out),
    }
}

/// How a text may be written.
struct Analysis {
    plain: bool,
    single_quoted: bool,
    block: bool,
}

fn text(string: &str, indent: usize, key: bool, out: &mut Vec<u8>) {
    let allowed = Analysis::of(string);
    let resolves = scalar::resolve(string) != Scalar::Text || scalar::is_base_60(string);
    let lines = string.contains('\n');
    let fold = (!key).then_some(indent + 2);
    if lines && allowed.block && !key {
        return literal(string, indent + 2, out);
    }
    match () {
        () if lines || resolves => double_quoted(string, fold, out),
        () if allowed.plain => unescaped(string, false, fold, out),
        () if allowed.single_quoted => {
            out.push(b'\'');
            unescaped(string, true, fold, out);
            out.push(b'\'');
        }
        () => double_quoted(string, fold, out),
    }
}

/// Characters of the line that is being written.
fn column(out: &[u8]) -> usize {
    let line = out.iter().rposition(|byte| *byte == b'\n').map_or(out, |at| &out[at + 1..]);
    String::from_utf8_lossy(line).chars().count()
}

fn new_line(indent: usize, out: &mut Vec<u8>) -> usize {
    out.push(b'\n');
    out.resize(out.len() + indent, b' ');
    indent
}

/// A text without escapes, in single quotes or none. `fold`: how far the lines are indented in which it goes on.
fn unescaped(string: &str, quoted: bool, fold: Option<usize>, out: &mut Vec<u8>) {
    let Some(indent) = fold.filter(|_| string.contains(' ')) else {
        match quoted {
            true => out.extend_from_slice(string.replace('\'', "''").as_bytes()),
            false => out.extend_from_slice(string.as_bytes()),
        }
        return;
    };
    let (mut column, mut after_space) = (column(out), false);
    for (at, c) in string.char_indices() {
        let alone = c == ' ' && !after_space && !string[at + 1..].starts_with(' ');
        let inside = !quoted || (at > 0 && at + 1 < string.len());
        if alone && inside && column > WIDTH {
            column = new_line(indent, out);
        } else {
            let times = if quoted && c == '\'' { 2 } else { 1 };
            for _ in 0..times {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            column += times;
        }
        after_space = c == ' ';
    }
}

/// `|`, with its hints about indentation and the end.
fn literal(string: &str, indent: usize, out: &mut Vec<u8>) {
    out.push(b'|');
    if string.starts_with([' ', '\n']) {
        out.push(b'2');
    }
    match string.strip_suffix('\n') {
        None => out.push(b'-'),
        Some(rest) if rest.is_empty() || rest.ends_with('\n') => out.push(b'+'),
        Some(_) => {}
    }
    for line in string.strip_suffix('\n').unwrap_or(string).split('\n') {
        out.push(b'\n');
        if !line.is_empty() {
            out.resize(out.len() + indent, b' ');
            out.extend_from_slice(line.as_bytes());
        }
    }
}

fn double_quoted(string: &str, fold: Option<usize>, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut after_space = false;
    for (at, c) in string.char_indices() {
        let inside = c == ' ' && !after_space && at > 0 && at + 1 < string.len();
        after_space = c == ' ';
        if let Some(indent) = fold.filter(|_| inside && column(out) > WIDTH) {
            new_line(indent, out);
            if string[at + 1..].starts_with(' ') {
                out.push(b'\\');
            }
            continue;
        }
        let escape = match c {
            '\0' => "\\0",
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\u{b}' => "\\v",
            '\u{c}' => "\\f",
            '\r' => "\\r",
            '\u{1b}' => "\\e",
            '"' => "\\\"",
            '\\' => "\\\\",
            '\u{85}' => "\\N",
            '\u{a0}' => "\\_",
            '\u{2028}' => "\\L",
            '\u{2029}' => "\\P",
            printable if is_printable(printable) => {
                out.extend_from_slice(printable.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            other => {
                let escape = match other as u32 {
                    code @ 0..=0xff => format!("\\x{code:02X}"),
                    code @ 0x100..=0xffff => format!("\\u{code:04X}"),
                    code => format!("\\U{code:08X}"),
                };
                out.extend_from_slice(escape.as_bytes());
                continue;
            }
        };
        out.extend_from_slice(escape.as_bytes());
    }
    out.push(b'"');
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

// === impl Analysis ===

impl Analysis {
    fn of(string: &str) -> Analysis {
        let (Some(first), Some(last)) = (string.chars().next(), string.chars().next_back()) else {
            return Analysis { plain: true, single_quoted: true, block: false };
        };
        let mut indicators = string.starts_with("---") || string.starts_with("...");
        let (mut special, mut break_space, mut space_break, mut breaks) = (false, false, false, false);
        let mut previous = ' ';
        let mut rest = string.chars();
        while let Some(c) = rest.next() {
            let next = rest.clone().next();
            let blank_follows = next.is_none_or(|next| next == ' ' || next == '\t');
            let at_start = rest.as_str().len() + c.len_utf8() == string.len();
            indicators |= match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
                    if at_start =>
                {
                    true
                }
                '?' | '-' if at_start => blank_follows,
                ':' => blank_follows,
                '#' => matches!(previous, ' ' | '\t') || is_break(previous),
                _ => false,
            };
            special |= !is_printable(c);
            break_space |= c == ' ' && !at_start && is_break(previous);
            space_break |= is_break(c) && !at_start && previous == ' ';
            breaks |= is_break(c);
            previous = c;
        }
        let edges = [first, last].into_iter().any(|c| c == ' ' || is_break(c));
        let quotable = !space_break && !special;
        Analysis {
            plain: quotable && !edges && !break_space && !breaks && !indicators,
            single_quoted: quotable && !break_space,
            block: quotable && last != ' ',
        }
    }
}

/// Sorts by go-yaml's order, which is none among some keys (`a2`, `a2o`, `a19`): the standard library's sort panics
/// there. Few keys are sorted as Go does it, by insertion, so that they come out the same; more are merged.
fn in_natural_order<'v>(mut entries: Vec<(&'v Key, &'v Value)>) -> Vec<(&'v Key, &'v Value)> {
    /// `sort.Sort` takes no more by insertion.
    const INSERTION_MAX: usize = 12;
    if entries.len() > INSERTION_MAX {
        let second = in_natural_order(entries.split_off(entries.len() / 2));
        let (mut first, mut second) = (in_natural_order(entries).into_iter().peekable(), second.into_iter().peekable());
        let earlier = || match (first.peek(), second.peek()) {
            (Some((a, _)), Some((b, _))) if natural_order(b, a).is_lt() => second.next(),
            (Some(_), _) => first.next(),
            (None, _) => second.next(),
        };
        return std::iter::from_fn(earlier).collect();
    }
    for end in 1..entries.len() {
        let less = |at: &usize| natural_order(entries[end].0, entries[*at].0).is_lt();
        let place = (0..end).rev().take_while(less).last().unwrap_or(end);
        entries[place..=end].rotate_right(1);
    }
    entries
}

/// go-yaml's order of keys: letters after anything else, runs of digits by their number.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(x, y)| x != y) else { return a.len().cmp(&b.len()) };
    let (x, y) = (a[at], b[at]);
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let within_number =
        (x == '0' || y == '0') && a[..at].iter().rev().take_while(|c| c.is_ascii_digit()).any(|c| *c != '0');
    let number = |chars: &[char]| {
        let digits: Vec<u64> = chars[at..].iter().map_while(|c| c.to_digit(10)).map(u64::from).collect();
        let start = u64::from(within_number);
        let value = digits.iter().fold(start, |sum, digit| sum.wrapping_mul(10).wrapping_add(*digit));
        (value, digits.len())
    };
    number(&a).cmp(&number(&b)).then(x.cmp(&y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::yaml::parse;
    use proptest::prelude::*;
    use rstest::rstest;

    fn written(json_text: &str) -> String {
        let mut out = Vec::new();
        write(&json::parse(json_text.as_bytes()).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn keys_in_no_order_are_sorted_all_the_same() {
        let name = |n| if n == 23 { "a2o".to_owned() } else { format!("a{n}") };
        let mut keys: Vec<Key> = (0..40).filter(|n| *n != 4).map(|n| name(n).into()).collect();
        keys.sort();
        let sorted = in_natural_order(keys.iter().map(|key| (key, &crate::value::NULL)).collect());
        let (mut before, mut after): (Vec<&str>, Vec<&str>) =
            (keys.iter().map(Key::as_str).collect(), sorted.iter().map(|(key, _)| key.as_str()).collect());
        before.sort_unstable();
        after.sort_unstable();
        assert_eq!(before, after);
    }

    /// Expected texts are what `sigs.k8s.io/yaml` makes of the same JSON.
    #[rstest]
    #[case("{}", "{}\n")]
    #[case("null", "null\n")]
    #[case::a_long_line_in_quotes(
        r#"{"conditions":[{"message":"Get \"https://127.0.0.1:10259/healthz\": dial tcp 127.0.0.1:10259: connect: connection refused"}]}"#,
        "conditions:\n- message: 'Get \"https://127.0.0.1:10259/healthz\": dial tcp 127.0.0.1:10259: connect:\n    connection refused'\n"
    )]
    #[case::a_long_escaped_line(
        r#"{"message":"\tThis FlowSchema references the PriorityLevelConfiguration object named \"exempt\" and   it exists and so on"}"#,
        "message: \"\\tThis FlowSchema references the PriorityLevelConfiguration object named\n  \\\"exempt\\\" and   it exists and so on\"\n"
    )]
    #[case::a_long_plain_line(
        r#"{"message":"This FlowSchema references the PriorityLevelConfiguration object named \"exempt\" and it exists"}"#,
        "message: This FlowSchema references the PriorityLevelConfiguration object named \"exempt\"\n  and it exists\n"
    )]
    #[case(r#"{"b":[1,{"c":[],"a":{}},[2,3]],"a":null}"#, "a: null\nb:\n- 1\n- a: {}\n  c: []\n- - 2\n  - 3\n")]
    #[case(
        r#"{"a":"yes","b":"1","c":"","d":"~","e":"2001-01-01","f":"1:30"}"#,
        "a: \"yes\"\nb: \"1\"\nc: \"\"\nd: \"~\"\ne: \"2001-01-01\"\nf: \"1:30\"\n"
    )]
    #[case(
        r#"{"a":"x: y","b":"- x","c":"x #y","d":"x:","e":"it's","f":"'q'","g":" x"}"#,
        "a: 'x: y'\nb: '- x'\nc: 'x #y'\nd: 'x:'\ne: it's\nf: '''q'''\ng: ' x'\n"
    )]
    #[case(
        r#"{"a":"x\ny\n","b":"x\ny","c":"x\n\n","d":"\nx"}"#,
        "a: |\n  x\n  y\nb: |-\n  x\n  y\nc: |+\n  x\n\nd: |2-\n\n  x\n"
    )]
    #[case(r#"{"a":"\t\u0001é😀"}"#, "a: \"\\t\\x01é\\U0001F600\"\n")]
    #[case(r#"{"a10":1,"a2":1,"B":1,"a":1}"#, "B: 1\na: 1\na2: 1\na10: 1\n")]
    #[case(r#"{"a\nb":{"c":1,"d":[1]},"e":1}"#, "? |-\n  a\n  b\n: c: 1\n  d:\n  - 1\ne: 1\n")]
    #[case(r#"{"a\n":[1,[2]],"b":{"\nx":null}}"#, "? |\n  a\n: - 1\n  - - 2\nb:\n  ? |2-\n\n    x\n  : null\n")]
    #[case(r#"{"l":[{"a\nb":"x\ny","c":{}}]}"#, "l:\n- ? |-\n    a\n    b\n  : |-\n    x\n    y\n  c: {}\n")]
    fn as_upstream_writes_it(#[case] json_text: &str, #[case] expected: &str) {
        assert_eq!(written(json_text), expected);
    }

    #[test]
    fn what_is_kept_as_text_is_written_as_its_tree() {
        let text = br#"{"metadata":{"managedFields":[{"fieldsV1":{"f:a":{},"f:b":{"k:{\"n\":1}":{".":{}}}}}]}}"#;
        let mut out = Vec::new();
        write(&json::parse_object(text).unwrap(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), written(std::str::from_utf8(text).unwrap()));
    }

    /// Found by fuzzing: no parser reads a long key before a `:`.
    #[rstest]
    #[case(128, false)]
    #[case(129, true)]
    #[case(1025, true)]
    fn long_keys(#[case] bytes: usize, #[case] on_its_own: bool) {
        let key = "k".repeat(bytes);
        let text = written(&format!(r#"{{"{key}":1}}"#));
        let expected = if on_its_own { format!("? {key}\n: 1\n") } else { format!("{key}: 1\n") };
        assert_eq!(text, expected);
        assert_eq!(parse(text.as_bytes()).unwrap().get(&key).as_i64(), Some(1));
    }

    proptest! {
        #[test]
        fn any_text_survives(key in "\\PC{0,6}|[a\n :]{0,6}|k{126,130}|[k']{1020,1030}|[k\t]{1020,1030}|[k\n]{1020,1030}", text in "[ -~\n\t\u{e9}\u{2028}\u{1f600}]{0,16}", list in any::<bool>()) {
            let value = match list {
                true => Value::Array(vec![Value::from(text.as_str()), Value::from(text.as_str())]),
                false => Value::Object([(key.as_str(), Value::from(text.as_str()))].into_iter().collect()),
            };
            let mut out = Vec::new();
            write(&value, &mut out);
            prop_assert_eq!(parse(&out).unwrap(), value, "{}", String::from_utf8_lossy(&out));
        }
    }
}
