//! What the schema can't say about a kind: defaults that depend on other fields, preparation
//! for create and update (upstream's *strategy*), validation, selectable fields, warnings.
//!
//! A kind is one [`Rules`] constant in a file of its own and a row in [`KINDS`]; what a kind
//! doesn't name is [`Rules::DEFAULT`]'s. The apiserver calls [`strategy`], which puts the
//! generic part (metadata, generation, status apart from spec) around the rules.
//!
//! Upstream: `pkg/registry/*/*/strategy.go`, `pkg/apis/*/v1/defaults.go`,
//! `pkg/apis/*/validation`.

use smol_str::SmolStr;

use crate::field::{ErrorKind, FieldErrors};
use crate::meta::NameRule;
use crate::user::UserInfo;
use crate::value::Value;

pub mod admission;
pub mod api_service;
pub mod certificate_signing_request;
pub mod config_map;
pub mod convert;
pub mod crd;
pub mod cron;
pub mod cron_job;
pub mod csi;
pub mod daemon_set;
pub mod deployment;
mod diff;
pub mod disruption_budget;
pub mod endpoints;
pub mod event;
pub mod flow_control;
pub mod formats;
pub mod horizontal_pod_autoscaler;
pub mod ingress;
pub mod ip;
pub mod ip_address;
pub mod job;
pub mod lease;
pub mod limit_range;
pub mod namespace;
pub mod network_policy;
pub mod node;
pub mod pem;
pub mod persistent_volume;
pub mod persistent_volume_claim;
pub mod pod;
pub mod priority_class;
pub mod rbac;
pub mod read;
pub mod replica_set;
pub mod resource_claim;
pub mod resource_quota;
pub mod resource_slice;
pub mod resources;
pub mod runtime_class;
pub mod service;
pub mod service_account;
pub mod signer;
pub mod stateful_set;
pub mod storage_class;
pub mod storage_version_migration;
pub mod strategy;
#[cfg(test)]
pub(crate) mod testing;
pub mod trust_bundle;
pub mod volume_attachment;
pub mod workload;

/// What rules may know beyond the object: time and identity are given.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub user: &'a UserInfo,
    pub now: jiff::Timestamp,
}

/// A change by a decoded object: the new one, and the stored one that it replaces.
pub type Prepare = fn(&mut Value, &Value, &Context<'_>);
/// Judges the new object against the stored one.
pub type ValidateUpdate = fn(&Value, &Value, &mut FieldErrors);

/// A field that selectors know, and how to read it.
pub type Selectable = (&'static str, fn(&Value) -> SmolStr);

/// The rules of a kind.
#[derive(Debug)]
pub struct Rules {
    /// What `metadata.name` may look like.
    pub name: NameRule,
    /// Defaults that are functions of other fields, or that no schema table holds. Runs on
    /// every decode of a versioned object, also of a stored one: it must change nothing the
    /// second time.
    pub defaults: fn(&mut Value),
    /// When `metadata.generation` moves.
    pub generation: Generation,
    /// Who may write `status`.
    pub status: StatusRule,
    /// After the generic part of create, before validation.
    pub prepare_create: fn(&mut Value, &Context<'_>),
    /// After status was taken over, before the generation is decided.
    pub prepare_update: Prepare,
    pub validate: fn(&Value, &mut FieldErrors),
    /// All of update validation except metadata: call `validate` from here where upstream does.
    pub validate_update: ValidateUpdate,
    /// Writes through subresources; `status` too where the kind has one.
    pub subresources: &'static [Subresource],
    /// What upstream judges by tags on its types, after all else: fields (`[]` for items of lists) and the kind of
    /// their errors, in its order.
    pub declared: &'static [(&'static str, ErrorKind)],
    /// After validation, before the object is stored.
    pub canonicalize: fn(&mut Value),
    /// What the user is told although the request succeeds.
    pub warnings: fn(&Value, Option<&Value>) -> Vec<String>,
    /// Field selectors beyond `metadata.name` and `metadata.namespace`.
    pub selectable: &'static [Selectable],
    /// What clients of a second group call those fields (their name, the name above); empty where it is the same.
    pub selectable_names: &'static [(&'static str, &'static str)],
    /// PUT of a name that is not there creates it.
    pub allow_create_on_update: bool,
    /// PUT without resourceVersion overwrites.
    pub allow_unconditional_update: bool,
}

/// When `metadata.generation` moves; a kind that counts starts at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The kind has none.
    None,
    /// On a change of `spec`.
    Spec,
    /// On a change of `spec` or of annotations.
    SpecOrAnnotations,
    /// On a change of anything but metadata and status.
    Content,
    /// On a change of anything but status and metadata other than labels.
    ContentOrLabels,
}

