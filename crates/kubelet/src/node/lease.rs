//! The node's lease: the sign of life that is cheap. Upstream: component-helpers/apimachinery/lease.

use std::time::Duration;

use client::{Kind, Object, WriteOptions, resources};
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::Node,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference},
};

use crate::kubelet::Kubelet;

const NAMESPACE: &str = "kube-node-lease";
/// The lease is renewed when this share of it is over.
const RENEW_FRACTION: f64 = 0.25;
/// Renewals that fail are tried again at once so often.
const TRIES: usize = 5;

/// Renews the lease for ever.
pub async fn keep(kubelet: &Kubelet) {
    let seconds = u64::try_from(kubelet.config.node_lease_duration_seconds).unwrap_or(40);
    let period = Duration::from_secs(seconds).mul_f64(RENEW_FRACTION);
    let mut known: Option<Object<Lease>> = None;
    loop {
        for _ in 0..TRIES {
            match renew(kubelet, known.take()).await {
                Ok(lease) => {
                    known = Some(lease);
                    break;
                }
                Err(error) => tracing::info!(%error, "the node's lease could not be renewed"),
            }
        }
        tokio::time::sleep(kubelet.given.chance.jitter(period, 0.04)).await;
    }
}

async fn renew(kubelet: &Kubelet, known: Option<Object<Lease>>) -> Result<Object<Lease>, client::ClientError> {
    let leases = kubelet.client.namespaced(&resources::LEASES, NAMESPACE);
    let name = &kubelet.config.node_name;
    let now = kubelet.given.now();
    let known = match known {
        Some(lease) => Some(lease),
        None => leases.get_opt(name).await?.map(client::Answer::object).transpose()?,
    };
    let written = match known {
        Some(lease) => {
            let time = micro(now);
            let changed = lease.edit(|tree| {
                tree.set("spec.renewTime", time.as_str());
                tree.set("spec.holderIdentity", name.as_str());
            })?;
            leases.update(changed, &WriteOptions::default()).await?
        }
        None => leases.create(new(kubelet, name, now).await.encode(), &WriteOptions::default()).await?,
    };
    written.object()
}

/// With the node as its owner, so that it goes with it.
async fn new(kubelet: &Kubelet, name: &str, now: jiff::Timestamp) -> Lease {
    let mut lease = Lease::default();
    lease.metadata.name = Some(name.to_owned());
    lease.metadata.namespace = Some(NAMESPACE.to_owned());
    let node = kubelet.client.kind::<Node>("").get(name).await.and_then(|answer| answer.view::<Node>());
    lease.metadata.owner_references = node.ok().map(|node| {
        vec![OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: name.to_owned(),
            uid: node.metadata.uid.unwrap_or_default(),
            ..OwnerReference::default()
        }]
    });
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(name.to_owned()),
        lease_duration_seconds: Some(kubelet.config.node_lease_duration_seconds),
        renew_time: Some(MicroTime(now)),
        ..LeaseSpec::default()
    });
    lease
}

/// As the API writes it: six digits.
fn micro(now: jiff::Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
