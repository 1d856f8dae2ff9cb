//! The kube-rs client: what controllers and tools written with `kube` do to a cluster, a step a line.
//! KUBECONFIG leads to the cluster, IMAGE is an image with busybox that its node has.

mod controller;
mod election;
mod objects;
mod pods;
mod steps;
mod watches;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use steps::{Outcome, end, equal, eventually, step};

pub const NAMESPACE: &str = "kube-rs";

/// An object from JSON.
pub fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("the JSON of an object in this program")
}

#[tokio::main]
async fn main() {
    let client = step("a client from a kubeconfig", async { Ok(Client::try_default().await?) }).await;
    step("the server's version", async {
        let version = client.apiserver_version().await?;
        equal((version.major.as_str(), version.minor.as_str()), ("1", "37"))
    })
    .await;
    step("a namespace, whose default account comes", namespace(&client)).await;
    objects::steps(&client).await;
    watches::steps(&client).await;
    pods::steps(&client).await;
    controller::steps(&client).await;
    election::steps(&client).await;
    step("the namespace goes with all in it", async {
        let namespaces = Api::<Namespace>::all(client.clone());
        namespaces.delete(NAMESPACE, &DeleteParams::default()).await?;
        eventually(60, || async { equal(namespaces.get_opt(NAMESPACE).await?.is_none(), true) }).await
    })
    .await;
    end();
}

async fn namespace(client: &Client) -> Outcome {
    let made = object(json!({"metadata": {"name": NAMESPACE}}));
    let made = Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &made).await?;
    equal(made.status.and_then(|status| status.phase).as_deref(), Some("Active"))?;
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), NAMESPACE);
    eventually(20, || async { Ok(accounts.get("default").await.map(drop)?) }).await
}