/// Who may write `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusRule {
    /// The kind has none, or it is a field like others.
    None,
    /// Writes of the main resource leave it alone.
    Separate,
    /// As [`Separate`](Self::Separate), but create takes it (nodes).
    SetOnCreate,
}

/// A write to part of an object.
#[derive(Debug)]
pub struct Subresource {
    pub name: &'static str,
    /// Undoes what this subresource may not change.
    pub prepare: Prepare,
    pub validate: ValidateUpdate,
    /// The write moves the generation as one to the main resource would.
    pub generation: bool,
}

// === impl Rules ===

impl Rules {
    /// The name under which a field is recorded that a client's selector names; none if nothing is selected by it.
    pub fn selected_by(&self, name: &str) -> Option<&'static str> {
        let everywhere = ["metadata.name", "metadata.namespace"].into_iter().find(|known| *known == name);
        let own = match self.selectable_names {
            [] => self.selectable.iter().map(|(known, _)| *known).find(|known| *known == name),
            names => names.iter().find(|(known, _)| *known == name).map(|(_, recorded)| *recorded),
        };
        everywhere.or(own)
    }

    /// For kinds that need nothing of their own.
    pub const DEFAULT: Rules = Rules {
        name: NameRule::Subdomain,
        defaults: |_| {},
        generation: Generation::None,
        status: StatusRule::None,
        prepare_create: |_, _| {},
        prepare_update: |_, _, _| {},
        validate: |_, _| {},
        validate_update: |_, _, _| {},
        subresources: &[],
        declared: &[],
        canonicalize: |_| {},
        warnings: |_, _| Vec::new(),
        selectable: &[],
        selectable_names: &[],
        allow_create_on_update: false,
        allow_unconditional_update: true,
    };

    /// For kinds with `spec`, `status` and a generation, of which nothing else is known.
    pub const WITH_STATUS: Rules = Rules {
        generation: Generation::Spec,
        status: StatusRule::Separate,
        subresources: &[Subresource::STATUS],
        ..Rules::DEFAULT
    };

    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|one| one.name == name)
    }

    /// The value of a field selector's field, if it is one of this kind.
    pub fn selected_field(&self, object: &Value, field: &str) -> Option<SmolStr> {
        match field {
            "metadata.name" | "metadata.namespace" => Some(object.str_at(field).into()),
            _ => self.selectable.iter().find(|(name, _)| *name == field).map(|(_, read)| read(object)),
        }
    }
}

// === impl Subresource ===

impl Subresource {
    /// The usual `status`: spec stays.
    pub const STATUS: Subresource = Subresource {
        name: "status",
        prepare: |new, old, _| read::copy(new, old, "spec"),
        validate: |_, _, _| {},
        generation: false,
    };
}

static DEFAULT: Rules = Rules::DEFAULT;

