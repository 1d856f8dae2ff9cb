//! Where ReplicaSets and ReplicationControllers differ.

use api::selector::LabelSelector;
use client::Kind;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{PodTemplateSpec, ReplicationController};

use super::usable;
use crate::common::selectors::{self, Labels};

/// A kind that keeps a number of pods.
pub trait SetKind: Kind {
    /// The controller's name, and its service account's.
    const CONTROLLER: &'static str;
    /// Whether the status has `terminatingReplicas`.
    const REPORTS_TERMINATING: bool;

    /// `spec.replicas`, one if absent (as the server fills it in).
    fn replicas(&self) -> i32;
    /// `spec.minReadySeconds`.
    fn min_ready_seconds(&self) -> i32;
    /// Which pods are its own.
    fn selector(&self) -> LabelSelector;
    /// The labels of new pods.
    fn template_labels(&self) -> Labels;
}

fn labels_of(template: Option<&PodTemplateSpec>) -> Labels {
    template?.metadata.as_ref()?.labels.clone()
}

impl SetKind for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset-controller";
    const REPORTS_TERMINATING: bool = true;

    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.min_ready_seconds.unwrap_or(0)
    }

    fn selector(&self) -> LabelSelector {
        usable(selectors::selector(&self.spec.selector))
    }

    fn template_labels(&self) -> Labels {
        labels_of(self.spec.template.as_ref())
    }
}

impl SetKind for ReplicationController {
    const CONTROLLER: &'static str = "replication-controller";
    const REPORTS_TERMINATING: bool = false;

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
    }

    fn selector(&self) -> LabelSelector {
        selectors::of_labels(&self.spec.as_ref().and_then(|spec| spec.selector.clone()))
    }

    fn template_labels(&self) -> Labels {
        labels_of(self.spec.as_ref().and_then(|spec| spec.template.as_ref()))
    }
}
