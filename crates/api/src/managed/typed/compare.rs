//! The difference of two trees as three sets of fields.

use super::validate::check_scalar;
use super::{Atom, Dotted, Fields, List, Problems, Type};
use crate::managed::{Filter, PathElement, Set, element, set::Entry, zip};
use crate::value::{Map, Value};

/// What distinguishes a new tree from an old one. No path is in two of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Only the new tree has them.
    pub added: Set,
    /// Both have them, with other values.
    pub modified: Set,
    /// Only the old tree has them.
    pub removed: Set,
}

/// What distinguishes the values at one place: whether the place itself counts, and what is below.
#[derive(Default)]
struct Here {
    own: Option<Change>,
    below: Difference,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Added,
    Modified,
    Removed,
}

/// Compares two trees of one type. Parts that are equal are skipped without a closer look.
///
/// # Errors
/// Values that fit the type on neither side, items of changed lists that can't be told apart.
pub fn compare(of: Type<'_>, old: &Value, new: &Value) -> Result<Difference, Problems> {
    Ok(here(of, Some(old), Some(new))?.below)
}

// === impl Difference ===

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// The part of the difference that counts.
    pub fn filtered(mut self, filter: &Filter) -> Difference {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            filter.apply(set);
        }
        self
    }

    /// What the new tree gained (its added and modified fields), and what it lost.
    pub fn split(self) -> (Set, Set) {
        let mut gained = self.modified;
        gained.absorb(self.added);
        (gained, self.removed)
    }

    fn of(&mut self, change: Change) -> &mut Set {
        match change {
            Change::Added => &mut self.added,
            Change::Modified => &mut self.modified,
            Change::Removed => &mut self.removed,
        }
    }

    fn mark(&mut self, element: PathElement, change: Change) {
        self.of(change).entry(element).member = true;
    }

    /// Hangs what was found at `element` below it.
    fn take(&mut self, element: impl FnOnce() -> PathElement, here: Here) {
        if here.own.is_none() && here.below.is_empty() {
            return;
        }
        let element = element();
        let Here { own, below } = here;
        let Difference { added, modified, removed } = below;
        for (change, children) in [(Change::Added, added), (Change::Modified, modified), (Change::Removed, removed)] {
            let member = own == Some(change);
            if member || !children.is_empty() {
                let entry: &mut Entry = self.of(change).entry(element.clone());
                entry.member |= member;
                match entry.children.is_empty() {
                    true => entry.children = children,
                    false => entry.children.unite(&children),
                }
            }
        }
    }
}

/// Compares what may be there on one side only.
fn here(of: Type<'_>, old: Option<&Value>, new: Option<&Value>) -> Result<Here, Problems> {
    if let (None, Some(new)) = (old, new) {
        let mut here = Here { own: Some(Change::Added), below: Difference::default() };
        here.below.added = added(of, new)?;
        return Ok(here);
    }
    let mut here = Here::default();
    let mut leaf = false;
    let (left, right) = (of.atom(old), of.atom(new));
    match (old, new) {
        (_, None) => handle(left, old, new, &mut here, &mut leaf)?,
        (Some(_), Some(_)) if !alike(left, right) => {
            handle(left, old, new, &mut here, &mut false)?;
            handle(right, old, new, &mut here, &mut leaf)?;
        }
        _ => handle(right, old, new, &mut here, &mut leaf)?,
    }
    if !leaf {
        here.own = match (old, new) {
            (None, _) => Some(Change::Added),
            (_, None) => Some(Change::Removed),
            _ => here.own,
        };
    }
    Ok(here)
}

/// What is below a value that only the new tree has: all of it, and whatever lies on the way.
fn added(of: Type<'_>, value: &Value) -> Result<Set, Problems> {
    let mut problems = Vec::new();
    let mut set = Set::new();
    let mut take = |element: PathElement, below: Result<Set, Problems>, set: &mut Set| match below {
        Ok(children) => set.entries.push(Entry { element, member: true, children }),
        Err(found) => problems.extend(found.under(&element).0),
    };
    match (of.atom(Some(value)), value) {
        (Atom::List(list), Value::Array(items)) if !list.is_atomic() => {
            if !(items.len() <= List::PAIRWISE_MAX && list.all_tell(items)) {
                let mut out = Difference::default();
                return compare_items(list, &[], items, &mut out).map(|()| out.added);
            }
            set.entries.reserve_exact(items.len());
            for (at, item) in items.iter().enumerate() {
                let element = list.element(item).unwrap_or(PathElement::Index(at as i64));
                take(element, added(list.item, item), &mut set);
            }
        }
        (Atom::Map(fields), Value::Object(map)) if !fields.atomic => {
            let mut walk = fields.walk();
            set.entries.reserve_exact(map.len());
            for (key, value) in map.iter() {
                let below = match walk.field(key) {
                    Some(of) => added(of, value),
                    None => Err(Problems::one("schema error: invalid atom: inlined")),
                };
                take(PathElement::Field(key.clone()), below, &mut set);
            }
        }
        _ => {}
    }
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    set.entries.sort_unstable_by(|a, b| a.element.cmp(&b.element));
    Ok(set)
}

/// Whether two atoms of one type are of the same kind; they differ only where it holds anything.
fn alike(left: Atom<'_>, right: Atom<'_>) -> bool {
    matches!(
        (left, right),
        (Atom::Scalar(_), Atom::Scalar(_)) | (Atom::List(_), Atom::List(_)) | (Atom::Map(_), Atom::Map(_))
    )
}

