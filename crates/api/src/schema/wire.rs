//! What a struct's protobuf message holds: fields, and messages for the structs that Go inlines.

use super::Field;

/// One field of a protobuf message.
#[derive(Debug)]
pub(crate) struct Wire {
    pub number: u32,
    pub node: WireNode,
}

#[derive(Debug)]
pub(crate) enum WireNode {
    /// The struct's field at this place.
    Field(usize),
    /// An embedded struct, whose fields the outer struct has in JSON. Always written.
    Inlined(Vec<Wire>),
}

/// The message's fields by rising number, the order in which upstream writes them.
pub(super) fn tree(fields: &[Field]) -> Vec<Wire> {
    let mut tree = Vec::new();
    for (at, field) in fields.iter().enumerate().filter(|(_, field)| field.number > 0) {
        let message = field.inlined.iter().fold(&mut tree, |level, &number| message(level, number));
        message.push(Wire { number: field.number, node: WireNode::Field(at) });
    }
    sort(&mut tree);
    tree
}

/// The fields of the inlined message with that number, which is made if it is not there.
fn message(level: &mut Vec<Wire>, number: u32) -> &mut Vec<Wire> {
    let at = level.iter().position(|wire| wire.number == number).unwrap_or_else(|| {
        level.push(Wire { number, node: WireNode::Inlined(Vec::new()) });
        level.len() - 1
    });
    match &mut level[at].node {
        WireNode::Inlined(fields) => fields,
        WireNode::Field(_) => unreachable!("a field and an embedded struct never share a number"),
    }
}

fn sort(level: &mut [Wire]) {
    level.sort_by_key(|wire| wire.number);
    for wire in level {
        if let WireNode::Inlined(fields) = &mut wire.node {
            sort(fields);
        }
    }
}
