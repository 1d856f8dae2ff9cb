//! On which nodes to make daemon pods, and which to delete.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use client::{MetaExt, Object};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Toleration};

use crate::common::pods;
use crate::common::revisions::REVISION_HASH;
use client::placement::{is_wanted, untolerated};

/// The label of old API versions that numbers a template.
pub const TEMPLATE_GENERATION: &str = "pod-template-generation";

/// What the decision depends on.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The template's spec, with the tolerations that all daemon pods get.
    pub spec: PodSpec,
    /// The same tolerations.
    pub tolerations: Vec<Toleration>,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: i32,
    /// How pods of an old template are replaced.
    pub strategy: Strategy,
    /// The hash of the current template.
    pub hash: String,
    /// The generation label that also marks pods as current.
    pub generation: Option<String>,
    /// All nodes.
    pub nodes: Vec<Arc<Object<Node>>>,
    /// The set's pods.
    pub pods: Vec<Arc<Object<Pod>>>,
    /// Nodes on which a failed pod must stay for so long.
    pub backoff: HashMap<String, Duration>,
}

/// How pods of an old template are replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// When somebody deletes them.
    #[default]
    OnDelete,
    /// A few at a time.
    Rolling {
        /// Nodes that may have a second pod.
        max_surge: usize,
        /// Nodes whose pod may be missing.
        max_unavailable: usize,
    },
}

/// What should happen next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Nodes that get a pod.
    pub create_on: Vec<String>,
    /// Names of the pods to be deleted.
    pub delete: Vec<String>,
    /// Pods among them that failed, with their nodes.
    pub failed: Vec<(String, String)>,
    /// Pods among them that ended, with their nodes.
    pub succeeded: Vec<(String, String)>,
    /// Look again after this time.
    pub again_in: Option<Duration>,
}

/// Numbers of the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the API's fields")]
pub struct Counts {
    pub desired: i64,
    pub current: i64,
    pub misscheduled: i64,
    pub ready: i64,
    pub updated: i64,
    pub available: i64,
}

/// What a node is to the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// A pod belongs there.
    pub should_run: bool,
    /// A pod that is there may stay.
    pub may_stay: bool,
}

/// Pods by the node they are on or meant for, oldest first.
type ByNode<'a> = BTreeMap<&'a str, Vec<&'a Pod>>;

/// Whether a daemon pod belongs on a node.
pub fn fit(spec: &PodSpec, tolerations: &[Toleration], node: &Node) -> Fit {
    let named = spec.node_name.as_deref().unwrap_or_default();
    if (!named.is_empty() && named != node.name()) || !is_wanted(spec, node) {
        return Fit { should_run: false, may_stay: false };
    }
    let should_run = untolerated(node, tolerations, &["NoExecute", "NoSchedule"]).is_none();
    Fit { should_run, may_stay: should_run || untolerated(node, tolerations, &["NoExecute"]).is_none() }
}

/// The node a pod is on, or that its affinity names.
pub fn target_node(pod: &Pod) -> Option<&str> {
    let bound = pods::node_name(pod);
    if !bound.is_empty() {
        return Some(bound);
    }
    let affinity = pods::spec(pod).affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let mut fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let name = fields.find(|field| field.key == "metadata.name" && field.operator == "In")?;
    match name.values.as_deref()? {
        [node] => Some(node),
        _ => None,
    }
}

/// Decides what to do: first the right pods on each node, and when those are there, the replacement of old ones.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let by_node = observed.by_node();
    let plan = manage(observed, &by_node, now);
    if !plan.create_on.is_empty() || !plan.delete.is_empty() {
        return plan;
    }
    let (create_on, delete) = match observed.strategy {
        Strategy::OnDelete => (Vec::new(), Vec::new()),
        Strategy::Rolling { max_surge: 0, max_unavailable } => {
            (Vec::new(), replace(observed, &by_node, max_unavailable, now))
        }
        Strategy::Rolling { max_surge, .. } => surge(observed, &by_node, max_surge, now),
    };
    Plan { create_on, delete, ..plan }
}

