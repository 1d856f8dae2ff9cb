//! The grammar of a label selector's text, with upstream's complaints.
//!
//! Upstream: apimachinery/pkg/labels/selector.go.

use super::SelectorError;
use super::label::{Operator, Requirement};
use super::lexer::{Item, Token, tokens};
use crate::field::go_quote;
use crate::names;
use crate::value::Key;

type Result<T, E = SelectorError> = std::result::Result<T, E>;

/// The requirements of a text, in its order.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>> {
    let mut parser = Parser { items: tokens(text), at: 0 };
    let mut requirements = Vec::new();
    loop {
        match parser.peek().token {
            Token::Identifier | Token::Not => {}
            Token::End => return Ok(requirements),
            _ => return Err(parser.found("expected: !, identifier, or 'end of string'")),
        }
        let one = parser.requirement().map_err(|error| said(format!("unable to parse requirement: {error}")))?;
        requirements.push(one);
        match parser.peek().token {
            Token::End => return Ok(requirements),
            Token::Comma => parser.at += 1,
            _ => return Err(parser.found("expected: ',' or 'end of string'")),
        }
        if !matches!(parser.peek().token, Token::Identifier | Token::Not) {
            return Err(parser.found("expected: identifier after ','"));
        }
    }
}

fn said(text: String) -> SelectorError {
    SelectorError(text)
}

struct Parser {
    items: Vec<Item>,
    at: usize,
}

/// A token where keys and values stand: `in` and `notin` are words like others there.
struct Peeked<'a> {
    token: Token,
    text: &'a str,
}

impl Parser {
    fn item(&self) -> &Item {
        // The last item is the end, and nothing steps past it but into it again.
        &self.items[self.at.min(self.items.len() - 1)]
    }

    fn peek(&self) -> Peeked<'_> {
        let item = self.item();
        let token = match item.token {
            Token::In | Token::NotIn => Token::Identifier,
            other => other,
        };
        Peeked { token, text: &item.text }
    }

    fn take(&mut self) -> (Token, String) {
        let Peeked { token, text } = self.peek();
        let taken = (token, text.to_owned());
        self.at += 1;
        taken
    }

    fn found(&self, expected: &str) -> SelectorError {
        said(format!("found '{}', {expected}", self.item().text))
    }

    fn requirement(&mut self) -> Result<Requirement> {
        let not = self.peek().token == Token::Not;
        if not {
            self.at += 1;
        }
        if self.peek().token != Token::Identifier {
            return Err(self.found("expected: identifier"));
        }
        let (_, key) = self.take();
        let complaints = names::label_key(&key);
        if !complaints.is_empty() {
            return Err(said(format!("<nil>: Invalid value: {}: {}", go_quote(&key), complaints.join("; "))));
        }
        if not {
            return Requirement::new(key.into(), Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek().token, Token::End | Token::Comma) {
            return Requirement::new(key.into(), Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let mut values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.value()?],
        };
        values.sort();
        values.dedup();
        Requirement::new(key.into(), operator, values)
    }

    fn operator(&mut self) -> Result<Operator> {
        let operator = match self.item().token {
            Token::In => Operator::In,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::GreaterThan => Operator::GreaterThan,
            Token::LessThan => Operator::LessThan,
            Token::NotIn => Operator::NotIn,
            Token::NotEquals => Operator::NotEquals,
            _ => return Err(self.found("expected: in, notin, =, ==, !=, gt, lt")),
        };
        self.at += 1;
        Ok(operator)
    }

    /// `(x,y,z)`, each possibly empty.
    fn values(&mut self) -> Result<Vec<Key>> {
        if self.peek().token != Token::Open {
            return Err(said(format!("found '{}' expected: '('", self.peek().text)));
        }
        self.at += 1;
        match self.peek().token {
            Token::Identifier | Token::Comma => self.listed_values(),
            Token::Close => {
                self.at += 1;
                Ok(vec![Key::default()])
            }
            _ => Err(self.found("expected: ',', ')' or identifier")),
        }
    }

    fn listed_values(&mut self) -> Result<Vec<Key>> {
        let mut values = Vec::new();
        loop {
            match self.take() {
                (Token::Identifier, text) => {
                    values.push(text.into());
                    match self.peek().token {
                        Token::Comma => {}
                        Token::Close => break,
                        _ => return Err(self.found("expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.push(Key::default());
                    }
                    match self.peek().token {
                        Token::Close => {
                            values.push(Key::default());
                            break;
                        }
                        Token::Comma => values.push(Key::default()),
                        _ => {}
                    }
                }
                (_, text) => return Err(said(format!("found '{text}', expected: ',', or identifier"))),
            }
        }
        self.at += 1;
        Ok(values)
    }

    fn value(&mut self) -> Result<Key> {
        match self.peek().token {
            Token::End | Token::Comma => Ok(Key::default()),
            Token::Identifier => Ok(self.take().1.into()),
            _ => Err(self.found("expected: identifier")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::selector::LabelSelector;
    use rstest::rstest;

    #[rstest]
    #[case("x", "x")]
    #[case("x,!y", "x,!y")]
    #[case("x=a,y!=b,z==c", "x=a,y!=b,z==c")]
    #[case("x in (b,a,b)", "x in (a,b)")]
    #[case("x in ()", "x in ()")]
    #[case("x notin (a,,b),y", "x notin (,a,b),y")]
    #[case("y,x", "x,y")]
    #[case("in in (in,notin)", "in in (in,notin)")]
    #[case("x>1,y<2", "x>1,y<2")]
    #[case("x=", "x=")]
    #[case(" \tx\n= a ", "x=a")]
    fn read(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(LabelSelector::parse(text).unwrap().to_string(), expected);
    }

    /// Expected texts are upstream's own.
    #[rstest]
    #[case(",", "found ',', expected: !, identifier, or 'end of string'")]
    #[case("x,", "found '', expected: identifier after ','")]
    #[case("x y", "unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt")]
    #[case("x in a", "unable to parse requirement: found 'a' expected: '('")]
    #[case("x in (a", "unable to parse requirement: found '', expected: ',' or ')'")]
    #[case("x in (a=", "unable to parse requirement: found '=', expected: ',' or ')'")]
    #[case("!", "unable to parse requirement: found '', expected: identifier")]
    #[case("x=(", "unable to parse requirement: found '(', expected: identifier")]
    #[case("x=a b", "found 'b', expected: ',' or 'end of string'")]
    #[case(
        "x>a",
        "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' operators, the value must be an integer"
    )]
    #[case(
        "-x",
        "unable to parse requirement: <nil>: Invalid value: \"-x\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    )]
    #[case(
        "x=-",
        "unable to parse requirement: values[0][x]: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    )]
    fn errors(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(LabelSelector::parse(text).unwrap_err().to_string(), expected);
    }
}
