//! `$(NAME)` in commands, arguments and variables: known names are replaced, others stay, `$$` is one `$`.

/// Replaces each reference by what `lookup` gives; one it does not know stays as it is written.
pub fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let tail = &rest[at + 1..];
        if tail.is_empty() {
            break;
        }
        out.push_str(&rest[..at]);
        if let Some(escaped) = tail.strip_prefix('$') {
            out.push('$');
            rest = escaped;
        } else if let Some((name, after)) = tail.strip_prefix('(').and_then(|open| open.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
            rest = tail;
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("$(A)", "a")]
    #[case("x$(A)y$(B)", "xay")]
    #[case("$(C)", "$(C)")]
    #[case("$$(A)", "$(A)")]
    #[case("$$$(A)", "$a")]
    #[case("$(A", "$(A")]
    #[case("$A ${A} $", "$A ${A} $")]
    #[case("$($(A))", "$($(A))")]
    #[case("€$(A)€", "€a€")]
    fn references(#[case] text: &str, #[case] expected: &str) {
        let lookup = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "B" => Some(String::new()),
            _ => None,
        };
        assert_eq!(expand(text, &lookup), expected);
    }
}
