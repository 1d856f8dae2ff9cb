//! The phases, in the order in which they run: what one leaves, the next one reads.

use bytes::Bytes;

use crate::objects;

/// What one phase does over and over.
#[derive(Clone, Copy)]
pub enum Work {
    Create(Kind),
    Get(Kind),
    Update(Kind),
    MergePatch(Kind),
    Apply(Kind),
    Delete(Kind),
    List { limit: usize },
    Watch { watchers: usize },
    Flood { watchers: usize, updates: usize },
}

/// What is worked on.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    ConfigMap,
    Pod,
}

/// One row: so many clients do this.
pub struct Phase {
    pub name: &'static str,
    pub clients: usize,
    pub work: Work,
}

const fn row(name: &'static str, clients: usize, work: Work) -> Phase {
    Phase { name, clients, work }
}

/// The rows of the reference measurements.
pub const PHASES: &[Phase] = &[
    row("create-cm-1", 1, Work::Create(Kind::ConfigMap)),
    row("create-cm-16", 16, Work::Create(Kind::ConfigMap)),
    row("create-cm-64", 64, Work::Create(Kind::ConfigMap)),
    row("create-pod-1", 1, Work::Create(Kind::Pod)),
    row("create-pod-16", 16, Work::Create(Kind::Pod)),
    row("create-pod-64", 64, Work::Create(Kind::Pod)),
    row("get-cm-16", 16, Work::Get(Kind::ConfigMap)),
    row("get-pod-16", 16, Work::Get(Kind::Pod)),
    row("update-cm-16", 16, Work::Update(Kind::ConfigMap)),
    row("update-pod-16", 16, Work::Update(Kind::Pod)),
    row("merge-patch-pod-16", 16, Work::MergePatch(Kind::Pod)),
    row("apply-cm-16", 16, Work::Apply(Kind::ConfigMap)),
    row("apply-pod-16", 16, Work::Apply(Kind::Pod)),
    row("list-pods", 1, Work::List { limit: 0 }),
    row("list-pods-500", 1, Work::List { limit: 500 }),
    row("watch-1", 1, Work::Watch { watchers: 1 }),
    row("watch-100", 1, Work::Watch { watchers: 100 }),
    row("watch-1000", 1, Work::Watch { watchers: 1000 }),
    row("flood-100", 1, Work::Flood { watchers: 100, updates: 2000 }),
    row("delete-cm-16", 16, Work::Delete(Kind::ConfigMap)),
    row("delete-pod-16", 16, Work::Delete(Kind::Pod)),
];

// === impl Kind ===

impl Kind {
    pub fn plural(self) -> &'static str {
        match self {
            Kind::ConfigMap => "configmaps",
            Kind::Pod => "pods",
        }
    }

    pub fn object(self, name: &str, mark: usize) -> Bytes {
        match self {
            Kind::ConfigMap => objects::config_map(name, mark),
            Kind::Pod => objects::pod(name, mark),
        }
    }
}
