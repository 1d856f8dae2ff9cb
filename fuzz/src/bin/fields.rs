//! Managed fields: sets of paths as objects carry them.
#![no_main]

use api::codec::json;
use api::managed::{PathElement, fields, validate_entries};
use fuzz::{Limit, assert_same, halves};

fuzz::target!(Limit { per_byte: 1000, besides: 1 << 20 }, |input| {
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(Some(element)) = PathElement::parse(text)
    {
        let again = PathElement::parse(&element.to_key());
        assert!(matches!(&again, Ok(Some(again)) if *again == element), "{element:?} is not {again:?}");
    }
    let (one, other) = halves(input).unwrap_or((input, b"{}"));
    let (Ok(one), Ok(other)) = (json::parse(one), json::parse(other)) else { return };
    let _ = validate_entries(&one);
    let (Ok(a), Ok(b)) = (fields::read(&one), fields::read(&other)) else { return };
    let written = fields::write(&a);
    let again = fields::read(&written).expect("what was written is read");
    assert_eq!(a, again);
    assert_same(&written, &fields::write(&again));
    algebra(&a, &b);
});

/// What any two sets have to do with one another.
fn algebra(a: &api::managed::Set, b: &api::managed::Set) {
    let (both, common, only) = (a.union(b), a.intersection(b), a.difference(b));
    assert!(a.is_subset(&both) && b.is_subset(&both), "a union holds both");
    assert!(common.is_subset(a) && common.is_subset(b), "what is common is in both");
    assert!(only.is_subset(a) && only.intersection(b).is_empty(), "a difference is in one only");
    assert_eq!(only.union(&common), *a);
    assert_eq!(a.len() + b.len(), both.len() + common.len());
}
