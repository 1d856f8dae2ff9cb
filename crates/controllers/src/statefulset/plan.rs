//! The next step of a stateful set: pods have places (ordinals), and by default only one of them moves at a time.

use std::sync::Arc;

use client::{MetaExt, Object};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::common::pods;
use crate::common::revisions::REVISION_HASH;

/// What the decision depends on.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The set's name.
    pub name: String,
    /// Being deleted.
    pub is_deleting: bool,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.ordinals.start`.
    pub start: i32,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: i32,
    /// Pods need not wait for each other (`podManagementPolicy: Parallel`).
    pub is_parallel: bool,
    /// How pods of an old template are replaced.
    pub strategy: Strategy,
    /// Name of the revision that the pods had before the update.
    pub current: String,
    /// Name of the revision of the template.
    pub update: String,
    /// `status.currentReplicas`.
    pub current_replicas: i32,
    /// Names of the claim templates.
    pub claims: Vec<String>,
    /// The set's pods.
    pub pods: Vec<Arc<Object<Pod>>>,
}

/// How pods of an old template are replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// When somebody deletes them.
    #[default]
    OnDelete,
    /// From the last to the first.
    Rolling {
        /// Pods with lower ordinals keep their revision; none: those that `currentReplicas` counts.
        partition: Option<i32>,
        /// Pods that may be missing.
        max_unavailable: usize,
    },
}

/// What should happen next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Pods to be made: ordinal and name of the revision.
    pub create: Vec<(i32, String)>,
    /// Names of pods to be deleted.
    pub delete: Vec<String>,
    /// Ordinals of pending pods whose claims may be missing.
    pub claims: Vec<i32>,
    /// Names of pods that have lost their identity or their volumes.
    pub repair: Vec<String>,
}

/// Numbers of the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the API's fields")]
pub struct Counts {
    pub replicas: i32,
    pub ready: i32,
    pub available: i32,
    pub current: i32,
    pub updated: i32,
}

/// The ordinal in a pod's name, if it is one of this set.
pub fn ordinal(set: &str, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// The revision that a pod is of.
pub fn revision(pod: &Pod) -> &str {
    pod.label(REVISION_HASH).unwrap_or_default()
}

/// Decides the next step.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan {
    if observed.is_deleting {
        return Plan::default();
    }
    let places = observed.places();
    let condemned = observed.condemned();
    let mut plan = Plan::default();
    if !plan.fill(observed, &places, now) || !plan.shrink(observed, &places, &condemned, now) {
        return plan;
    }
    if let Strategy::Rolling { partition, max_unavailable } = observed.strategy {
        plan.update(observed, &places, partition.unwrap_or(0), max_unavailable, now);
    }
    plan
}

impl Observed {
    fn is_available(&self, pod: &Pod, now: Timestamp) -> bool {
        pods::is_available(pod, self.min_ready_seconds, now)
    }

    /// Not available, or about to be not.
    fn is_unavailable(&self, pod: &Pod, now: Timestamp) -> bool {
        !self.is_available(pod, now) || pod.is_deleting()
    }

    fn in_range(&self, ordinal: i32) -> bool {
        (self.start..self.start + self.replicas).contains(&ordinal)
    }

    /// The wanted ordinals with their pods.
    fn places(&self) -> Vec<(i32, Option<&Pod>)> {
        let at = |wanted: i32| {
            self.pods.iter().map(|pod| &pod.view).find(|pod| ordinal(&self.name, pod.name()) == Some(wanted))
        };
        (self.start..self.start + self.replicas).map(|ordinal| (ordinal, at(ordinal))).collect()
    }

    /// Pods beyond the wanted ordinals, the highest first.
    fn condemned(&self) -> Vec<&Pod> {
        let all = self.pods.iter().map(|pod| &pod.view);
        let numbered = all.filter_map(|pod| Some((ordinal(&self.name, pod.name())?, pod)));
        let mut beyond: Vec<(i32, &Pod)> = numbered.filter(|(ordinal, _)| !self.in_range(*ordinal)).collect();
        beyond.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
        beyond.into_iter().map(|(_, pod)| pod).collect()
    }

    /// The revision that a new pod gets.
    fn revision_at(&self, ordinal: i32) -> &str {
        let kept = match self.strategy {
            Strategy::Rolling { partition: Some(partition), .. } => partition,
            Strategy::Rolling { partition: None, .. } => self.current_replicas,
            Strategy::OnDelete => 0,
        };
        if ordinal < self.start + kept { &self.current } else { &self.update }
    }

    fn is_intact(&self, pod: &Pod) -> bool {
        let has_name = pod.label("statefulset.kubernetes.io/pod-name") == Some(pod.name());
        let Some(ordinal) = ordinal(&self.name, pod.name()) else { return false };
        let volumes = pods::spec(pod).volumes.as_deref().unwrap_or_default();
        let has_claim = |template: &String| {
            let volume = volumes.iter().find(|volume| volume.name == *template);
            let claim = volume.and_then(|volume| volume.persistent_volume_claim.as_ref());
            claim.is_some_and(|claim| claim.claim_name == claim_name(template, &self.name, ordinal))
        };
        has_name && self.claims.iter().all(has_claim)
    }

    /// The status's numbers.
    pub fn counts(&self, now: Timestamp) -> Counts {
        let mut counts = Counts::default();
        for pod in self.pods.iter().filter(|pod| ordinal(&self.name, pod.name()).is_some()) {
            let is_created = !pods::phase(pod).is_empty();
            let is_ready = pods::phase(pod) == "Running" && pods::is_ready(pod);
            counts.replicas += i32::from(is_created);
            counts.ready += i32::from(is_ready);
            counts.available += i32::from(is_ready && self.is_available(pod, now));
            if is_created && !pod.is_deleting() {
                counts.current += i32::from(revision(pod) == self.current);
                counts.updated += i32::from(revision(pod) == self.update);
            }
        }
        counts
    }
}

/// The claim of a pod for one of the set's templates.
pub fn claim_name(template: &str, set: &str, ordinal: i32) -> String {
    format!("{template}-{set}-{ordinal}")
}

impl Plan {
    /// A pod in every place. Whether all is well, so that later steps may be taken.
    fn fill(&mut self, observed: &Observed, places: &[(i32, Option<&Pod>)], now: Timestamp) -> bool {
        let is_ordered = !observed.is_parallel;
        let mut is_well = true;
        for (ordinal, pod) in places {
            let Some(pod) = pod else {
                self.create.push((*ordinal, observed.revision_at(*ordinal).to_owned()));
                if is_ordered {
                    return false;
                }
                continue;
            };
            if pods::is_finished(pod) {
                if !pod.is_deleting() {
                    self.delete.push(pod.name().to_owned());
                }
                is_well = false;
                if is_ordered {
                    return false;
                }
                continue;
            }
            if pods::phase(pod) == "Pending" {
                self.claims.push(*ordinal);
            }
            let is_up = pods::phase(pod) == "Running" && pods::is_ready(pod) && observed.is_available(pod, now);
            if is_ordered && (pod.is_deleting() || !is_up) {
                return false;
            }
            if !pod.is_deleting() && !observed.is_intact(pod) {
                self.repair.push(pod.name().to_owned());
            }
        }
        is_well
    }

    /// No pods beyond the places. Whether later steps may be taken.
    fn shrink(
        &mut self,
        observed: &Observed,
        places: &[(i32, Option<&Pod>)],
        condemned: &[&Pod],
        now: Timestamp,
    ) -> bool {
        if observed.is_parallel {
            self.delete.extend(condemned.iter().filter(|pod| !pod.is_deleting()).map(|pod| pod.name().to_owned()));
            return true;
        }
        let Some(last) = condemned.first() else { return true };
        let in_order = places.iter().filter_map(|(_, pod)| *pod).chain(condemned.iter().rev().copied());
        let first_unavailable = in_order.into_iter().find(|pod| observed.is_unavailable(pod, now));
        let is_up = pods::phase(last) == "Running" && pods::is_ready(last) && observed.is_available(last, now);
        let is_first_unavailable = first_unavailable.is_some_and(|pod| pod.uid() == last.uid());
        if !last.is_deleting() && (is_up || is_first_unavailable) {
            self.delete.push(last.name().to_owned());
        }
        false
    }

    /// Pods of the old revision make room, from the last on, as many as may be missing.
    fn update(
        &mut self,
        observed: &Observed,
        places: &[(i32, Option<&Pod>)],
        partition: i32,
        max_unavailable: usize,
        now: Timestamp,
    ) {
        let there: Vec<(usize, &Pod)> =
            places.iter().enumerate().filter_map(|(at, (_, pod))| Some((at, (*pod)?))).collect();
        // A place without a pod is missing one.
        let empty = places.len() - there.len();
        let unavailable = empty + there.iter().filter(|(_, pod)| observed.is_unavailable(pod, now)).count();
        let is_old = |pod: &Pod| revision(pod) != observed.update && !pod.is_deleting();
        let min = usize::try_from(partition).unwrap_or(0);
        let targets = || there.iter().rev().filter(|(at, pod)| *at >= min && is_old(pod)).map(|(_, pod)| *pod);
        let mut delete: Vec<&Pod> = Vec::new();
        if observed.is_parallel {
            delete.extend(targets().filter(|pod| !observed.is_available(pod, now)));
        }
        let room = max_unavailable.saturating_sub(unavailable);
        let fine = targets().filter(|pod| !observed.is_parallel || observed.is_available(pod, now));
        delete.extend(fine.take(room));
        self.delete.extend(delete.into_iter().map(|pod| pod.name().to_owned()));
    }
}
