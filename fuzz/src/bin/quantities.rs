//! Quantities, times, and numbers that may be percentages.
#![no_main]

use api::int_or_string::IntOrString;
use api::quantity::Quantity;
use api::time::Time;
use api::value::Value;
use fuzz::{Limit, halves};

fuzz::target!(Limit { per_byte: 500, besides: 1 << 20 }, |input| {
    let (one, other) = halves(input).unwrap_or((input, b"1"));
    let (Ok(one), Ok(other)) = (std::str::from_utf8(one), std::str::from_utf8(other)) else { return };
    times(one);
    if let Some(number) = IntOrString::from_value(&Value::from(one)) {
        let _ = (number.int_value(), number.scaled(7, true), number.scaled(i64::MAX, false));
    }
    let Ok(a) = one.parse::<Quantity>() else { return };
    let again: Quantity = a.to_string().parse().expect("what was written is read");
    assert_eq!(again.to_string(), a.to_string());
    let _ = (a.value(), a.milli_value(), a.as_i64(), a.as_f64(), a.sign());
    let Ok(b) = other.parse::<Quantity>() else { return };
    assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
    computes(a, &b);
});

/// Nothing that is computed with quantities panics, and all of it can be written and read.
fn computes(a: Quantity, b: &Quantity) {
    let changes: [&dyn Fn(&mut Quantity); 5] =
        [&|one| one.add(b), &|one| one.sub(b), &|one| one.neg(), &|one| one.mul(i64::MIN), &|one| _ = one.round_up(0)];
    for change in changes {
        let mut result = a.clone();
        change(&mut result);
        let _: Quantity = result.to_string().parse().expect("what was computed is read");
    }
}

fn times(text: &str) {
    if let Ok(time) = Time::parse(text) {
        let seconds = Time { nanos: 0, ..time };
        assert_eq!(Time::parse(&time.to_text()), Ok(seconds));
    }
    if let Ok(time) = Time::parse_micro(text) {
        assert_eq!(Time::parse_micro(&time.to_micro_text()), Ok(time));
    }
}
