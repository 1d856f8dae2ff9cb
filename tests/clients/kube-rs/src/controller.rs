//! A Controller: for ConfigMaps with a label it keeps Secrets that they own, tells of it by events, and cleans up
//! behind a finalizer.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event as StoredEvent;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::finalizer::{self, finalizer};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

use crate::steps::{equal, eventually, step};
use crate::{NAMESPACE, object};

const FINALIZER: &str = "example.com/cleanup";

struct Context {
    client: Client,
    recorder: Recorder,
}

type Fault = finalizer::Error<kube::Error>;

async fn reconcile(map: Arc<ConfigMap>, context: Arc<Context>) -> Result<Action, Fault> {
    let maps = Api::<ConfigMap>::namespaced(context.client.clone(), NAMESPACE);
    finalizer(&maps, FINALIZER, map, |event| async {
        match event {
            finalizer::Event::Apply(map) => apply(&map, &context).await,
            finalizer::Event::Cleanup(map) => cleanup(&map, &context).await,
        }
    })
    .await
}

async fn apply(map: &ConfigMap, context: &Context) -> Result<Action, kube::Error> {
    let secrets = Api::<Secret>::namespaced(context.client.clone(), NAMESPACE);
    let is_new = secrets.get_opt(&map.name_any()).await?.is_none();
    let wanted = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": map.name_any(), "ownerReferences": [map.controller_owner_ref(&())]},
        "stringData": map.data,
    });
    secrets.patch(&map.name_any(), &PatchParams::apply("controller").force(), &Patch::Apply(wanted)).await?;
    if is_new {
        tell(map, context, "Made").await?;
    }
    Ok(Action::await_change())
}

async fn cleanup(map: &ConfigMap, context: &Context) -> Result<Action, kube::Error> {
    let secrets = Api::<Secret>::namespaced(context.client.clone(), NAMESPACE);
    match secrets.delete(&map.name_any(), &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        outcome => drop(outcome?),
    }
    tell(map, context, "Cleaned").await?;
    Ok(Action::await_change())
}

async fn tell(map: &ConfigMap, context: &Context, reason: &str) -> Result<(), kube::Error> {
    let event = Event {
        type_: EventType::Normal,
        reason: reason.into(),
        note: Some(format!("for {}", map.name_any())),
        action: "Reconcile".into(),
        secondary: None,
    };
    context.recorder.publish(&event, &map.object_ref(&())).await
}

pub async fn steps(client: &Client) {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let secrets = Api::<Secret>::namespaced(client.clone(), NAMESPACE);
    let reporter = Reporter { controller: "kube-rs-client".into(), instance: None };
    let context = Arc::new(Context { client: client.clone(), recorder: Recorder::new(client.clone(), reporter) });
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let controller = Controller::new(maps.clone(), watcher::Config::default().labels("reconciled=yes"))
        .owns(secrets.clone(), watcher::Config::default())
        .graceful_shutdown_on(async { drop(stopped.await) })
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(1)), context)
        .for_each(async |_| {});
    let running = tokio::spawn(controller);
    let kept = async |name: &str, value: &str| {
        let (secrets, name, value) = (&secrets, name.to_owned(), value.to_owned());
        eventually(15, || async {
            let data = secrets.get(&name).await?.data.unwrap_or_default();
            equal(String::from_utf8_lossy(&data["k"].0), value.as_str())
        })
        .await
    };

    step("a Controller makes what is wanted, with its finalizer", async {
        let one = object(json!({"metadata": {"name": "c-one", "labels": {"reconciled": "yes"}}, "data": {"k": "1"}}));
        maps.create(&PostParams::default(), &one).await?;
        kept("c-one", "1").await?;
        equal(maps.get("c-one").await?.finalizers(), [FINALIZER])?;
        equal(secrets.get("c-one").await?.owner_references()[0].kind.as_str(), "ConfigMap")
    })
    .await;
    step("it follows changes", async {
        maps.patch("c-one", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "2"}}))).await?;
        kept("c-one", "2").await
    })
    .await;
    step("it puts right what others change or delete", async {
        let wrong = Patch::Merge(json!({"stringData": {"k": "wrong"}}));
        secrets.patch("c-one", &PatchParams::default(), &wrong).await?;
        kept("c-one", "2").await?;
        let uid = secrets.get("c-one").await?.uid();
        secrets.delete("c-one", &DeleteParams::default()).await?;
        eventually(15, || async { equal(secrets.get("c-one").await?.uid() != uid, true) }).await?;
        kept("c-one", "2").await
    })
    .await;
    step("it leaves others alone", async {
        let other = object(json!({"metadata": {"name": "c-other"}, "data": {"k": "1"}}));
        maps.create(&PostParams::default(), &other).await?;
        let two = object(json!({"metadata": {"name": "c-two", "labels": {"reconciled": "yes"}}, "data": {"k": "1"}}));
        maps.create(&PostParams::default(), &two).await?;
        kept("c-two", "1").await?;
        equal(secrets.get_opt("c-other").await?.is_none(), true)
    })
    .await;
    step("it cleans up before what it cares for goes", async {
        for name in ["c-one", "c-two"] {
            maps.delete(name, &DeleteParams::default()).await?;
            eventually(15, || async { equal(maps.get_opt(name).await?.is_none(), true) }).await?;
        }
        equal(secrets.get_opt("c-one").await?.is_none(), true)
    })
    .await;
    step("its events are there, repeated ones as a series", async {
        let events = Api::<StoredEvent>::namespaced(client.clone(), NAMESPACE);
        eventually(10, || async {
            let made = events.list(&ListParams::default().fields("reason=Made,regarding.name=c-one")).await?.items;
            equal(made.len(), 1)?;
            equal(made[0].series.as_ref().map(|series| series.count), Some(2))?;
            let cleaned =
                events.list(&ListParams::default().fields("reason=Cleaned,regarding.name=c-one")).await?.items;
            equal(cleaned.iter().map(|event| event.note.as_deref()).collect::<Vec<_>>(), [Some("for c-one")])
        })
        .await
    })
    .await;
    step("it stops when it is asked to", async {
        let _ = stop.send(());
        Ok(tokio::time::timeout(Duration::from_secs(10), running).await??)
    })
    .await;
}
