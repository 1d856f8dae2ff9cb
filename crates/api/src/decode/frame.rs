//! Where the decoder is, kept on the stack; paths are only spelled out for errors.

use std::fmt::Write;

use crate::schema::{Field, Struct};

/// One step on the way from the root.
pub(super) struct Frame<'a> {
    pub parent: Option<&'a Frame<'a>>,
    pub step: Step<'a>,
}

pub(super) enum Step<'a> {
    Root,
    Field(&'a Struct, &'a Field),
    Key(&'a str),
    Index(usize),
}

impl<'a> Frame<'a> {
    pub const ROOT: Frame<'static> = Frame { parent: None, step: Step::Root };

    pub fn then<'b>(&'b self, step: Step<'b>) -> Frame<'b> {
        Frame { parent: Some(self), step }
    }

    fn steps(&'a self) -> Vec<&'a Step<'a>> {
        let mut steps: Vec<&Step<'_>> =
            std::iter::successors(Some(self), |frame| frame.parent).map(|one| &one.step).collect();
        steps.reverse();
        steps
    }

    /// The path of a field here, as strict errors name it: `spec.containers[0].foo`.
    #[cold]
    pub fn path_of(&self, field: &str) -> String {
        let mut path = String::new();
        for step in self.steps() {
            match step {
                Step::Root => {}
                Step::Index(index) => write!(path, "[{index}]").unwrap_or_default(),
                Step::Field(_, Field { name, .. }) => push_name(&mut path, name),
                // Keys may be empty; they never come first.
                Step::Key(name) => write!(path, ".{name}").unwrap_or_default(),
            }
        }
        push_name(&mut path, field);
        path
    }

    /// Go's complaint about a value of a wrong type.
    #[cold]
    pub fn mismatch(&self, found: &str, go_type: &str) -> String {
        let (mut owner, mut path) = ("", String::new());
        for step in self.steps() {
            if let Step::Field(of, field) = step {
                owner = of.go_name();
                if !field.embedded.is_empty() {
                    push_name(&mut path, &field.embedded);
                }
                push_name(&mut path, &field.name);
            }
        }
        match owner {
            "" => format!("json: cannot unmarshal {found} into Go value of type {go_type}"),
            _ => format!("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {go_type}"),
        }
    }
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}