impl Observed {
    fn by_node(&self) -> ByNode<'_> {
        let mut by_node = ByNode::new();
        // A pod that has ended and is being deleted is nobody's business any more.
        let pods = self.pods.iter().filter(|pod| !(pods::is_finished(pod) && pod.is_deleting()));
        for pod in pods {
            if let Some(node) = target_node(pod) {
                by_node.entry(node).or_default().push(&pod.view);
            }
        }
        by_node.values_mut().for_each(|pods| pods.sort_by(by_age_and_phase));
        by_node
    }

    fn fit(&self, node: &Node) -> Fit {
        fit(&self.spec, &self.tolerations, node)
    }

    fn is_current(&self, pod: &Pod) -> bool {
        let has_hash = !self.hash.is_empty() && pod.label(REVISION_HASH) == Some(&self.hash);
        has_hash || (self.generation.is_some() && pod.label(TEMPLATE_GENERATION) == self.generation.as_deref())
    }

    fn is_available(&self, pod: &Pod, now: Timestamp) -> bool {
        pods::is_available(pod, self.min_ready_seconds, now)
    }

    fn surges(&self) -> bool {
        matches!(self.strategy, Strategy::Rolling { max_surge, .. } if max_surge > 0)
    }

    /// The status's numbers.
    pub fn counts(&self, now: Timestamp) -> Counts {
        let by_node = self.by_node();
        let mut counts = Counts::default();
        for node in &self.nodes {
            let oldest = by_node.get(node.name()).and_then(|pods| pods.first());
            if !self.fit(node).should_run {
                counts.misscheduled += i64::from(oldest.is_some());
                continue;
            }
            counts.desired += 1;
            if let Some(pod) = oldest {
                counts.current += 1;
                counts.ready += i64::from(pods::is_ready(pod));
                counts.available += i64::from(self.is_available(pod, now));
                counts.updated += i64::from(self.is_current(pod));
            }
        }
        counts
    }
}

/// Pods bound to a node before others, then the oldest, then by name.
fn by_age_and_phase(a: &&Pod, b: &&Pod) -> std::cmp::Ordering {
    let is_unbound = |pod: &Pod| pods::node_name(pod).is_empty();
    is_unbound(a).cmp(&is_unbound(b)).then_with(|| a.created().cmp(&b.created())).then_with(|| a.name().cmp(b.name()))
}

/// One pod on each node where one belongs, none elsewhere; failed ones are made anew.
fn manage(observed: &Observed, by_node: &ByNode<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    for node in &observed.nodes {
        let pods = by_node.get(node.name()).map(Vec::as_slice).unwrap_or_default();
        let Fit { should_run, may_stay } = observed.fit(node);
        if should_run && pods.is_empty() {
            plan.create_on.push(node.name().to_owned());
        } else if may_stay {
            let running = plan.sort_out_ended(observed, node.name(), pods);
            match observed.surges() {
                false => plan.delete.extend(running.iter().skip(1).map(|pod| pod.name().to_owned())),
                true if running.is_empty() && should_run => plan.create_on.push(node.name().to_owned()),
                true if running.len() > 1 => plan.delete.extend(surplus(observed, &running, now)),
                true => {}
            }
        } else {
            plan.delete.extend(pods.iter().filter(|pod| !pod.is_deleting()).map(|pod| pod.name().to_owned()));
        }
    }
    plan.delete.extend(lost(observed, by_node));
    plan
}

impl Plan {
    /// Marks ended pods for deletion and gives the others.
    fn sort_out_ended<'a>(&mut self, observed: &Observed, node: &str, pods: &[&'a Pod]) -> Vec<&'a Pod> {
        let mut running = Vec::new();
        for pod in pods.iter().filter(|pod| !pod.is_deleting()) {
            let about = || (pod.name().to_owned(), node.to_owned());
            match pods::phase(pod) {
                "Failed" => match observed.backoff.get(node) {
                    Some(left) => self.again_in = Some(self.again_in.map_or(*left, |again| again.min(*left))),
                    None => {
                        self.failed.push(about());
                        self.delete.push(pod.name().to_owned());
                    }
                },
                "Succeeded" => {
                    self.succeeded.push(about());
                    self.delete.push(pod.name().to_owned());
                }
                _ => running.push(*pod),
            }
        }
        running
    }
}

