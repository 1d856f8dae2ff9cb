//! The tokens of a label selector's text.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Error,
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    GreaterThan,
    Identifier,
    In,
    LessThan,
    NotEquals,
    NotIn,
    Open,
}

/// A token and its text.
pub(super) struct Item {
    pub token: Token,
    pub text: String,
}

/// All tokens of a text, [`Token::End`] last.
pub(super) fn tokens(text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(is_space);
        let Some(first) = rest.chars().next().filter(|&first| first != '\0') else {
            items.push(Item { token: Token::End, text: String::new() });
            return items;
        };
        let (item, length) = if is_symbol(first) { symbol(rest) } else { word(rest) };
        items.push(item);
        rest = &rest[length..];
    }
}

/// The longest known symbol at the start. Upstream takes symbols as long as they grow into
/// unknown ones, and says so if it never met a known one.
fn symbol(text: &str) -> (Item, usize) {
    let mut known = None;
    let mut run = 0;
    while text.as_bytes().get(run).is_some_and(|&byte| is_symbol(byte.into())) {
        run += 1;
        match token(&text[..run]) {
            Some(token) => known = Some((token, run)),
            None if known.is_some() => break,
            None => {}
        }
    }
    match known {
        Some((token, end)) => (Item { token, text: text[..end].to_owned() }, end),
        None => {
            let text = format!("error expected: keyword found '{}'", &text[..run]);
            (Item { token: Token::Error, text }, run)
        }
    }
}

fn word(text: &str) -> (Item, usize) {
    let end = text.find(|c| is_symbol(c) || is_space(c) || c == '\0').unwrap_or(text.len());
    let word = &text[..end];
    (Item { token: token(word).unwrap_or(Token::Identifier), text: word.to_owned() }, end)
}

fn token(text: &str) -> Option<Token> {
    Some(match text {
        ")" => Token::Close,
        "," => Token::Comma,
        "!" => Token::Not,
        "==" => Token::DoubleEquals,
        "=" => Token::Equals,
        ">" => Token::GreaterThan,
        "in" => Token::In,
        "<" => Token::LessThan,
        "!=" => Token::NotEquals,
        "notin" => Token::NotIn,
        "(" => Token::Open,
        _ => return None,
    })
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing: each symbol looked for the end of all that followed, which took seconds for a long URL.
    #[test]
    fn many_symbols_take_no_quadratic_time() {
        let from = std::time::Instant::now();
        assert_eq!(tokens(&"=!".repeat(100_000)).len(), 100_002);
        assert_eq!(tokens(&"==".repeat(100_000)).len(), 100_001);
        assert!(from.elapsed().as_secs() < 30, "{:?}", from.elapsed());
    }
}
