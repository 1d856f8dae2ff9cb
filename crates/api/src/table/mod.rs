//! Tables: what `kubectl get` shows of each kind.
//!
//! A resource has a [`Table`]: its columns, and a function from an object (in the storage
//! version's shape) to cells. Resources without one show name and creation time, as upstream's
//! do. Rows carry all columns, also those that only `-o wide` shows.
//!
//! Upstream: `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;

use crate::kinds::read::Read;
use crate::value::{Map, Value};

mod admission;
pub mod age;
mod cells;
mod cluster;
mod extension;
mod network;
mod pod;
mod storage;
mod workloads;

/// A column, as a `Table`'s `columnDefinitions` describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the column that identifies the object, else empty.
    pub format: &'static str,
    pub description: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i64,
}

/// How a resource is shown.
#[derive(Debug)]
pub struct Table {
    pub columns: &'static [Column],
    /// One cell a column.
    pub cells: fn(&Value, Timestamp) -> Vec<Value>,
}

// === impl Column ===

impl Column {
    const fn new(name: &'static str, kind: &'static str, description: &'static str) -> Column {
        Column { name, kind, format: "", description, priority: 0 }
    }

    /// The same, shown only with `-o wide`.
    const fn wide(self) -> Column {
        Column { priority: 1, ..self }
    }

    /// As `columnDefinitions` hold it.
    pub fn to_value(&self) -> Value {
        let fields: [(&str, Value); 5] = [
            ("name", self.name.into()),
            ("type", self.kind.into()),
            ("format", self.format.into()),
            ("description", self.description.into()),
            ("priority", self.priority.into()),
        ];
        fields.into_iter().collect::<Map>().into()
    }
}

const NAME: Column = Column { format: "name", ..text("Name", "Unique within the namespace; can't be changed.") };
const AGE: Column = text("Age", "Time since the object was created.");
const CREATED_AT: Column = Column::new("Created At", "date", "When the object was created.");
const CONTAINERS: Column = text("Containers", "Names of the template's containers.").wide();
const IMAGES: Column = text("Images", "Images of the template's containers.").wide();
const SELECTOR: Column = text("Selector", "Labels that select the pods.").wide();

const fn text(name: &'static str, description: &'static str) -> Column {
    Column::new(name, "string", description)
}

const fn integer(name: &'static str, description: &'static str) -> Column {
    Column::new(name, "integer", description)
}

const fn boolean(name: &'static str, description: &'static str) -> Column {
    Column::new(name, "boolean", description)
}

// === The tables ===

/// For resources without a table of their own.
static DEFAULT: Table = Table {
    columns: &[NAME, CREATED_AT],
    cells: |object, _| vec![cells::name(object), object.at("metadata.creationTimestamp").clone()],
};

/// The number of replicas of whatever has some, by itself (`kubectl get --subresource=scale`).
pub static SCALE: Table = Table {
    columns: &[
        Column { format: "", ..NAME },
        integer("Desired", "How many there shall be."),
        integer("Available", "How many there are."),
        AGE,
    ],
    cells: |scale, now| {
        let count = |path| scale.i64_at(path).unwrap_or_default().into();
        vec![cells::name(scale), count("spec.replicas"), count("status.replicas"), cells::age(scale, now)]
    },
};

