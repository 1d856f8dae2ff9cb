//! The chain's rows, in upstream's order.

use super::{Admission, Operation, Plugin};
use super::{defaults, escalation, limit_ranger, namespace, node, priority, runtime_class, service_account, signers};

const WRITES: &[Operation] = &[Operation::Create, Operation::Update];
const UPDATES: &[Operation] = &[Operation::Update];
const CREATES: &[Operation] = &[Operation::Create];
const ALL: &[Operation] = &[Operation::Create, Operation::Update, Operation::Delete];

const NAMESPACE_LIFECYCLE: Plugin = Plugin {
    name: "NamespaceLifecycle",
    operations: ALL,
    mutate: Some(namespace::lifecycle),
    validate: Some(namespace::immortal),
};
const LIMIT_RANGER: Plugin = Plugin {
    name: "LimitRanger",
    operations: WRITES,
    mutate: Some(limit_ranger::mutate),
    validate: Some(limit_ranger::validate),
};
const SERVICE_ACCOUNT: Plugin = Plugin {
    name: "ServiceAccount",
    operations: CREATES,
    mutate: Some(service_account::mutate),
    validate: Some(service_account::validate),
};
const NODE_RESTRICTION: Plugin =
    Plugin { name: "NodeRestriction", operations: ALL, mutate: None, validate: Some(node::restriction) };
const TAINT_NODES_BY_CONDITION: Plugin =
    Plugin { name: "TaintNodesByCondition", operations: CREATES, mutate: Some(node::taint_new), validate: None };
const PRIORITY: Plugin =
    Plugin { name: "Priority", operations: WRITES, mutate: Some(priority::mutate), validate: Some(priority::validate) };
const DEFAULT_TOLERATION_SECONDS: Plugin = Plugin {
    name: "DefaultTolerationSeconds",
    operations: WRITES,
    mutate: Some(defaults::toleration_seconds),
    validate: None,
};
const DEFAULT_STORAGE_CLASS: Plugin =
    Plugin { name: "DefaultStorageClass", operations: CREATES, mutate: Some(defaults::storage_class), validate: None };
const STORAGE_OBJECT_IN_USE_PROTECTION: Plugin = Plugin {
    name: "StorageObjectInUseProtection",
    operations: CREATES,
    mutate: Some(defaults::in_use_protection),
    validate: None,
};
const RUNTIME_CLASS: Plugin = Plugin {
    name: "RuntimeClass",
    operations: CREATES,
    mutate: Some(runtime_class::mutate),
    validate: Some(runtime_class::validate),
};
const CERTIFICATE_APPROVAL: Plugin =
    Plugin { name: "CertificateApproval", operations: UPDATES, mutate: None, validate: Some(signers::approval) };
const CERTIFICATE_SIGNING: Plugin =
    Plugin { name: "CertificateSigning", operations: UPDATES, mutate: None, validate: Some(signers::signing) };
const CLUSTER_TRUST_BUNDLE_ATTEST: Plugin =
    Plugin { name: "ClusterTrustBundleAttest", operations: WRITES, mutate: None, validate: Some(signers::attest) };
const CERTIFICATE_SUBJECT_RESTRICTION: Plugin = Plugin {
    name: "CertificateSubjectRestriction",
    operations: CREATES,
    mutate: None,
    validate: Some(signers::subject),
};
const DEFAULT_INGRESS_CLASS: Plugin =
    Plugin { name: "DefaultIngressClass", operations: CREATES, mutate: Some(defaults::ingress_class), validate: None };

/// No plugin upstream but part of the roles' own storage: nobody may grant what they don't hold.
const ROLE_ESCALATION: Plugin =
    Plugin { name: "RoleEscalation", operations: WRITES, mutate: None, validate: Some(escalation::check_write) };

/// The plugins that are on by default, without those named.
pub fn chain(disabled: &[String]) -> Admission {
    let all = [
        &NAMESPACE_LIFECYCLE,
        &LIMIT_RANGER,
        &SERVICE_ACCOUNT,
        &NODE_RESTRICTION,
        &TAINT_NODES_BY_CONDITION,
        &PRIORITY,
        &DEFAULT_TOLERATION_SECONDS,
        &DEFAULT_STORAGE_CLASS,
        &STORAGE_OBJECT_IN_USE_PROTECTION,
        &RUNTIME_CLASS,
        &CERTIFICATE_APPROVAL,
        &CERTIFICATE_SIGNING,
        &CLUSTER_TRUST_BUNDLE_ATTEST,
        &CERTIFICATE_SUBJECT_RESTRICTION,
        &DEFAULT_INGRESS_CLASS,
        &ROLE_ESCALATION,
    ];
    let wanted =
        |plugin: &&Plugin| plugin.name == ROLE_ESCALATION.name || !disabled.iter().any(|name| name == plugin.name);
    Admission::new(all.into_iter().filter(wanted).collect())
}
