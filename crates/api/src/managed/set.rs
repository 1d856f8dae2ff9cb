//! Sets of field paths, and their algebra.
//!
//! A set is a tree of sorted entries; an entry may be a member itself, hold members below it, or
//! both. Invariant: an entry that is no member has members below it. Upstream keeps members and
//! children in two lists (`fieldpath.Set`); what each operation means is the same.

use super::element::PathElement;
use crate::value::Key;
use std::cmp::Ordering;

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub element: PathElement,
    /// Whether the path that ends here is in the set.
    pub member: bool,
    /// The paths that go on from here.
    pub children: Set,
}

// === impl Set ===

impl Set {
    /// The empty set.
    pub const fn new() -> Set {
        Set { entries: Vec::new() }
    }

    /// The set of these paths of field names: `[&["status"], &["metadata", "labels"]]`.
    pub fn of_fields(paths: &[&[&str]]) -> Set {
        let mut set = Set::new();
        for path in paths {
            set.insert(path.iter().map(|name| PathElement::Field(Key::new(name))));
        }
        set
    }

    /// Adds a path; the empty path is no member of any set. Paths above it are not added.
    pub fn insert(&mut self, path: impl IntoIterator<Item = PathElement>) {
        let mut path = path.into_iter();
        let Some(first) = path.next() else { return };
        let mut entry = self.entry(first);
        for element in path {
            entry = entry.children.entry(element);
        }
        entry.member = true;
    }

    /// The entry of `element`, added if it is not there. Who adds one makes it a member or fills it.
    pub(super) fn entry(&mut self, element: PathElement) -> &mut Entry {
        // Sets are mostly built in order.
        let place = match self.entries.last() {
            Some(last) if last.element >= element => self.entries.binary_search_by(|entry| entry.element.cmp(&element)),
            _ => Err(self.entries.len()),
        };
        let at = place.unwrap_or_else(|at| {
            self.entries.insert(at, Entry { element, member: false, children: Set::new() });
            at
        });
        &mut self.entries[at]
    }

    pub(super) fn find(&self, element: &PathElement) -> Option<&Entry> {
        let place = self.entries.binary_search_by(|entry| entry.element.cmp(element));
        place.ok().map(|at| &self.entries[at])
    }

    /// The entry of a field.
    pub(super) fn field(&self, name: &str) -> Option<&Entry> {
        let place = self.entries.binary_search_by(|entry| match &entry.element {
            PathElement::Field(own) => own.as_str().cmp(name),
            _ => Ordering::Greater,
        });
        place.ok().map(|at| &self.entries[at])
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many paths are in the set.
    pub fn len(&self) -> usize {
        self.entries.iter().map(|entry| usize::from(entry.member) + entry.children.len()).sum()
    }

    /// Whether the path is a member.
    pub fn has(&self, path: &[PathElement]) -> bool {
        let Some((last, parents)) = path.split_last() else { return false };
        let mut set = self;
        for element in parents {
            match set.find(element) {
                Some(entry) => set = &entry.children,
                None => return false,
            }
        }
        set.find(last).is_some_and(|entry| entry.member)
    }

    /// Adds all members of `other`.
    pub fn unite(&mut self, other: &Set) {
        if self.is_empty() {
            self.entries.clone_from(&other.entries);
            return;
        }
        let mut at = 0;
        for entry in &other.entries {
            match self.seek(&mut at, &entry.element) {
                Some(own) => {
                    own.member |= entry.member;
                    own.children.unite(&entry.children);
                }
                None => self.entries.insert(at, entry.clone()),
            }
        }
    }

    /// Adds all members of `other`, without copying them.
    pub fn absorb(&mut self, other: Set) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let mut at = 0;
        for entry in other.entries {
            match self.seek(&mut at, &entry.element) {
                Some(own) => {
                    own.member |= entry.member;
                    own.children.absorb(entry.children);
                }
                None => self.entries.insert(at, entry),
            }
        }
    }

