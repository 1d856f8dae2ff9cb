//! A request's parameters.

use std::str::FromStr;

/// Names and values in order, decoded.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what follows the question mark.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Query(pairs.collect())
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a name.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// Present and neither `false` nor `0`.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
    }

    /// A value that is more than text; absent and empty are none.
    ///
    /// # Errors
    /// The text is no such value.
    pub fn read<T: FromStr>(&self, name: &str) -> Result<Option<T>, T::Err> {
        self.get(name).filter(|value| !value.is_empty()).map(str::parse).transpose()
    }
}

/// `%41` to `A` and `+` to a space; broken escapes stay as they are.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let query = Query::parse("command=sh&command=-c&command=echo+%22a%3Db%22&n=7&t&f=0&bad=%zz");
        assert_eq!(query.all("command"), ["sh", "-c", "echo \"a=b\""]);
        assert_eq!(query.read::<u64>("n"), Ok(Some(7)));
        assert!(query.read::<u64>("bad").is_err() && query.read::<u64>("none") == Ok(None));
        assert!(query.flag("t") && !query.flag("f") && !query.flag("none"));
        assert_eq!(query.get("bad"), Some("%zz"));
    }
}
