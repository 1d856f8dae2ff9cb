//! Which collection of the API a request is about.

use std::borrow::Cow;

/// A resource: group, version, plural, kind and scope. Built-in ones are constants in [`resources`];
/// custom ones are made from discovery or a CustomResourceDefinition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// `v1`, `v1beta1` …
    pub version: Cow<'static, str>,
    /// As in paths: `pods`.
    pub plural: Cow<'static, str>,
    /// As in objects: `Pod`.
    pub kind: Cow<'static, str>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

// === impl Resource ===

impl Resource {
    /// A built-in resource.
    pub const fn fixed(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
        namespaced: bool,
    ) -> Resource {
        Resource {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            plural: Cow::Borrowed(plural),
            kind: Cow::Borrowed(kind),
            namespaced,
        }
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone().into_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `pods`, `deployments.apps`: as messages name it.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone().into_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The path of the collection, of one namespace or (empty `namespace`) of all.
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "/api/".to_owned() } else { format!("/apis/{}/", self.group) };
        if self.namespaced && !namespace.is_empty() {
            format!("{root}{}/namespaces/{namespace}/{}", self.version, self.plural)
        } else {
            format!("{root}{}/{}", self.version, self.plural)
        }
    }
}

macro_rules! resources {
    ($($name:ident $group:literal $version:literal $plural:literal $kind:literal $namespaced:literal;)*) => {
        /// The built-in resources, in the versions that v1.37 prefers.
        pub mod resources {
            use super::Resource;
            $(
                #[doc = concat!("`", $plural, "` of `", $group, "/", $version, "`.")]
                pub const $name: Resource = Resource::fixed($group, $version, $plural, $kind, $namespaced);
            )*
            /// All of them.
            pub const ALL: &[Resource] = &[$($name),*];
        }
    };
}

