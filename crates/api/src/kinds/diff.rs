//! A difference of two trees for people, line by line.

use crate::codec::json;
use crate::value::Value;

/// Lines that went (`-`) and came (`+`) with the lines that didn't change between them.
/// Upstream prints its internal Go types here, which no client can rely on.
pub fn diff(old: &Value, new: &Value) -> String {
    let (old, new) = (pretty(old), pretty(new));
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let end = old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    for (sign, lines) in [('-', &old[start..old.len() - end]), ('+', &new[start..new.len() - end])] {
        for line in lines {
            text.push(sign);
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn pretty(value: &Value) -> String {
    let mut bytes = Vec::new();
    json::write_pretty(value, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