/// With surge, a node may have two pods: an old one that is ready, and a current one that is not yet.
fn surplus(observed: &Observed, running: &[&Pod], now: Timestamp) -> Vec<String> {
    let (mut newest, mut older): (Option<&Pod>, Option<&Pod>) = (None, None);
    let mut delete = Vec::new();
    for pod in running {
        let is_current = pod.label(REVISION_HASH) == Some(&observed.hash);
        let place = if is_current { &mut newest } else { &mut older };
        match place {
            None => *place = Some(pod),
            Some(_) => delete.push(pod.name().to_owned()),
        }
    }
    if let (Some(new), Some(old)) = (newest, older)
        && (!pods::is_ready(old) || observed.is_available(new, now))
    {
        delete.push(old.name().to_owned());
    }
    delete
}

/// Pods that wait for a node which is no more: nobody else would delete them.
fn lost(observed: &Observed, by_node: &ByNode<'_>) -> Vec<String> {
    let is_there = |name: &str| observed.nodes.iter().any(|node| node.name() == name);
    let gone = by_node.iter().filter(|(node, _)| !is_there(node));
    let unbound = gone.flat_map(|(_, pods)| pods).filter(|pod| pods::node_name(pod).is_empty());
    unbound.map(|pod| pod.name().to_owned()).collect()
}

/// The current and the old pod of a node; none if there are several of one kind (managing clears that up).
fn pair<'a>(observed: &Observed, pods: &[&'a Pod]) -> Option<(Option<&'a Pod>, Option<&'a Pod>)> {
    let (mut new, mut old) = (None, None);
    for pod in pods.iter().filter(|pod| !pod.is_deleting()) {
        let place = if observed.is_current(pod) { &mut new } else { &mut old };
        if place.replace(*pod).is_some() {
            return None;
        }
    }
    Some((new, old))
}

/// Old pods to be deleted so that no more than `max_unavailable` are missing.
fn replace(observed: &Observed, by_node: &ByNode<'_>, max_unavailable: usize, now: Timestamp) -> Vec<String> {
    let (mut unavailable, mut delete, mut candidates) = (0, Vec::new(), Vec::new());
    for pods in by_node.values() {
        match pair(observed, pods) {
            None | Some((None, None)) | Some((Some(_), Some(_))) => unavailable += 1,
            Some((Some(new), None)) => unavailable += usize::from(!observed.is_available(new, now)),
            Some((None, Some(old))) if !observed.is_available(old, now) => {
                delete.push(old.name().to_owned());
                unavailable += 1;
            }
            Some((None, Some(old))) => candidates.push(old.name().to_owned()),
        }
    }
    candidates.truncate(max_unavailable.saturating_sub(unavailable));
    delete.extend(candidates);
    delete
}

/// Nodes to get a second pod, and old pods to be deleted because theirs is available.
fn surge(observed: &Observed, by_node: &ByNode<'_>, max_surge: usize, now: Timestamp) -> (Vec<String>, Vec<String>) {
    let (mut surging, mut available) = (0, 0);
    let (mut create, mut candidates) = (Vec::new(), Vec::new());
    let (mut delete, mut misplaced) = (Vec::new(), Vec::new());
    for (node, pods) in by_node {
        let Some((new, old)) = pair(observed, pods) else {
            surging += 1;
            continue;
        };
        available += usize::from(old.or(new).is_some_and(|pod| observed.is_available(pod, now)));
        let belongs =
            || observed.nodes.iter().find(|one| one.name() == *node).is_some_and(|node| observed.fit(node).should_run);
        match (new, old) {
            (_, None) => {}
            (None, Some(old)) if !observed.is_available(old, now) => match belongs() {
                true => create.push((*node).to_owned()),
                false => delete.push(old.name().to_owned()),
            },
            (None, Some(old)) if !belongs() => misplaced.push(old.name().to_owned()),
            (None, Some(_)) => candidates.push((*node).to_owned()),
            (Some(new), Some(_)) if !observed.is_available(new, now) => surging += 1,
            (Some(_), Some(old)) => delete.push(old.name().to_owned()),
        }
    }
    let desired = observed.nodes.iter().filter(|node| observed.fit(node).should_run).count();
    misplaced.truncate(available.saturating_sub(desired));
    delete.extend(misplaced);
    candidates.truncate(max_surge.saturating_sub(surging));
    create.extend(candidates);
    (create, delete)
}
