//! Go's way with text in messages.

pub use api::field::go_quote as quoted;

/// `%q` of a list of strings: `["a" "b"]`.
pub fn quoted_list<S: AsRef<str>>(items: &[S]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(" "))
}

/// Several errors as one, as apimachinery's `Aggregate`: repeated ones once, brackets around more than one.
pub fn aggregate(errors: &[String]) -> String {
    let mut distinct: Vec<&str> = Vec::new();
    for error in errors {
        if !distinct.contains(&error.as_str()) {
            distinct.push(error);
        }
    }
    match distinct.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// Keeps messages from looking like HTML.
pub fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_lists_as_go() {
        assert_eq!(quoted_list(&["a", "b"]), r#"["a" "b"]"#);
    }

    #[test]
    fn aggregates_as_apimachinery() {
        let errors = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        assert_eq!(aggregate(&errors(&["a", "a"])), "a");
        assert_eq!(aggregate(&errors(&["a", "b", "a"])), "[a, b]");
    }
}
