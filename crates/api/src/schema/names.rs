//! Where a field stands, by its name: every decoded field that is out of order asks for it.

use super::Field;
use crate::value;

/// A table of places, found by a hash of the name; at least half of it is empty.
#[derive(Debug, Default)]
pub(super) struct Names {
    slots: Box<[u16]>,
}

const EMPTY: u16 = u16::MAX;

// === impl Names ===

impl Names {
    pub fn new(fields: &[Field]) -> Names {
        let mut slots = vec![EMPTY; (2 * fields.len()).next_power_of_two()].into_boxed_slice();
        for (place, field) in fields.iter().enumerate() {
            let mut at = hash(&field.name) & (slots.len() - 1);
            while slots[at] != EMPTY {
                at = (at + 1) & (slots.len() - 1);
            }
            slots[at] = place as u16;
        }
        Names { slots }
    }

    pub fn find(&self, fields: &[Field], name: &str) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash(name) & mask;
        loop {
            let place = usize::from(self.slots[at]);
            // An empty slot is no place: there are fewer fields.
            if value::is_same(&fields.get(place)?.name, name) {
                return Some(place);
            }
            at = (at + 1) & mask;
        }
    }
}

/// Names differ in length, beginning or end; those that agree in all three share a slot.
fn hash(name: &str) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let bytes = name.as_bytes();
    let (head, tail) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
        _ => (bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 0),
    };
    let mixed = (head ^ tail.rotate_left(23) ^ bytes.len() as u64).wrapping_mul(ODD);
    (mixed >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{self, Shape};

    #[test]
    fn every_field_of_every_type_is_found_and_nothing_else() {
        for (_, one) in schema::builtin().iter() {
            for (place, field) in one.fields().iter().enumerate() {
                assert_eq!(one.position(&field.name), Some(place), "{} {}", one.name, field.name);
            }
            for other in ["", "x", "no such field", "metadatA"] {
                assert_eq!(one.position(other), None);
            }
        }
    }

    #[test]
    fn names_that_share_a_slot_are_told_apart() {
        let name = |middle: &str| format!("beginning{middle}theending");
        let fields: Vec<Field> = ["a", "b", "c"].map(|middle| Field::new(name(middle), Shape::Bool)).into();
        assert_eq!(hash(&name("a")), hash(&name("b")));
        let names = Names::new(&fields);
        let found = ["a", "b", "c", "d"].map(|middle| names.find(&fields, &name(middle)));
        assert_eq!(found, [Some(0), Some(1), Some(2), None]);
        assert_eq!(Names::default().find(&[], "a"), None);
        assert_eq!(Names::new(&[]).find(&[], "a"), None);
    }
}
