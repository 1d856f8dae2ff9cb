//! Selectors of labels and fields: as text, and as objects.
#![no_main]

use api::codec::json;
use api::selector::{FieldSelector, LabelSelector};
use fuzz::Limit;

fuzz::target!(Limit { per_byte: 1000, besides: 1 << 20 }, |input| {
    if let Ok(value) = json::parse(input) {
        let _ = LabelSelector::from_object(&value).map(|selector| selector.matches(|_| Some("x")));
        let _ = LabelSelector::from_labels(&value).to_string();
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(selector) = LabelSelector::parse(text) {
        let again = LabelSelector::parse(&selector.to_string()).expect("what was written is read");
        assert_eq!(selector, again);
        for value in [None, Some(""), Some("x"), Some("1"), Some(text)] {
            assert_eq!(selector.matches(|_| value), again.matches(|_| value));
        }
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        let again = FieldSelector::parse(&selector.to_string()).expect("what was written is read");
        // Terms are sorted by their text, which `==` for `=` changes.
        let sorted = |selector: &FieldSelector| {
            let terms = selector.requirements().iter();
            let mut terms: Vec<_> = terms.map(|one| (one.field.clone(), one.not, one.value.clone())).collect();
            terms.sort();
            terms
        };
        assert_eq!(sorted(&selector), sorted(&again));
    }
});
