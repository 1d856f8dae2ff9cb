//! Who says what objects of a resource use.

use jiff::Timestamp;
use smol_str::SmolStr;

use super::amounts::{Amounts, amount, count};
use super::pods;
use super::scopes::{self, Scope};
use crate::quantity::Quantity;
use crate::value::Value;

/// Resources that are no objects of their own, or never were counted.
const IGNORED: [(&str, &str); 10] = [
    ("", "bindings"),
    ("", "componentstatuses"),
    ("", "events"),
    ("events.k8s.io", "events"),
    ("authentication.k8s.io", "tokenreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
];
/// Resources that may be counted under their own names too.
const ALIASED: [&str; 4] = ["configmaps", "resourcequotas", "replicationcontrollers", "secrets"];
const SERVICES: [&str; 4] = ["count/services", "services", "services.loadbalancers", "services.nodeports"];
const BY_STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
const CLAIMS: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
const PER_DEVICE_CLASS: &str = ".deviceclass.resource.k8s.io/devices";
/// As many devices as a request for all of them may get.
const DEVICES_MAX: i64 = 32;

/// How objects of a resource are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evaluator {
    Pods,
    Services,
    Claims,
    ResourceClaims,
    /// By their number, under one or two names.
    Number(Vec<SmolStr>),
}

// === impl Evaluator ===

impl Evaluator {
    /// None for what is never counted.
    pub fn of(group: &str, plural: &str) -> Option<Evaluator> {
        if IGNORED.contains(&(group, plural)) {
            return None;
        }
        Some(match (group, plural) {
            ("", "pods") => Evaluator::Pods,
            ("", "services") => Evaluator::Services,
            ("", "persistentvolumeclaims") => Evaluator::Claims,
            ("resource.k8s.io", "resourceclaims") => Evaluator::ResourceClaims,
            ("", plural) if ALIASED.contains(&plural) => {
                Evaluator::Number(vec![object_count("", plural), plural.into()])
            }
            (group, plural) => Evaluator::Number(vec![object_count(group, plural)]),
        })
    }

    /// Whether a write may change what is used; `old` is missing on creation.
    pub fn handles(&self, subresource: &str, new: &Value, old: Option<&Value>) -> bool {
        match (self, subresource, old) {
            (_, "", None) => true,
            (Evaluator::Pods, "", Some(old)) => scopes::is_terminating(old) != scopes::is_terminating(new),
            (Evaluator::Pods, "resize", Some(_)) | (Evaluator::Claims, "status", Some(_)) => true,
            (Evaluator::Services | Evaluator::Claims | Evaluator::ResourceClaims, "", Some(_)) => true,
            _ => false,
        }
    }

    /// Whether a quota's resource is about these objects.
    pub fn counts(&self, name: &str) -> bool {
        match self {
            Evaluator::Pods => pods::is_counted(name),
            Evaluator::Services => SERVICES.contains(&name),
            Evaluator::Claims => {
                name == "count/persistentvolumeclaims"
                    || CLAIMS.contains(&name)
                    || name.rsplit_once(BY_STORAGE_CLASS).is_some_and(|(_, what)| CLAIMS.contains(&what))
            }
            Evaluator::ResourceClaims => {
                name == "count/resourceclaims.resource.k8s.io" || name.ends_with(PER_DEVICE_CLASS)
            }
            Evaluator::Number(names) => names.iter().any(|one| one == name),
        }
    }

    /// Whether an object is in a scope; most kinds know none.
    pub fn is_in(&self, scope: &Scope, object: &Value) -> bool {
        match self {
            Evaluator::Pods => scopes::has_pod(scope, object),
            Evaluator::Claims => scopes::has_claim(scope, object),
            _ => false,
        }
    }

    /// Whether a quota is about an object: it names something that is counted, and the object is in all its scopes.
    pub fn matches(&self, quota: &Value, object: &Value) -> bool {
        Amounts::read(quota.at("status.hard")).names().any(|name| self.counts(name))
            && scopes::of(quota).iter().all(|scope| self.is_in(scope, object))
    }

    /// Whether the object says what a quota of these resources needs to know.
    ///
    /// # Errors
    /// What is missing.
    pub fn constraints(&self, required: &[SmolStr], object: &Value) -> Result<(), String> {
        match self {
            Evaluator::Pods => pods::constraints(required, object),
            _ => Ok(()),
        }
    }

    /// What the object uses.
    pub fn usage(&self, object: &Value, now: Timestamp) -> Amounts {
        match self {
            Evaluator::Pods => pods::usage(object, now),
            Evaluator::Services => service(object),
            Evaluator::Claims => claim(object),
            Evaluator::ResourceClaims => resource_claim(object),
            Evaluator::Number(names) => names.iter().map(|name| (name.clone(), count(1))).collect(),
        }
    }
}

/// `count/deployments.apps`.
fn object_count(group: &str, plural: &str) -> SmolStr {
    match group {
        "" => format!("count/{plural}").into(),
        group => format!("count/{plural}.{group}").into(),
    }
}