    /// Removes all members of `other`; what lies below a removed member stays.
    pub fn subtract(&mut self, other: &Set) {
        let mut at = 0;
        for entry in &other.entries {
            if let Some(own) = self.seek(&mut at, &entry.element) {
                own.member &= !entry.member;
                own.children.subtract(&entry.children);
                if !own.member && own.children.is_empty() {
                    self.entries.remove(at);
                }
            }
        }
    }

    /// Removes all members of `other` and whatever lies below them.
    pub fn subtract_trees(&mut self, other: &Set) {
        let mut at = 0;
        for entry in &other.entries {
            if let Some(own) = self.seek(&mut at, &entry.element) {
                if entry.member {
                    self.entries.remove(at);
                    continue;
                }
                own.children.subtract_trees(&entry.children);
                if !own.member && own.children.is_empty() {
                    self.entries.remove(at);
                }
            }
        }
    }

    /// Members of either.
    pub fn union(&self, other: &Set) -> Set {
        let mut set = self.clone();
        set.unite(other);
        set
    }

    /// Members that are not in `other`.
    pub fn difference(&self, other: &Set) -> Set {
        let mut set = self.clone();
        set.subtract(other);
        set
    }

    /// Members of both.
    pub fn intersection(&self, other: &Set) -> Set {
        let mut entries = Vec::new();
        let (mut left, mut right) = (self.entries.iter().peekable(), other.entries.iter().peekable());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            match a.element.cmp(&b.element) {
                Ordering::Less => drop(left.next()),
                Ordering::Greater => drop(right.next()),
                Ordering::Equal => {
                    let member = a.member && b.member;
                    let children = a.children.intersection(&b.children);
                    if member || !children.is_empty() {
                        entries.push(Entry { element: a.element.clone(), member, children });
                    }
                    left.next();
                    right.next();
                }
            }
        }
        Set { entries }
    }

    /// Whether all members are in `other`.
    pub fn is_subset(&self, other: &Set) -> bool {
        let mut theirs = other.entries.iter();
        self.entries.iter().all(|entry| {
            theirs.find(|one| one.element >= entry.element).is_some_and(|one| {
                one.element == entry.element && (one.member || !entry.member) && entry.children.is_subset(&one.children)
            })
        })
    }

    /// The members that have no members below them.
    pub fn leaves(&self) -> Set {
        let leaf = |entry: &Entry| Entry {
            element: entry.element.clone(),
            member: entry.children.is_empty(),
            children: entry.children.leaves(),
        };
        Set { entries: self.entries.iter().map(leaf).collect() }
    }

    /// The paths below `element`.
    pub fn below(&self, element: &PathElement) -> Option<&Set> {
        self.find(element).map(|entry| &entry.children).filter(|children| !children.is_empty())
    }

    /// Calls `visit` with every path, in upstream's order: the members of a level before what
    /// lies below them.
    pub fn for_each(&self, visit: &mut impl FnMut(&[PathElement])) {
        self.visit(&mut Vec::new(), visit);
    }

    fn visit(&self, path: &mut Vec<PathElement>, visit: &mut impl FnMut(&[PathElement])) {
        for entry in self.entries.iter().filter(|entry| entry.member) {
            path.push(entry.element.clone());
            visit(path);
            path.pop();
        }
        for entry in &self.entries {
            path.push(entry.element.clone());
            entry.children.visit(path, visit);
            path.pop();
        }
    }

    /// Moves `at` to the first entry that is not before `element`; gives it if it is that one.
    fn seek(&mut self, at: &mut usize, element: &PathElement) -> Option<&mut Entry> {
        while let Some(entry) = self.entries.get(*at) {
            match entry.element.cmp(element) {
                Ordering::Less => *at += 1,
                Ordering::Equal => return Some(&mut self.entries[*at]),
                Ordering::Greater => return None,
            }
        }
        None
    }
}

