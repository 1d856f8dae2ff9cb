//! Two who want one Lease: who has it renews it, the other takes it when it is given up, never before.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::NAMESPACE;
use crate::steps::{Outcome, equal, refused, step};

const SECONDS: i32 = 15;

/// Takes the Lease as it was seen, if nobody did since.
async fn take(leases: &Api<Lease>, seen: &Lease, who: &str) -> kube::Result<Lease> {
    let mut taken = seen.clone();
    let spec = taken.spec.get_or_insert_default();
    if spec.holder_identity.as_deref() != Some(who) {
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default() + 1);
        spec.acquire_time = Some(MicroTime(Timestamp::now()));
    }
    spec.holder_identity = Some(who.to_owned());
    spec.renew_time = Some(MicroTime(Timestamp::now()));
    leases.replace("leader", &PostParams::default(), &taken).await
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|who| !who.is_empty())
}

pub async fn steps(client: &Client) {
    let leases = Api::<Lease>::namespaced(client.clone(), NAMESPACE);
    step("a Lease that nobody has, and two who take it at once: one gets it", async {
        let free =
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader"}, "spec": {"leaseDurationSeconds": SECONDS}});
        let seen = leases.patch("leader", &PatchParams::apply("steps"), &Patch::Apply(free)).await?;
        let (one, two) = futures::join!(take(&leases, &seen, "one"), take(&leases, &seen, "two"));
        let (won, lost) = if one.is_ok() { (one, two) } else { (two, one) };
        refused(409, lost)?;
        equal(holder(&leases.get("leader").await?), holder(&won?))
    })
    .await;
    step("who has it renews it; microseconds are kept", async {
        let held = leases.get("leader").await?;
        let who = holder(&held).ok_or("nobody")?.to_owned();
        let renewed = take(&leases, &held, &who).await?;
        let stored = leases.get("leader").await?;
        equal(
            stored.spec.as_ref().and_then(|spec| spec.renew_time.clone()),
            renewed.spec.as_ref().and_then(|spec| spec.renew_time.clone()),
        )?;
        equal(renewed.spec.and_then(|spec| spec.lease_transitions), Some(1))
    })
    .await;
    step("given up, it is another's", async {
        let given: Outcome<Lease> = async {
            let mut held = leases.get("leader").await?;
            held.spec.get_or_insert_default().holder_identity = Some(String::new());
            Ok(leases.replace("leader", &PostParams::default(), &held).await?)
        }
        .await;
        let given = given?;
        equal(holder(&given), None)?;
        let taken = take(&leases, &given, "three").await?;
        equal(holder(&taken), Some("three"))?;
        equal(taken.spec.and_then(|spec| spec.lease_transitions), Some(2))
    })
    .await;
}
