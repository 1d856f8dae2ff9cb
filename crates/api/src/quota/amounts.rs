//! Amounts by resource name.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::quantity::{Format, Quantity};
use crate::value::{Map, Value};

/// Quantities by resource name, in the names' order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<SmolStr, Quantity>);

// === impl Amounts ===

impl Amounts {
    /// Reads a `ResourceList`; what is no quantity is left out (validation keeps that out).
    pub fn read(list: &Value) -> Amounts {
        let entries = list.as_object().into_iter().flat_map(Map::iter);
        let read = entries.filter_map(|(name, value)| Some((name.as_str().into(), amount(value)?)));
        Amounts(read.collect())
    }

    /// As a `ResourceList`.
    pub fn to_value(&self) -> Value {
        let entries = self.0.iter().map(|(name, amount)| (name.as_str(), Value::from(amount.to_string())));
        Value::Object(entries.collect())
    }

    /// One of something that is counted.
    pub fn one(name: impl Into<SmolStr>) -> Amounts {
        Amounts::default().with(name, count(1))
    }

    /// The same with another amount.
    pub fn with(mut self, name: impl Into<SmolStr>, amount: Quantity) -> Amounts {
        self.set(name, amount);
        self
    }

    /// Sets an amount.
    pub fn set(&mut self, name: impl Into<SmolStr>, amount: Quantity) {
        self.0.insert(name.into(), amount);
    }

    /// One amount.
    pub fn get(&self, name: &str) -> Option<&Quantity> {
        self.0.get(name)
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &SmolStr> {
        self.0.keys()
    }

    /// All of it, in the names' order.
    pub fn iter(&self) -> impl Iterator<Item = (&SmolStr, &Quantity)> {
        self.0.iter()
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds each amount of `other`.
    pub fn add(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            match self.0.get_mut(name) {
                Some(sum) => sum.add(amount),
                None => drop(self.0.insert(name.clone(), amount.clone())),
            }
        }
    }

    /// Raises each amount to that of `other`, where that is larger.
    pub fn raise(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            if self.0.get(name).is_none_or(|known| amount > known) {
                self.0.insert(name.clone(), amount.clone());
            }
        }
    }

    /// What is more than before; nothing is less than zero.
    pub fn beyond(&self, before: &Amounts) -> Amounts {
        let more = self.0.iter().map(|(name, amount)| {
            let mut more = amount.clone();
            if let Some(before) = before.get(name) {
                more.sub(before);
            }
            (name.clone(), if more.sign() < 0 { count(0) } else { more })
        });
        Amounts(more.collect())
    }

    /// Those of these names.
    pub fn masked(&self, keep: impl Fn(&str) -> bool) -> Amounts {
        Amounts(self.0.iter().filter(|(name, _)| keep(name)).map(|(name, one)| (name.clone(), one.clone())).collect())
    }

    /// Those that are not zero.
    pub fn without_zeros(&self) -> Amounts {
        Amounts(
            self.0.iter().filter(|(_, one)| !one.is_zero()).map(|(name, one)| (name.clone(), one.clone())).collect(),
        )
    }

    /// Names of amounts below zero.
    pub fn negative(&self) -> Vec<SmolStr> {
        self.0.iter().filter(|(_, one)| one.sign() < 0).map(|(name, _)| name.clone()).collect()
    }

    /// Names of amounts above those of `most`.
    pub fn exceeding(&self, most: &Amounts) -> Vec<SmolStr> {
        let exceeds = |name: &SmolStr, one: &Quantity| most.get(name).is_some_and(|most| one > most);
        self.0.iter().filter(|(name, one)| exceeds(name, one)).map(|(name, _)| name.clone()).collect()
    }

    /// `cpu=1,memory=2Gi`.
    pub fn printed(&self) -> String {
        let parts: Vec<String> = self.0.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
        parts.join(",")
    }
}

impl FromIterator<(SmolStr, Quantity)> for Amounts {
    fn from_iter<I: IntoIterator<Item = (SmolStr, Quantity)>>(entries: I) -> Amounts {
        Amounts(entries.into_iter().collect())
    }
}

/// A quantity as JSON has it.
pub fn amount(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Int(number) => Some(count(*number)),
        Value::Float(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// A plain number.
pub fn count(number: i64) -> Quantity {
    Quantity::new(number, Format::DecimalSi)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    fn amounts(text: &str) -> Amounts {
        Amounts::read(&json::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn arithmetic() {
        let mut sum = amounts(r#"{"cpu":"500m","pods":"1"}"#);
        sum.add(&amounts(r#"{"cpu":"1","memory":"1Gi"}"#));
        assert_eq!(sum.printed(), "cpu=1500m,memory=1Gi,pods=1");
        let more = sum.beyond(&amounts(r#"{"cpu":"2","memory":"512Mi"}"#));
        assert_eq!(more.printed(), "cpu=0,memory=512Mi,pods=1");
        assert_eq!(more.without_zeros().printed(), "memory=512Mi,pods=1");
        assert_eq!(sum.masked(|name| name == "cpu").printed(), "cpu=1500m");
        assert_eq!(sum.exceeding(&amounts(r#"{"cpu":"1500m","pods":"0"}"#)), ["pods"]);
        assert_eq!(amounts(r#"{"cpu":"-1","pods":2}"#).negative(), ["cpu"]);
        sum.raise(&amounts(r#"{"cpu":"1","pods":"5","x":"1"}"#));
        assert_eq!(sum.printed(), "cpu=1500m,memory=1Gi,pods=5,x=1");
    }
}