/// A path as messages show it: `.spec.containers[name="app"].image`.
pub fn display(path: &[PathElement]) -> String {
    path.iter().map(PathElement::to_string).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    type Path = Vec<PathElement>;

    fn element() -> impl Strategy<Value = PathElement> {
        prop_oneof![
            3 => "[a-c]".prop_map(|name| PathElement::Field(name.into())),
            1 => (0i64..2).prop_map(|n| PathElement::item(vec![("n".into(), n.into())])),
            1 => (0i64..2).prop_map(|n| PathElement::Value(Box::new(n.into()))),
        ]
    }

    fn paths() -> impl Strategy<Value = BTreeSet<Path>> {
        prop::collection::btree_set(prop::collection::vec(element(), 1..4), 0..12)
    }

    /// Arbitrary sets, small enough to meet often.
    pub(crate) fn set() -> impl Strategy<Value = Set> {
        paths().prop_map(|paths| build(&paths))
    }

    fn build(paths: &BTreeSet<Path>) -> Set {
        let mut set = Set::new();
        for path in paths {
            set.insert(path.iter().cloned());
        }
        set
    }

    fn list(set: &Set) -> BTreeSet<Path> {
        let mut paths = BTreeSet::new();
        set.for_each(&mut |path| {
            paths.insert(path.to_vec());
        });
        paths
    }

    /// The invariant, and that entries are sorted.
    fn is_sound(set: &Set) -> bool {
        set.entries.windows(2).all(|pair| pair[0].element < pair[1].element)
            && set.entries.iter().all(|e| (e.member || !e.children.is_empty()) && is_sound(&e.children))
    }

    proptest! {
        #[test]
        fn operations_are_those_of_sets_of_paths(a in paths(), b in paths()) {
            let (x, y) = (build(&a), build(&b));
            prop_assert_eq!(list(&x), a.clone());
            prop_assert_eq!(x.len(), a.len());
            for (ours, expected) in [
                (x.union(&y), a.union(&b).cloned().collect::<BTreeSet<_>>()),
                (x.intersection(&y), a.intersection(&b).cloned().collect()),
                (x.difference(&y), a.difference(&b).cloned().collect()),
            ] {
                prop_assert!(is_sound(&ours));
                prop_assert_eq!(&ours, &build(&expected));
                prop_assert_eq!(list(&ours), expected);
            }
            prop_assert_eq!(x.is_subset(&y), a.is_subset(&b));
            for path in a.iter().chain(&b) {
                prop_assert_eq!(x.has(path), a.contains(path));
            }
        }

        #[test]
        fn subtracting_trees_removes_what_lies_below(a in paths(), b in paths()) {
            let mut x = build(&a);
            x.subtract_trees(&build(&b));
            let below = |path: &Path| (1..=path.len()).any(|end| b.contains(&path[..end]));
            prop_assert!(is_sound(&x));
            prop_assert_eq!(list(&x), a.iter().filter(|path| !below(path)).cloned().collect());
        }

        #[test]
        fn leaves_have_nothing_below(a in paths()) {
            let leaf = |path: &&Path| !a.iter().any(|other| other.len() > path.len() && other.starts_with(path));
            let leaves = build(&a).leaves();
            prop_assert!(is_sound(&leaves));
            prop_assert_eq!(list(&leaves), a.iter().filter(leaf).cloned().collect());
        }

        #[test]
        fn the_laws_of_sets_hold(a in set(), b in set(), c in set()) {
            prop_assert_eq!(a.union(&b), b.union(&a));
            let mut absorbed = a.clone();
            absorbed.absorb(b.clone());
            prop_assert_eq!(absorbed, a.union(&b));
            prop_assert_eq!(a.intersection(&b), b.intersection(&a));
            prop_assert_eq!(a.union(&b).union(&c), a.union(&b.union(&c)));
            prop_assert_eq!(a.intersection(&b.union(&c)), a.intersection(&b).union(&a.intersection(&c)));
            prop_assert_eq!(a.difference(&b.union(&c)), a.difference(&b).difference(&c));
            prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
            prop_assert_eq!(a.union(&a), a.clone());
            prop_assert!(a.difference(&a).is_empty());
        }
    }
}
