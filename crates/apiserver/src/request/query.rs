//! Query parameters, decoded once.

use api::status::Status;

/// A parsed query: names and values in order.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub fn parse(text: &str) -> Query {
        // What Go's parser can't read, it leaves out.
        let readable = |pair: &&str| !pair.is_empty() && !pair.contains(';') && has_whole_escapes(pair);
        let pairs = text.split('&').filter(readable).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(name, true), percent_decode(value, true))
        });
        Query { pairs: pairs.collect() }
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A boolean as Go's conversion reads it: present and neither `false` nor `0`.
    pub fn flag(&self, name: &str) -> bool {
        self.optional_flag(name).unwrap_or(false)
    }

    /// The same, telling an absent parameter from a false one.
    pub fn optional_flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
    }

    /// A whole number; absent and empty are `None`.
    ///
    /// # Errors
    /// 400 with Go's words where the text is no number.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Status> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))),
        }
    }
}

/// Whether each `%` begins an escape.
pub fn has_whole_escapes(text: &str) -> bool {
    let is_hex = |part: &str| part.get(..2).is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    text.split('%').skip(1).all(is_hex)
}

/// `%41` to `A`, and `+` to a space in queries. Broken escapes stay as they are.
pub fn percent_decode(text: &str, plus_is_space: bool) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (bytes[at], escaped) {
            (_, Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', None) if plus_is_space => out.push(b' '),
            (byte, None) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lesson 9: `?watch=1`, `?watch=true` and `?watch` all mean true.
    #[test]
    fn flags() {
        for (text, expected) in
            [("w", true), ("w=1", true), ("w=true", true), ("w=0", false), ("w=false", false), ("", false)]
        {
            assert_eq!(Query::parse(text).flag("w"), expected, "{text}");
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(Query::parse("a=x%3Dy+z&a=2").all("a").collect::<Vec<_>>(), ["x=y z", "2"]);
        assert_eq!(percent_decode("100%", true), "100%");
        for (text, whole) in [("a%20b", true), ("", true), ("%zz", false), ("100%", false), ("%4", false)] {
            assert_eq!(has_whole_escapes(text), whole, "{text}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_left_out() {
        let query = Query::parse("a=%zz&limit=1;b=2&c=3");
        assert_eq!((query.get("a"), query.get("limit"), query.get("c")), (None, None, Some("3")));
    }
}