resources! {
    BINDINGS "" "v1" "bindings" "Binding" true;
    CONFIG_MAPS "" "v1" "configmaps" "ConfigMap" true;
    ENDPOINTS "" "v1" "endpoints" "Endpoints" true;
    EVENTS "" "v1" "events" "Event" true;
    LIMIT_RANGES "" "v1" "limitranges" "LimitRange" true;
    NAMESPACES "" "v1" "namespaces" "Namespace" false;
    NODES "" "v1" "nodes" "Node" false;
    PERSISTENT_VOLUME_CLAIMS "" "v1" "persistentvolumeclaims" "PersistentVolumeClaim" true;
    PERSISTENT_VOLUMES "" "v1" "persistentvolumes" "PersistentVolume" false;
    POD_TEMPLATES "" "v1" "podtemplates" "PodTemplate" true;
    PODS "" "v1" "pods" "Pod" true;
    REPLICATION_CONTROLLERS "" "v1" "replicationcontrollers" "ReplicationController" true;
    RESOURCE_QUOTAS "" "v1" "resourcequotas" "ResourceQuota" true;
    SECRETS "" "v1" "secrets" "Secret" true;
    SERVICE_ACCOUNTS "" "v1" "serviceaccounts" "ServiceAccount" true;
    SERVICES "" "v1" "services" "Service" true;
    API_SERVICES "apiregistration.k8s.io" "v1" "apiservices" "APIService" false;
    CONTROLLER_REVISIONS "apps" "v1" "controllerrevisions" "ControllerRevision" true;
    DAEMON_SETS "apps" "v1" "daemonsets" "DaemonSet" true;
    DEPLOYMENTS "apps" "v1" "deployments" "Deployment" true;
    REPLICA_SETS "apps" "v1" "replicasets" "ReplicaSet" true;
    STATEFUL_SETS "apps" "v1" "statefulsets" "StatefulSet" true;
    EVENTS_V1 "events.k8s.io" "v1" "events" "Event" true;
    TOKEN_REVIEWS "authentication.k8s.io" "v1" "tokenreviews" "TokenReview" false;
    SUBJECT_ACCESS_REVIEWS "authorization.k8s.io" "v1" "subjectaccessreviews" "SubjectAccessReview" false;
    HORIZONTAL_POD_AUTOSCALERS "autoscaling" "v2" "horizontalpodautoscalers" "HorizontalPodAutoscaler" true;
    CRON_JOBS "batch" "v1" "cronjobs" "CronJob" true;
    JOBS "batch" "v1" "jobs" "Job" true;
    CERTIFICATE_SIGNING_REQUESTS
        "certificates.k8s.io" "v1" "certificatesigningrequests" "CertificateSigningRequest" false;
    CLUSTER_TRUST_BUNDLES "certificates.k8s.io" "v1" "clustertrustbundles" "ClusterTrustBundle" false;
    POD_CERTIFICATE_REQUESTS "certificates.k8s.io" "v1" "podcertificaterequests" "PodCertificateRequest" true;
    INGRESS_CLASSES "networking.k8s.io" "v1" "ingressclasses" "IngressClass" false;
    INGRESSES "networking.k8s.io" "v1" "ingresses" "Ingress" true;
    IP_ADDRESSES "networking.k8s.io" "v1" "ipaddresses" "IPAddress" false;
    NETWORK_POLICIES "networking.k8s.io" "v1" "networkpolicies" "NetworkPolicy" true;
    SERVICE_CIDRS "networking.k8s.io" "v1" "servicecidrs" "ServiceCIDR" false;
    POD_DISRUPTION_BUDGETS "policy" "v1" "poddisruptionbudgets" "PodDisruptionBudget" true;
    CLUSTER_ROLE_BINDINGS "rbac.authorization.k8s.io" "v1" "clusterrolebindings" "ClusterRoleBinding" false;
    CLUSTER_ROLES "rbac.authorization.k8s.io" "v1" "clusterroles" "ClusterRole" false;
    ROLE_BINDINGS "rbac.authorization.k8s.io" "v1" "rolebindings" "RoleBinding" true;
    ROLES "rbac.authorization.k8s.io" "v1" "roles" "Role" true;
    CSI_DRIVERS "storage.k8s.io" "v1" "csidrivers" "CSIDriver" false;
    CSI_NODES "storage.k8s.io" "v1" "csinodes" "CSINode" false;
    CSI_STORAGE_CAPACITIES "storage.k8s.io" "v1" "csistoragecapacities" "CSIStorageCapacity" true;
    STORAGE_CLASSES "storage.k8s.io" "v1" "storageclasses" "StorageClass" false;
    VOLUME_ATTACHMENTS "storage.k8s.io" "v1" "volumeattachments" "VolumeAttachment" false;
    VOLUME_ATTRIBUTES_CLASSES "storage.k8s.io" "v1" "volumeattributesclasses" "VolumeAttributesClass" false;
    MUTATING_ADMISSION_POLICIES
        "admissionregistration.k8s.io" "v1" "mutatingadmissionpolicies" "MutatingAdmissionPolicy" false;
    MUTATING_ADMISSION_POLICY_BINDINGS
        "admissionregistration.k8s.io" "v1" "mutatingadmissionpolicybindings" "MutatingAdmissionPolicyBinding" false;
    MUTATING_WEBHOOK_CONFIGURATIONS
        "admissionregistration.k8s.io" "v1" "mutatingwebhookconfigurations" "MutatingWebhookConfiguration" false;
    VALIDATING_ADMISSION_POLICIES
        "admissionregistration.k8s.io" "v1" "validatingadmissionpolicies" "ValidatingAdmissionPolicy" false;
    VALIDATING_ADMISSION_POLICY_BINDINGS
        "admissionregistration.k8s.io" "v1" "validatingadmissionpolicybindings" "ValidatingAdmissionPolicyBinding" false;
    VALIDATING_WEBHOOK_CONFIGURATIONS
        "admissionregistration.k8s.io" "v1" "validatingwebhookconfigurations" "ValidatingWebhookConfiguration" false;
    CUSTOM_RESOURCE_DEFINITIONS
        "apiextensions.k8s.io" "v1" "customresourcedefinitions" "CustomResourceDefinition" false;
    PRIORITY_CLASSES "scheduling.k8s.io" "v1" "priorityclasses" "PriorityClass" false;
    LEASES "coordination.k8s.io" "v1" "leases" "Lease" true;
    RUNTIME_CLASSES "node.k8s.io" "v1" "runtimeclasses" "RuntimeClass" false;
    ENDPOINT_SLICES "discovery.k8s.io" "v1" "endpointslices" "EndpointSlice" true;
    DEVICE_CLASSES "resource.k8s.io" "v1" "deviceclasses" "DeviceClass" false;
    RESOURCE_CLAIMS "resource.k8s.io" "v1" "resourceclaims" "ResourceClaim" true;
    RESOURCE_CLAIM_TEMPLATES "resource.k8s.io" "v1" "resourceclaimtemplates" "ResourceClaimTemplate" true;
    RESOURCE_SLICES "resource.k8s.io" "v1" "resourceslices" "ResourceSlice" false;
    FLOW_SCHEMAS "flowcontrol.apiserver.k8s.io" "v1" "flowschemas" "FlowSchema" false;
    PRIORITY_LEVEL_CONFIGURATIONS
        "flowcontrol.apiserver.k8s.io" "v1" "prioritylevelconfigurations" "PriorityLevelConfiguration" false;
}

#[cfg(test)]
mod tests {
    use super::resources::*;

    #[test]
    fn paths() {
        assert_eq!(PODS.path("kube-system"), "/api/v1/namespaces/kube-system/pods");
        assert_eq!(PODS.path(""), "/api/v1/pods");
        assert_eq!(NODES.path("ignored"), "/api/v1/nodes");
        assert_eq!(DEPLOYMENTS.path("x"), "/apis/apps/v1/namespaces/x/deployments");
        assert_eq!(DEPLOYMENTS.group_resource(), "deployments.apps");
    }

    #[test]
    fn the_table_has_no_row_twice() {
        let paths: std::collections::BTreeSet<_> = ALL.iter().map(|one| one.path("")).collect();
        assert_eq!(paths.len(), ALL.len());
    }
}
