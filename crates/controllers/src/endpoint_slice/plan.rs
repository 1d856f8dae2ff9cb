//! Which slices a service should have, with as few changes as possible to those that it has.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use client::{MetaExt, Object};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

use super::endpoint::{self, Identity};

/// Most endpoints in one slice; upstream's default of `--max-endpoints-per-slice`.
pub const ENDPOINTS_MAX: usize = 100;

/// A slice as it should be.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The slice that becomes this; none for a new one.
    pub stored: Option<Arc<Object<EndpointSlice>>>,
    /// The ports of all its endpoints.
    pub ports: Vec<EndpointPort>,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// What is to be done about the slices of one address type.
#[derive(Debug, Default)]
pub struct Plan {
    /// New slices.
    pub create: Vec<Draft>,
    /// Slices that change.
    pub update: Vec<Draft>,
    /// Names of slices that go.
    pub delete: Vec<String>,
}

/// Endpoints with the same ports.
#[derive(Debug, Default)]
pub struct Group {
    /// The ports.
    pub ports: Vec<EndpointPort>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// A port as it counts for grouping: name, number, protocol, application protocol.
type PortKey = (String, Option<i32>, String, String);
type Slice = Arc<Object<EndpointSlice>>;

/// The same ports in whatever order give the same key.
pub fn ports_key(ports: &[EndpointPort]) -> Vec<PortKey> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut key: Vec<PortKey> = ports
        .iter()
        .map(|port| (text(&port.name), port.port, text(&port.protocol), text(&port.app_protocol)))
        .collect();
    key.sort();
    key
}

/// Decides about the slices of one address type: `there` are those of the service, `labels` what slices are to carry.
pub fn plan(service: &Service, labels: &BTreeMap<String, String>, there: &[Slice], groups: Vec<Group>) -> Plan {
    let mut by_ports: HashMap<Vec<PortKey>, Vec<Slice>> = HashMap::new();
    let mut plan = Plan::default();
    let mut spare: Vec<Slice> = Vec::new();
    let mut sorted = there.to_vec();
    sorted.sort_by(|a, b| a.name().cmp(b.name()));
    for slice in sorted {
        if is_owned(&slice, service) {
            by_ports.entry(ports_key(slice.ports.as_deref().unwrap_or_default())).or_default().push(slice);
        } else {
            plan.delete.push(slice.name().to_owned());
        }
    }
    for group in groups {
        let slices = by_ports.remove(&ports_key(&group.ports)).unwrap_or_default();
        spare.extend(place(&mut plan, labels, slices, group));
    }
    let mut rest: Vec<Slice> = by_ports.into_values().flatten().collect();
    rest.sort_by(|a, b| a.name().cmp(b.name()));
    spare.extend(rest);
    // A service without endpoints has one empty slice, which says so.
    if plan.create.is_empty() && spare.len() + plan.delete.len() == there.len() {
        match spare.iter().position(|slice| is_placeholder(slice, labels)) {
            Some(at) if spare.len() == 1 => drop(spare.remove(at)),
            _ => plan.create.push(Draft { stored: None, ports: Vec::new(), endpoints: Vec::new() }),
        }
    }
    // A slice that would go becomes one that would be made.
    for slice in spare {
        match plan.create.pop() {
            Some(draft) => plan.update.push(Draft { stored: Some(slice), ..draft }),
            None => plan.delete.push(slice.name().to_owned()),
        }
    }
    plan
}

/// Places the endpoints of one group into its slices. Gives back slices that are no longer needed.
fn place(plan: &mut Plan, labels: &BTreeMap<String, String>, slices: Vec<Slice>, group: Group) -> Vec<Slice> {
    let order: Vec<Identity> = group.endpoints.iter().map(endpoint::identity).collect();
    let mut wanted: HashMap<Identity, Endpoint> = order.iter().cloned().zip(group.endpoints).collect();
    let (mut changed, mut unchanged, mut spare) = (Vec::new(), Vec::new(), Vec::new());
    for slice in slices {
        let mut is_changed = false;
        let mut endpoints = Vec::new();
        for there in slice.endpoints.iter().flatten() {
            match wanted.remove(&endpoint::identity(there)) {
                Some(endpoint) => {
                    is_changed |= !endpoint::is_same(&endpoint, there);
                    endpoints.push(endpoint);
                }
                None => is_changed = true,
            }
        }
        if is_changed && endpoints.is_empty() {
            spare.push(slice);
        } else if is_changed || !has_labels(&slice, labels) {
            changed.push(Draft { stored: Some(slice), ports: group.ports.clone(), endpoints });
        } else {
            unchanged.push(Draft { stored: Some(slice), ports: group.ports.clone(), endpoints });
        }
    }
    let mut left: Vec<Endpoint> = order.iter().filter_map(|identity| wanted.remove(identity)).collect();
    left.reverse();
    // Slices that change anyway are filled first, the fullest at first.
    changed.sort_by_key(|draft| std::cmp::Reverse(draft.endpoints.len()));
    for draft in &mut changed {
        fill(draft, &mut left);
    }
    while !left.is_empty() {
        // One more slice changes only if all that is left fits into it.
        let room = |draft: &Draft| (ENDPOINTS_MAX - draft.endpoints.len().min(ENDPOINTS_MAX)).checked_sub(left.len());
        let best = (0..unchanged.len()).filter_map(|at| Some((room(&unchanged[at])?, at))).min();
        match best {
            Some((_, at)) => {
                let mut draft = unchanged.remove(at);
                fill(&mut draft, &mut left);
                changed.push(draft);
            }
            None => {
                let mut draft = Draft { stored: None, ports: group.ports.clone(), endpoints: Vec::new() };
                fill(&mut draft, &mut left);
                plan.create.push(draft);
            }
        }
    }
    plan.update.extend(changed);
    spare
}

fn fill(draft: &mut Draft, left: &mut Vec<Endpoint>) {
    while draft.endpoints.len() < ENDPOINTS_MAX
        && let Some(endpoint) = left.pop()
    {
        draft.endpoints.push(endpoint);
    }
}

/// Whether the slice belongs to this very service, not to one before it of the same name.
fn is_owned(slice: &EndpointSlice, service: &Service) -> bool {
    let mut owners = slice.metadata.owner_references.iter().flatten();
    owners.any(|owner| owner.uid == service.uid() && owner.kind == "Service" && owner.api_version == "v1")
}

fn has_labels(slice: &EndpointSlice, labels: &BTreeMap<String, String>) -> bool {
    slice.metadata.labels.as_ref() == Some(labels)
}

fn is_placeholder(slice: &EndpointSlice, labels: &BTreeMap<String, String>) -> bool {
    slice.endpoints.as_ref().is_none_or(Vec::is_empty)
        && slice.ports.as_ref().is_none_or(Vec::is_empty)
        && has_labels(slice, labels)
}