/// Group, resource, rules; sorted.
static KINDS: &[(&str, &str, &Rules)] = &[
    ("", "configmaps", &config_map::CONFIG_MAP),
    ("", "endpoints", &endpoints::ENDPOINTS),
    ("", "events", &event::CORE),
    ("", "limitranges", &limit_range::RULES),
    ("", "namespaces", &namespace::RULES),
    ("", "nodes", &node::RULES),
    ("", "persistentvolumeclaims", &persistent_volume_claim::RULES),
    ("", "persistentvolumes", &persistent_volume::RULES),
    ("", "pods", &pod::RULES),
    ("", "podtemplates", &pod::template::RULES),
    ("", "replicationcontrollers", &replica_set::REPLICATION_CONTROLLER),
    ("", "resourcequotas", &resource_quota::RULES),
    ("", "secrets", &config_map::SECRET),
    ("", "serviceaccounts", &service_account::RULES),
    ("", "services", &service::RULES),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies", &admission::policies::MUTATING),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", &admission::policies::MUTATING_BINDING),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", &admission::webhooks::MUTATING),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", &admission::policies::VALIDATING),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", &admission::policies::VALIDATING_BINDING),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", &admission::webhooks::VALIDATING),
    ("apiextensions.k8s.io", "customresourcedefinitions", &crd::RULES),
    ("apiregistration.k8s.io", "apiservices", &api_service::RULES),
    ("apps", "controllerrevisions", &stateful_set::CONTROLLER_REVISION),
    ("apps", "daemonsets", &daemon_set::RULES),
    ("apps", "deployments", &deployment::RULES),
    ("apps", "replicasets", &replica_set::REPLICA_SET),
    ("apps", "statefulsets", &stateful_set::STATEFUL_SET),
    ("autoscaling", "horizontalpodautoscalers", &horizontal_pod_autoscaler::RULES),
    ("batch", "cronjobs", &cron_job::RULES),
    ("batch", "jobs", &job::RULES),
    ("certificates.k8s.io", "certificatesigningrequests", &certificate_signing_request::RULES),
    ("certificates.k8s.io", "clustertrustbundles", &trust_bundle::CLUSTER_TRUST_BUNDLE),
    ("certificates.k8s.io", "podcertificaterequests", &trust_bundle::POD_CERTIFICATE_REQUEST),
    ("coordination.k8s.io", "leasecandidates", &lease::CANDIDATE),
    ("coordination.k8s.io", "leases", &lease::LEASE),
    ("discovery.k8s.io", "endpointslices", &endpoints::ENDPOINT_SLICE),
    ("events.k8s.io", "events", &event::EVENTS),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", &flow_control::FLOW_SCHEMA),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", &flow_control::PRIORITY_LEVEL),
    ("networking.k8s.io", "ingressclasses", &ingress::CLASS),
    ("networking.k8s.io", "ingresses", &ingress::INGRESS),
    ("networking.k8s.io", "ipaddresses", &ip_address::IP_ADDRESS),
    ("networking.k8s.io", "networkpolicies", &network_policy::RULES),
    ("networking.k8s.io", "servicecidrs", &ip_address::SERVICE_CIDR),
    ("node.k8s.io", "runtimeclasses", &runtime_class::RULES),
    ("policy", "poddisruptionbudgets", &disruption_budget::RULES),
    ("rbac.authorization.k8s.io", "clusterrolebindings", &rbac::CLUSTER_ROLE_BINDING),
    ("rbac.authorization.k8s.io", "clusterroles", &rbac::CLUSTER_ROLE),
    ("rbac.authorization.k8s.io", "rolebindings", &rbac::ROLE_BINDING),
    ("rbac.authorization.k8s.io", "roles", &rbac::ROLE),
    ("resource.k8s.io", "deviceclasses", &resource_claim::DEVICE_CLASS),
    ("resource.k8s.io", "devicetaintrules", &resource_slice::TAINT_RULE),
    ("resource.k8s.io", "resourceclaims", &resource_claim::CLAIM),
    ("resource.k8s.io", "resourceclaimtemplates", &resource_claim::TEMPLATE),
    ("resource.k8s.io", "resourceslices", &resource_slice::SLICE),
    ("scheduling.k8s.io", "priorityclasses", &priority_class::RULES),
    ("storage.k8s.io", "csidrivers", &csi::DRIVER),
    ("storage.k8s.io", "csinodes", &csi::NODE),
    ("storage.k8s.io", "csistoragecapacities", &csi::STORAGE_CAPACITY),
    ("storage.k8s.io", "storageclasses", &storage_class::STORAGE_CLASS),
    ("storage.k8s.io", "volumeattachments", &volume_attachment::RULES),
    ("storage.k8s.io", "volumeattributesclasses", &storage_class::VOLUME_ATTRIBUTES_CLASS),
    ("storagemigration.k8s.io", "storageversionmigrations", &storage_version_migration::RULES),
];

/// The rules of a built-in resource; [`Rules::DEFAULT`] for one that has none of its own.
pub fn rules(group: &str, resource: &str) -> &'static Rules {
    KINDS.binary_search_by(|(g, r, _)| (*g, *r).cmp(&(group, resource))).map_or(&DEFAULT, |at| KINDS[at].2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_has_rules() {
        // Reviews and the like are not stored; component statuses are made up.
        let stored = |resource: &&crate::registry::Resource| resource.storage_prefix.is_some();
        for resource in crate::registry::Registry::builtin().resources().iter().filter(stored) {
            let (group, plural) = (resource.group.as_str(), resource.plural.as_str());
            let at = KINDS.binary_search_by(|(g, r, _)| (*g, *r).cmp(&(group, plural)));
            let rules = KINDS[at.unwrap_or_else(|_| panic!("{group}/{plural} has no rules"))].2;
            for sub in &resource.subresources {
                let own = sub.kind.kind == resource.kind && !matches!(sub.name.as_str(), "log");
                assert_eq!(own, rules.subresource(&sub.name).is_some(), "{plural}/{}", sub.name);
            }
            let has_status = rules.subresource("status").is_some();
            assert_eq!(has_status, rules.status != StatusRule::None, "{plural}");
        }
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(KINDS.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)));
    }
}