/// Group, resource, table; sorted.
static TABLES: &[(&str, &str, &Table)] = &[
    ("", "componentstatuses", &cluster::COMPONENT_STATUSES),
    ("", "configmaps", &cluster::CONFIG_MAPS),
    ("", "endpoints", &network::ENDPOINTS),
    ("", "events", &cluster::EVENTS),
    ("", "namespaces", &cluster::NAMESPACES),
    ("", "nodes", &cluster::NODES),
    ("", "persistentvolumeclaims", &storage::CLAIMS),
    ("", "persistentvolumes", &storage::VOLUMES),
    ("", "pods", &pod::PODS),
    ("", "podtemplates", &pod::POD_TEMPLATES),
    ("", "replicationcontrollers", &workloads::REPLICATION_CONTROLLERS),
    ("", "resourcequotas", &cluster::RESOURCE_QUOTAS),
    ("", "secrets", &cluster::SECRETS),
    ("", "serviceaccounts", &cluster::NAME_AND_AGE),
    ("", "services", &network::SERVICES),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies", &admission::MUTATING_POLICIES),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", &admission::POLICY_BINDINGS),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", &admission::WEBHOOKS),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", &admission::VALIDATING_POLICIES),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", &admission::POLICY_BINDINGS),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", &admission::WEBHOOKS),
    ("apiextensions.k8s.io", "customresourcedefinitions", &extension::CUSTOM_RESOURCES),
    ("apiregistration.k8s.io", "apiservices", &admission::API_SERVICES),
    ("apps", "controllerrevisions", &workloads::CONTROLLER_REVISIONS),
    ("apps", "daemonsets", &workloads::DAEMON_SETS),
    ("apps", "deployments", &workloads::DEPLOYMENTS),
    ("apps", "replicasets", &workloads::REPLICA_SETS),
    ("apps", "statefulsets", &workloads::STATEFUL_SETS),
    ("autoscaling", "horizontalpodautoscalers", &workloads::AUTOSCALERS),
    ("batch", "cronjobs", &workloads::CRON_JOBS),
    ("batch", "jobs", &workloads::JOBS),
    ("certificates.k8s.io", "certificatesigningrequests", &admission::SIGNING_REQUESTS),
    ("certificates.k8s.io", "clustertrustbundles", &admission::TRUST_BUNDLES),
    ("certificates.k8s.io", "podcertificaterequests", &extension::POD_CERTIFICATE_REQUESTS),
    ("coordination.k8s.io", "leases", &cluster::LEASES),
    ("discovery.k8s.io", "endpointslices", &network::ENDPOINT_SLICES),
    ("events.k8s.io", "events", &cluster::EVENTS),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", &admission::FLOW_SCHEMAS),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", &admission::PRIORITY_LEVELS),
    ("networking.k8s.io", "ingressclasses", &network::INGRESS_CLASSES),
    ("networking.k8s.io", "ingresses", &network::INGRESSES),
    ("networking.k8s.io", "ipaddresses", &network::IP_ADDRESSES),
    ("networking.k8s.io", "networkpolicies", &network::NETWORK_POLICIES),
    ("networking.k8s.io", "servicecidrs", &network::SERVICE_CIDRS),
    ("node.k8s.io", "runtimeclasses", &cluster::RUNTIME_CLASSES),
    ("policy", "poddisruptionbudgets", &workloads::DISRUPTION_BUDGETS),
    ("rbac.authorization.k8s.io", "clusterrolebindings", &admission::ROLE_BINDINGS),
    ("rbac.authorization.k8s.io", "rolebindings", &admission::ROLE_BINDINGS),
    ("resource.k8s.io", "deviceclasses", &cluster::NAME_AND_AGE),
    ("resource.k8s.io", "devicetaintrules", &extension::DEVICE_TAINT_RULES),
    ("resource.k8s.io", "resourceclaims", &cluster::RESOURCE_CLAIMS),
    ("resource.k8s.io", "resourceclaimtemplates", &cluster::NAME_AND_AGE),
    ("resource.k8s.io", "resourceslices", &cluster::RESOURCE_SLICES),
    ("scheduling.k8s.io", "priorityclasses", &cluster::PRIORITY_CLASSES),
    ("storage.k8s.io", "csidrivers", &storage::CSI_DRIVERS),
    ("storage.k8s.io", "csinodes", &storage::CSI_NODES),
    ("storage.k8s.io", "storageclasses", &storage::STORAGE_CLASSES),
    ("storage.k8s.io", "volumeattachments", &storage::ATTACHMENTS),
    ("storage.k8s.io", "volumeattributesclasses", &storage::ATTRIBUTES_CLASSES),
    ("storagemigration.k8s.io", "storageversionmigrations", &extension::MIGRATIONS),
];

