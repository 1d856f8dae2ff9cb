//! Sets of completion indexes, kept as intervals and written as `1,3-5,7`.

use std::collections::BTreeSet;
use std::fmt;

/// Ascending intervals, first and last index, that neither touch nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(Vec<(i32, i32)>);

// === impl Indexes ===

impl Indexes {
    /// Reads the text form; what is not below `completions`, and what can't be read, is left out.
    pub fn parse(text: &str, completions: i32) -> Indexes {
        let mut indexes = Indexes::default();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) else { continue };
            if first < completions {
                indexes.push((first, last.min(completions - 1)));
            }
        }
        indexes
    }

    /// How many indexes there are.
    pub fn total(&self) -> i32 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an index is in.
    pub fn has(&self, index: i32) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < index);
        self.0.get(at).is_some_and(|(first, _)| *first <= index)
    }

    /// These and more.
    pub fn with(&self, more: &BTreeSet<i32>) -> Indexes {
        self.union(&Indexes(more.iter().map(|index| (*index, *index)).collect()))
    }

    /// These and those.
    pub fn union(&self, other: &Indexes) -> Indexes {
        let mut all: Vec<(i32, i32)> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        let mut union = Indexes::default();
        all.into_iter().for_each(|interval| union.push(interval));
        union
    }

    /// How many of `other` are in.
    pub fn overlap(&self, other: &Indexes) -> i32 {
        let of = |(first, last): &(i32, i32)| {
            let mine = self.0.iter().map(|(one, two)| (last.min(two) - first.max(one) + 1).max(0));
            mine.sum::<i32>()
        };
        other.0.iter().map(of).sum()
    }

    /// The first `count` indexes below `completions` that are not in.
    pub fn missing(&self, count: usize, completions: i32) -> Vec<i32> {
        let mut missing = Vec::new();
        let mut next = 0;
        for (first, last) in self.0.iter().copied().chain([(completions, completions)]) {
            let room = count - missing.len();
            missing.extend((next..first.min(completions)).take(room));
            next = last + 1;
        }
        missing
    }

    fn push(&mut self, (first, last): (i32, i32)) {
        match self.0.last_mut() {
            Some(end) if first <= end.1 + 1 => end.1 = end.1.max(last),
            _ => self.0.push((first, last)),
        }
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("", 10, "")]
    #[case("0,2,3,4", 10, "0,2-4")]
    #[case("0,1", 10, "0,1")]
    #[case("1-3,x,5-20", 8, "1-3,5-7")]
    #[case("9", 8, "")]
    fn reads_and_writes(#[case] text: &str, #[case] completions: i32, #[case] expected: &str) {
        assert_eq!(Indexes::parse(text, completions).to_string(), expected);
    }

    proptest! {
        /// Intervals say the same as a set of numbers.
        #[test]
        fn like_a_set(a in proptest::collection::btree_set(0i32..40, 0..20), b in proptest::collection::btree_set(0i32..40, 0..20)) {
            let (one, two) = (Indexes::default().with(&a), Indexes::default().with(&b));
            let union: BTreeSet<i32> = a.union(&b).copied().collect();
            prop_assert_eq!(&one.union(&two), &Indexes::default().with(&union));
            prop_assert_eq!(one.overlap(&two) as usize, a.intersection(&b).count());
            prop_assert_eq!(one.total() as usize, a.len());
            prop_assert_eq!(&Indexes::parse(&one.to_string(), 40), &one);
            let missing: Vec<i32> = (0..40).filter(|index| !a.contains(index)).take(5).collect();
            prop_assert_eq!(one.missing(5, 40), missing);
            prop_assert!((0..40).all(|index| one.has(index) == a.contains(&index)));
        }
    }
}
