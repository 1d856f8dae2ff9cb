//! Where nodes are, by label key: a column of numbers instead of texts, so that counting over thousands of nodes is
//! adding up numbers.

use super::node_info::NodeId;
use crate::model::node::Node;
use std::collections::HashMap;

/// Columns by label key.
#[derive(Default)]
pub struct Places {
    columns: HashMap<String, Column>,
}

/// One label's values over all nodes.
#[derive(Default)]
pub struct Column {
    /// The place of each node; [`NOWHERE`] without the label.
    of_node: Vec<u32>,
    /// Values get numbers when they are first seen, and keep them.
    numbers: HashMap<String, u32>,
}

/// Marks a node without the label.
const NOWHERE: u32 = u32::MAX;

/// Amounts by place, for several label keys.
#[derive(Default)]
pub struct Amounts<'a>(Vec<(&'a str, &'a Column, Vec<i64>)>);

// === impl Places ===

impl Places {
    /// Begins to keep a column, if it is not kept yet.
    pub fn register<'a>(&mut self, key: &str, nodes: impl Iterator<Item = (NodeId, Option<&'a Node>)>) {
        if !self.columns.contains_key(key) {
            let mut column = Column::default();
            nodes.for_each(|(id, node)| column.set(id, node.and_then(|node| node.labels.get(key))));
            self.columns.insert(key.to_string(), column);
        }
    }

    /// A node came, changed or went.
    pub fn set_node(&mut self, id: NodeId, node: Option<&Node>) {
        for (key, column) in &mut self.columns {
            column.set(id, node.and_then(|node| node.labels.get(key)));
        }
    }

    /// A label's column, if it is kept.
    pub fn column(&self, key: &str) -> Option<(&str, &Column)> {
        self.columns.get_key_value(key).map(|(key, column)| (key.as_str(), column))
    }

    /// Values by key and node, for comparing states.
    #[cfg(test)]
    pub fn snapshot(&self) -> std::collections::BTreeMap<String, Vec<Option<String>>> {
        let name = |column: &Column, place: u32| {
            column.numbers.iter().find(|(_, number)| **number == place).map(|(name, _)| name.clone())
        };
        let names = |column: &Column| column.of_node.iter().map(|place| name(column, *place)).collect();
        self.columns.iter().map(|(key, column)| (key.clone(), names(column))).collect()
    }
}

// === impl Column ===

impl Column {
    /// A node's place.
    pub fn place(&self, node: NodeId) -> Option<usize> {
        self.of_node.get(node.0).filter(|place| **place != NOWHERE).map(|place| *place as usize)
    }

    /// One more than the largest number of a place.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether no node has the label.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    fn set(&mut self, id: NodeId, value: Option<&String>) {
        if self.of_node.len() <= id.0 {
            self.of_node.resize(id.0 + 1, NOWHERE);
        }
        let next = self.numbers.len() as u32;
        self.of_node[id.0] = match value {
            Some(value) => *self.numbers.entry(value.clone()).or_insert(next),
            None => NOWHERE,
        };
    }
}

// === impl Amounts ===

impl<'a> Amounts<'a> {
    /// Adds amounts of nodes to the places where they are. A key without a column has no places.
    pub fn add(&mut self, places: &'a Places, key: &str, nodes: impl Iterator<Item = (NodeId, i64)>) {
        let Some((key, column)) = places.column(key) else { return };
        let at = self.0.iter().position(|(known, ..)| *known == key).unwrap_or_else(|| {
            self.0.push((key, column, vec![0; column.len()]));
            self.0.len() - 1
        });
        let (_, column, amounts) = &mut self.0[at];
        for (node, amount) in nodes {
            if let Some(place) = column.place(node) {
                amounts[place] += amount;
            }
        }
    }

    /// The amount in a node's place.
    pub fn at(&self, key: &str, node: NodeId) -> i64 {
        let found = self.0.iter().find(|(known, ..)| *known == key);
        found.and_then(|(_, column, amounts)| Some(amounts[column.place(node)?])).unwrap_or_default()
    }

    /// The amounts in a node's places, by key.
    pub fn here(&self, node: NodeId) -> impl Iterator<Item = (&'a str, i64)> {
        self.0.iter().filter_map(move |(key, column, amounts)| Some((*key, amounts[column.place(node)?])))
    }

    /// All amounts together.
    pub fn total(&self) -> i64 {
        self.0.iter().flat_map(|(_, _, amounts)| amounts).sum()
    }

    /// Whether there is no amount anywhere.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|(_, _, amounts)| amounts.iter().all(|amount| *amount == 0))
    }
}