/// How a resource is shown; name and creation time where nothing else is known.
pub fn table(group: &str, resource: &str) -> &'static Table {
    TABLES.binary_search_by(|(g, r, _)| (*g, *r).cmp(&(group, resource))).map_or(&DEFAULT, |at| TABLES[at].2)
}

/// The columns of a resource.
pub fn columns(group: &str, resource: &str) -> &'static [Column] {
    table(group, resource).columns
}

/// The cells of one object, as many as there are columns.
pub fn cells(group: &str, resource: &str, object: &Value, now: Timestamp) -> Vec<Value> {
    (table(group, resource).cells)(object, now)
}

/// The row's `conditions`: pods that ended say so.
pub fn row_conditions(group: &str, resource: &str, object: &Value) -> Vec<Value> {
    let (reason, message) = match (group, resource, object.str_at("status.phase")) {
        ("", "pods", "Succeeded") => ("Succeeded", "The pod has completed successfully."),
        ("", "pods", "Failed") => ("Failed", "The pod failed."),
        _ => return Vec::new(),
    };
    let fields = [("type", "Completed"), ("status", "True"), ("reason", reason), ("message", message)];
    vec![fields.into_iter().collect::<Map>().into()]
}

/// The object that a list's table marks as the default: the newest of the StorageClasses that
/// call themselves so, the first by name among equals.
pub fn marked_default<'a>(
    group: &str,
    resource: &str,
    objects: impl IntoIterator<Item = &'a Value>,
) -> Option<&'a str> {
    if (group, resource) != ("storage.k8s.io", "storageclasses") {
        return None;
    }
    let is_default = |class: &Value| {
        ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
            .iter()
            .any(|key| class.entry("metadata.annotations", key).as_str() == Some("true"))
    };
    let newest = objects.into_iter().filter(|class| is_default(class)).max_by(|a, b| {
        let key = |class: &Value| age::instant(class.at("metadata.creationTimestamp"));
        key(a).cmp(&key(b)).then_with(|| b.str_at("metadata.name").cmp(a.str_at("metadata.name")))
    });
    newest.map(|class| class.str_at("metadata.name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::tree;

    #[test]
    fn the_tables_are_sorted_and_their_rows_as_wide_as_their_columns() {
        assert!(TABLES.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)));
        let empty = Value::object();
        for (group, resource, table) in TABLES {
            let cells = (table.cells)(&empty, Timestamp::UNIX_EPOCH);
            assert_eq!(cells.len(), table.columns.len(), "{resource}.{group}");
        }
    }

    #[test]
    fn what_has_no_table_shows_name_and_time() {
        let role = tree(json!({"metadata": {"name": "r", "creationTimestamp": "2020-01-01T00:00:00Z"}}));
        assert_eq!(columns("rbac.authorization.k8s.io", "roles")[1].name, "Created At");
        let cells = cells("rbac.authorization.k8s.io", "roles", &role, Timestamp::UNIX_EPOCH);
        assert_eq!(cells, ["r".into(), "2020-01-01T00:00:00Z".into()]);
    }

    #[test]
    fn the_newest_default_class_is_marked() {
        let class = |name: &str, year: i64, default: &str| {
            tree(json!({"metadata": {"name": name, "creationTimestamp": format!("{year}-01-01T00:00:00Z"),
                "annotations": {"storageclass.kubernetes.io/is-default-class": default}}}))
        };
        let classes =
            [class("a", 2020, "true"), class("b", 2021, "true"), class("c", 2021, "true"), class("d", 2022, "false")];
        assert_eq!(marked_default("storage.k8s.io", "storageclasses", &classes), Some("b"));
    }
}