fn handle(
    atom: Atom<'_>,
    old: Option<&Value>,
    new: Option<&Value>,
    here: &mut Here,
    leaf: &mut bool,
) -> Result<(), Problems> {
    match atom {
        Atom::Scalar(scalar) => {
            let check = |value: Option<&Value>, side| value.map_or(Ok(()), |value| check_scalar(scalar, value, side));
            if let (Err(mut left), Err(right)) = (check(old, "lhs: "), check(new, "rhs: ")) {
                left.0.extend(right.0);
                return Err(left);
            }
            *leaf = true;
        }
        Atom::List(list) => {
            let (left, right) = (items_of(old), items_of(new));
            *leaf = list.is_atomic() || (left.is_empty() && right.is_empty());
            if !*leaf {
                return compare_items(list, left, right, &mut here.below);
            }
        }
        Atom::Map(fields) => {
            let (left, right) = (fields_of(old), fields_of(new));
            *leaf = fields.atomic || (left.is_none() && right.is_none());
            if !*leaf {
                return compare_fields(fields, left, right, &mut here.below);
            }
        }
    }
    here.own = match (old, new) {
        (None, _) => Some(Change::Added),
        (_, None) => Some(Change::Removed),
        (Some(old), Some(new)) => (!element::equal(old, new)).then_some(Change::Modified),
    };
    Ok(())
}

fn items_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).unwrap_or_default()
}

/// The fields of a map that has any.
fn fields_of(value: Option<&Value>) -> Option<&Map> {
    value.and_then(Value::as_object).filter(|map| !map.is_empty())
}

fn compare_fields(
    fields: Fields<'_>,
    old: Option<&Map>,
    new: Option<&Map>,
    out: &mut Difference,
) -> Result<(), Problems> {
    static NOTHING: std::sync::LazyLock<Map> = std::sync::LazyLock::new(Map::new);
    let mut problems = Vec::new();
    let mut walk = fields.walk();
    for (key, old, new) in zip(old.unwrap_or(&NOTHING), new.unwrap_or(&NOTHING)) {
        if let (Some(Value::String(old)), Some(Value::String(new))) = (old, new)
            && old == new
        {
            continue;
        }
        let found = match walk.field(key) {
            Some(of) => here(of, old, new),
            None => Err(Problems::one("schema error: invalid atom: inlined")),
        };
        match found {
            Ok(found) => out.take(|| PathElement::Field(key.clone()), found),
            Err(found) => problems.extend(found.under(&Dotted(key)).0),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

fn compare_items(list: List<'_>, old: &[Value], new: &[Value], out: &mut Difference) -> Result<(), Problems> {
    if old == new {
        return Ok(());
    }
    if list.in_step(old, new) {
        let mut problems = Vec::new();
        for (at, (old, new)) in old.iter().zip(new).enumerate() {
            let element = || list.element(new).unwrap_or(PathElement::Index(at as i64));
            match here(list.item, Some(old), Some(new)) {
                Ok(found) => out.take(element, found),
                Err(found) => problems.extend(found.under(&element()).0),
            }
        }
        return if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) };
    }
    let mut problems = Vec::new();
    let (old, new) = (by_element(list, old, &mut problems), by_element(list, new, &mut problems));
    let (mut left, mut right) = (old.as_slice(), new.as_slice());
    while let Some(first) =
        left.first().map(|(element, _)| element).into_iter().chain(right.first().map(|(e, _)| e)).min()
    {
        let first = first.clone();
        let (old, rest) = split(left, &first);
        left = rest;
        let (new, rest) = split(right, &first);
        right = rest;
        if let Err(found) = compare_group(list, &first, old, new, out) {
            problems.extend(found.under(&first).0);
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

type Keyed<'v> = (PathElement, &'v Value);

/// The items with what they are told apart by, sorted by it; duplicates stay in their order.
fn by_element<'v>(list: List<'_>, items: &'v [Value], problems: &mut Vec<super::Problem>) -> Vec<Keyed<'v>> {
    let mut keyed = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        match list.element(item) {
            Ok(element) => keyed.push((element, item)),
            Err(why) => problems.extend(Problems::one(format!("element {at}: {why}")).0),
        }
    }
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    keyed
}

/// The items of one key at the start, and the rest.
fn split<'s, 'v>(items: &'s [Keyed<'v>], element: &PathElement) -> (&'s [Keyed<'v>], &'s [Keyed<'v>]) {
    items.split_at(items.iter().take_while(|(own, _)| own == element).count())
}

/// Compares the items of one key. Duplicates are one value, and so is becoming or ceasing to be one.
fn compare_group(
    list: List<'_>,
    element: &PathElement,
    old: &[Keyed<'_>],
    new: &[Keyed<'_>],
    out: &mut Difference,
) -> Result<(), Problems> {
    let mut one = |old: Option<&Value>, new: Option<&Value>| -> Result<(), Problems> {
        let found = here(list.item, old, new)?;
        out.take(|| element.clone(), found);
        Ok(())
    };
    match (old, new) {
        ([], []) => {}
        ([_, _, ..], [_, _, ..]) => {
            let same = old.len() == new.len() && old.iter().zip(new).all(|((_, a), (_, b))| element::equal(a, b));
            if !same {
                out.mark(element.clone(), Change::Modified);
            }
        }
        ([_, _, ..], new) => {
            if let [(_, new)] = new {
                one(None, Some(new))?;
            }
            out.mark(element.clone(), Change::Removed);
        }
        (old, [_, _, ..]) => {
            if let [(_, old)] = old {
                one(Some(old), None)?;
            }
            out.mark(element.clone(), Change::Added);
        }
        (old, new) => one(old.first().map(|(_, value)| *value), new.first().map(|(_, value)| *value))?,
    }
    Ok(())
}