fn service(service: &Value) -> Amounts {
    let ports = service.array_at("spec.ports");
    let all = ports.len();
    let allocated = ports.iter().filter(|port| port.i64_at("nodePort").unwrap_or_default() != 0).count();
    let (balancers, node_ports) = match service.str_at("spec.type") {
        "NodePort" => (0, all),
        "LoadBalancer" if service.at("spec.allocateLoadBalancerNodePorts").as_bool() == Some(false) => (1, allocated),
        "LoadBalancer" => (1, all),
        _ => (0, 0),
    };
    let number = |number: usize| count(i64::try_from(number).unwrap_or(i64::MAX));
    Amounts::one("count/services")
        .with("services", count(1))
        .with("services.loadbalancers", number(balancers))
        .with("services.nodeports", number(node_ports))
}

fn claim(claim: &Value) -> Amounts {
    let mut usage = Amounts::one("count/persistentvolumeclaims").with("persistentvolumeclaims", count(1));
    let annotated = claim.at("metadata.annotations").get("volume.beta.kubernetes.io/storage-class").as_str();
    let class = annotated.unwrap_or_else(|| claim.str_at("spec.storageClassName"));
    let mut of_class = |what: &str, amount: &Quantity| {
        if !class.is_empty() {
            usage.set(format!("{class}{BY_STORAGE_CLASS}{what}"), amount.clone());
        }
    };
    of_class("persistentvolumeclaims", &count(1));
    let storage = |path: &str| amount(claim.at(path).get("storage"));
    if let Some(mut requested) = storage("spec.resources.requests") {
        requested = requested.max(storage("status.allocatedResources").unwrap_or(Quantity::ZERO));
        requested.round_up(0);
        of_class("requests.storage", &requested);
        usage.set("requests.storage", requested);
    }
    usage
}

fn resource_claim(claim: &Value) -> Amounts {
    let mut usage = Amounts::one("count/resourceclaims.resource.k8s.io");
    let devices = |request: &Value| {
        let number = match request.str_at("allocationMode") {
            "ExactCount" => request.i64_at("count").unwrap_or_default(),
            "All" => DEVICES_MAX,
            _ => 0,
        };
        Amounts::default().with(format!("{}{PER_DEVICE_CLASS}", request.str_at("deviceClassName")), count(number))
    };
    for request in claim.array_at("spec.devices.requests") {
        let alternatives = request.array_at("firstAvailable");
        let mut most = Amounts::default();
        alternatives.iter().for_each(|one| most.raise(&devices(one)));
        if alternatives.is_empty() && !request.at("exactly").is_null() {
            most = devices(request.at("exactly"));
        }
        usage.add(&most);
    }
    usage
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::codec::json;

    #[rstest]
    #[case::inside(
        "services",
        r#"{"spec":{"type":"ClusterIP","ports":[{}]}}"#,
        "count/services=1,services=1,services.loadbalancers=0,services.nodeports=0"
    )]
    #[case::outside(
        "services",
        r#"{"spec":{"type":"NodePort","ports":[{},{}]}}"#,
        "count/services=1,services=1,services.loadbalancers=0,services.nodeports=2"
    )]
    #[case::balanced(
        "services",
        r#"{"spec":{"type":"LoadBalancer","allocateLoadBalancerNodePorts":false,"ports":[{"nodePort":30000},{}]}}"#,
        "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1"
    )]
    #[case::storage(
        "persistentvolumeclaims",
        r#"{"spec":{"storageClassName":"gold","resources":{"requests":{"storage":"1Gi"}}}}"#,
        "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi"
    )]
    #[case::number("configmaps", "{}", "configmaps=1,count/configmaps=1")]
    fn usages(#[case] plural: &str, #[case] text: &str, #[case] expected: &str) {
        let object = json::parse(text.as_bytes()).unwrap();
        let evaluator = Evaluator::of("", plural).unwrap();
        let usage = evaluator.usage(&object, Timestamp::UNIX_EPOCH);
        assert_eq!(usage.printed(), expected);
        assert!(usage.names().all(|name| evaluator.counts(name)));
    }

    #[test]
    fn devices_of_a_claim() {
        let text = r#"{"spec":{"devices":{"requests":[{"exactly":{"deviceClassName":"a","allocationMode":"ExactCount","count":2}},{"firstAvailable":[{"deviceClassName":"a","allocationMode":"ExactCount","count":1},{"deviceClassName":"b","allocationMode":"All"}]}]}}}"#;
        let usage = resource_claim(&json::parse(text.as_bytes()).unwrap());
        let expected = "a.deviceclass.resource.k8s.io/devices=3,b.deviceclass.resource.k8s.io/devices=32,count/resourceclaims.resource.k8s.io=1";
        assert_eq!(usage.printed(), expected);
    }

    #[test]
    fn names() {
        assert_eq!(
            Evaluator::of("apps", "deployments"),
            Some(Evaluator::Number(vec!["count/deployments.apps".into()]))
        );
        assert_eq!(Evaluator::of("", "events"), None);
    }
}
