//! Values as Go's `fmt` prints them: upstream's messages show trees with `%v`, `%#v` and `%T`.

use crate::value::{Key, Value};
use std::fmt::{self, Display};

/// `%v`: `map[a:1 b:[x y]]`.
pub(crate) struct Plain<'a>(pub &'a Value);

/// `%#v`: `map[string]interface {}{"a":1}`.
pub(crate) struct Syntax<'a>(pub &'a Value);

/// `%T` of a value: `map[string]interface {}`.
pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) | Value::Json(_) => "map[string]interface {}",
    }
}

/// A string as `%q` prints it.
pub(crate) use crate::field::go_quote as quoted;

fn float(number: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // %v of a float is %g with the shortest digits: an exponent below 1e-4 and from 1e21 on.
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        return write!(f, "{digits}e{sign}{exponent:0>2}");
    }
    write!(f, "{number}")
}

fn sorted(fields: &crate::value::Map) -> Vec<(&Key, &Value)> {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_unstable_by_key(|(key, _)| *key);
    fields
}

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("<nil>"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => float(*value, f),
            Value::String(value) => f.write_str(value),
            Value::Array(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if at > 0 { " " } else { "" }, Plain(item))?;
                }
                f.write_str("]")
            }
            Value::Object(fields) => {
                f.write_str("map[")?;
                for (at, (key, value)) in sorted(fields).into_iter().enumerate() {
                    write!(f, "{}{key}:{}", if at > 0 { " " } else { "" }, Plain(value))?;
                }
                f.write_str("]")
            }
            Value::Json(_) => Plain(&self.0.opened()).fmt(f),
        }
    }
}

impl Display for Syntax<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("interface {}(nil)"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => float(*value, f),
            Value::String(value) => f.write_str(&quoted(value)),
            Value::Array(items) => {
                f.write_str("[]interface {}{")?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if at > 0 { ", " } else { "" }, Syntax(item))?;
                }
                f.write_str("}")
            }
            Value::Object(fields) => {
                f.write_str("map[string]interface {}{")?;
                for (at, (key, value)) in sorted(fields).into_iter().enumerate() {
                    write!(f, "{}{}:{}", if at > 0 { ", " } else { "" }, quoted(key), Syntax(value))?;
                }
                f.write_str("}")
            }
            Value::Json(_) => Syntax(&self.0.opened()).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::json;

    #[test]
    fn prints_as_go_does() {
        let tree = json(r#"{"b":[1,"x",null,true],"a":{"c":1.5}}"#);
        assert_eq!(Plain(&tree).to_string(), "map[a:map[c:1.5] b:[1 x <nil> true]]");
        let syntax = r#"map[string]interface {}{"a":map[string]interface {}{"c":1.5}, "b":[]interface {}{1, "x", interface {}(nil), true}}"#;
        assert_eq!(Syntax(&tree).to_string(), syntax);
        assert_eq!(Plain(&Value::Float(1e-5)).to_string(), "1e-05");
        assert_eq!(Plain(&Value::Float(1e21)).to_string(), "1e+21");
    }
}
