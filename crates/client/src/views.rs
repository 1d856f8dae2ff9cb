//! Typed views: structs with the fields that their readers read.
//!
//! The serde code of the large `k8s_openapi` types is instantiated here and nowhere else: other crates decode with
//! [`View::decode`] and encode with [`Kind::encode`], never with `serde_json::from_slice::<Pod>`.

use k8s_openapi::api::*;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::error::ClientError;
use crate::resource::{Resource, resources};

/// What a cache or an answer can be read as.
pub trait View: Sized + Send + Sync + 'static {
    /// Whether readers need nothing but the metadata; the server is then asked for `PartialObjectMetadata` only.
    const METADATA_ONLY: bool = false;

    /// Reads the view from an object's JSON. `managedFields` are dropped: they are large, and no reader wants them.
    ///
    /// # Errors
    /// [`ClientError::Decode`] if the JSON has another shape.
    fn decode(bytes: &[u8]) -> Result<Self, ClientError>;

    /// The object's metadata.
    fn meta(&self) -> &ObjectMeta;
}

/// A whole typed object of one built-in kind.
pub trait Kind: View + Clone {
    /// Its resource.
    const RESOURCE: Resource;

    /// Its JSON with kind and apiVersion: for new objects. Updates edit the stored bytes instead
    /// ([`crate::json::edit`]).
    fn encode(&self) -> Vec<u8>;
}

/// Short access to metadata, empty where Go's would be empty.
pub trait MetaExt {
    /// The metadata itself.
    fn object_meta(&self) -> &ObjectMeta;

    /// `metadata.name`.
    fn name(&self) -> &str {
        self.object_meta().name.as_deref().unwrap_or_default()
    }

    /// `metadata.namespace`; empty for cluster-scoped objects.
    fn namespace(&self) -> &str {
        self.object_meta().namespace.as_deref().unwrap_or_default()
    }

    /// `metadata.uid`.
    fn uid(&self) -> &str {
        self.object_meta().uid.as_deref().unwrap_or_default()
    }

    /// `metadata.generation`.
    fn generation(&self) -> i64 {
        self.object_meta().generation.unwrap_or_default()
    }

    /// One label.
    fn label(&self, key: &str) -> Option<&str> {
        self.object_meta().labels.as_ref()?.get(key).map(String::as_str)
    }

    /// One annotation.
    fn annotation(&self, key: &str) -> Option<&str> {
        self.object_meta().annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Whether deletion has begun.
    fn is_deleting(&self) -> bool {
        self.object_meta().deletion_timestamp.is_some()
    }

    /// The owner that controls this object.
    fn controller_ref(&self) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference> {
        self.object_meta().owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
    }

    /// The UID of the owner that controls this object.
    fn controller_uid(&self) -> Option<&str> {
        self.controller_ref().map(|owner| owner.uid.as_str())
    }

    /// `metadata.creationTimestamp`.
    fn created(&self) -> Option<jiff::Timestamp> {
        self.object_meta().creation_timestamp.as_ref().map(|time| time.0)
    }
}

impl MetaExt for ObjectMeta {
    fn object_meta(&self) -> &ObjectMeta {
        self
    }
}

impl<T: View> MetaExt for T {
    fn object_meta(&self) -> &ObjectMeta {
        self.meta()
    }
}

/// A view of any resource that shows the metadata only (garbage collector, owner look-ups).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// `apiVersion` as the server wrote it: for `PartialObjectMetadata` that of `meta.k8s.io`.
    pub metadata: ObjectMeta,
}

// === impl Metadata ===

impl View for Metadata {
    const METADATA_ONLY: bool = true;

    fn decode(bytes: &[u8]) -> Result<Metadata, ClientError> {
        #[derive(serde::Deserialize)]
        struct Shape {
            #[serde(default)]
            metadata: ObjectMeta,
        }
        let Shape { mut metadata } =
            serde_json::from_slice(bytes).map_err(|error| ClientError::decode("PartialObjectMetadata", error))?;
        metadata.managed_fields = None;
        Ok(Metadata { metadata })
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

macro_rules! kinds {
    ($($kind:ty => $resource:ident;)*) => {$(
        impl View for $kind {
            fn decode(bytes: &[u8]) -> Result<Self, ClientError> {
                let decoded: Result<Self, serde_json::Error> = serde_json::from_slice(bytes);
                let mut object = decoded.map_err(|error| ClientError::decode(resources::$resource.kind, error))?;
                object.metadata.managed_fields = None;
                Ok(object)
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
        }

        impl Kind for $kind {
            const RESOURCE: Resource = resources::$resource;

            fn encode(&self) -> Vec<u8> {
                // Struct fields and string-keyed maps: nothing that JSON can't express.
                serde_json::to_vec(self).unwrap_or_default()
            }
        }
    )*};
}

kinds! {
    core::v1::Binding => BINDINGS;
    core::v1::ConfigMap => CONFIG_MAPS;
    core::v1::Endpoints => ENDPOINTS;
    core::v1::Event => EVENTS;
    core::v1::LimitRange => LIMIT_RANGES;
    core::v1::Namespace => NAMESPACES;
    core::v1::Node => NODES;
    core::v1::PersistentVolumeClaim => PERSISTENT_VOLUME_CLAIMS;
    core::v1::PersistentVolume => PERSISTENT_VOLUMES;
    core::v1::Pod => PODS;
    core::v1::ReplicationController => REPLICATION_CONTROLLERS;
    core::v1::ResourceQuota => RESOURCE_QUOTAS;
    core::v1::Secret => SECRETS;
    core::v1::ServiceAccount => SERVICE_ACCOUNTS;
    core::v1::Service => SERVICES;
    apps::v1::ControllerRevision => CONTROLLER_REVISIONS;
    apps::v1::DaemonSet => DAEMON_SETS;
    apps::v1::Deployment => DEPLOYMENTS;
    apps::v1::ReplicaSet => REPLICA_SETS;
    apps::v1::StatefulSet => STATEFUL_SETS;
    batch::v1::CronJob => CRON_JOBS;
    batch::v1::Job => JOBS;
    certificates::v1::CertificateSigningRequest => CERTIFICATE_SIGNING_REQUESTS;
    certificates::v1::PodCertificateRequest => POD_CERTIFICATE_REQUESTS;
    coordination::v1::Lease => LEASES;
    discovery::v1::EndpointSlice => ENDPOINT_SLICES;
    networking::v1::IPAddress => IP_ADDRESSES;
    networking::v1::NetworkPolicy => NETWORK_POLICIES;
    networking::v1::ServiceCIDR => SERVICE_CIDRS;
    node::v1::RuntimeClass => RUNTIME_CLASSES;
    policy::v1::PodDisruptionBudget => POD_DISRUPTION_BUDGETS;
    rbac::v1::ClusterRole => CLUSTER_ROLES;
    scheduling::v1::PriorityClass => PRIORITY_CLASSES;
    storage::v1::CSIDriver => CSI_DRIVERS;
    storage::v1::CSINode => CSI_NODES;
    storage::v1::StorageClass => STORAGE_CLASSES;
    storage::v1::VolumeAttributesClass => VOLUME_ATTRIBUTES_CLASSES;
    storage::v1::VolumeAttachment => VOLUME_ATTACHMENTS;
}
