//! Watchers and reflectors: with a list, with a streaming list, of one object, of metadata.

use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PartialObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event, watch_object, watcher};
use kube::runtime::{WatchStreamExt, predicates};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::time::timeout;

use crate::steps::{Outcome, equal, eventually, step};
use crate::{NAMESPACE, object};

/// The next of a stream, within ten seconds.
async fn next<T, E>(stream: &mut (impl Stream<Item = Result<T, E>> + Unpin)) -> Outcome<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    Ok(timeout(Duration::from_secs(10), stream.try_next()).await??.ok_or("the stream ended")?)
}

pub async fn steps(client: &Client) {
    let secrets = Api::<Secret>::namespaced(client.clone(), NAMESPACE);
    let put = async |name: &str| -> Outcome {
        let one = object(json!({"metadata": {"name": name, "labels": {"set": "w"}}, "stringData": {"n": "0"}}));
        secrets.create(&PostParams::default(), &one).await?;
        Ok(())
    };
    let touch = async |name: &str, n: u32| -> Outcome {
        secrets
            .patch(name, &PatchParams::default(), &Patch::Merge(json!({"stringData": {"n": n.to_string()}})))
            .await?;
        Ok(())
    };
    for (name, config) in [
        ("a watcher that lists in pages", watcher::Config::default().labels("set=w").page_size(2)),
        ("a watcher with a streaming list", watcher::Config::default().labels("set=w").streaming_lists()),
    ] {
        step(name, async {
            for name in ["a", "b", "c"] {
                put(name).await?;
            }
            let mut events = pin!(watcher(secrets.clone(), config));
            let mut told = Vec::new();
            // Five of the beginning, then what is done below.
            for at in 0..8 {
                match at {
                    5 => put("d").await?,
                    6 => touch("a", 1).await?,
                    7 => drop(secrets.delete("b", &DeleteParams::default()).await?),
                    _ => {}
                }
                told.push(match next(&mut events).await? {
                    Event::Init => "init".to_owned(),
                    Event::InitApply(one) => format!("initial {}", one.name_any()),
                    Event::InitDone => "done".to_owned(),
                    Event::Apply(one) => format!("applied {}", one.name_any()),
                    Event::Delete(one) => format!("deleted {}", one.name_any()),
                });
            }
            equal(
                told,
                ["init", "initial a", "initial b", "initial c", "done", "applied d", "applied a", "deleted b"],
            )?;
            for name in ["a", "c", "d"] {
                secrets.delete(name, &DeleteParams::default()).await?;
            }
            Ok(())
        })
        .await;
    }
    step("a watch of one object: not there, there, changed, gone", async {
        let mut states = pin!(watch_object(secrets.clone(), "one"));
        let mut told = Vec::new();
        for at in 0..4 {
            match at {
                1 => put("one").await?,
                2 => touch("one", 5).await?,
                3 => drop(secrets.delete("one", &DeleteParams::default()).await?),
                _ => {}
            }
            let state = next(&mut states).await?;
            told.push(state.map(|one| one.data.unwrap_or_default()["n"].0.clone()));
        }
        equal(told, [None, Some(b"0".to_vec()), Some(b"5".to_vec()), None])
    })
    .await;
    step("a reflector's store follows; a predicate hides what did not change", async {
        let (reader, writer) = reflector::store::<Secret>();
        let config = watcher::Config::default().labels("set=w");
        let reflected = watcher(secrets.clone(), config)
            .default_backoff()
            .reflect(writer)
            .applied_objects()
            .predicate_filter(predicates::labels, Default::default());
        let seen = tokio::spawn(async move {
            let mut names = Vec::new();
            let mut reflected = pin!(reflected);
            while let Some(Ok(one)) = reflected.next().await {
                names.push(one.name_any());
                if one.name_any() == "last" {
                    break;
                }
            }
            names
        });
        reader.wait_until_ready().await?;
        put("x").await?;
        let key = ObjectRef::new("x").within(NAMESPACE);
        eventually(10, || async { equal(reader.get(&key).is_some(), true) }).await?;
        // Its data changes, its labels don't.
        touch("x", 9).await?;
        eventually(10, || async {
            equal(reader.get(&key).and_then(|one| one.data.clone()).unwrap_or_default()["n"].0.clone(), b"9")
        })
        .await?;
        put("last").await?;
        equal(timeout(Duration::from_secs(10), seen).await??, ["x", "last"])?;
        equal(reader.len(), 2)
    })
    .await;
    step("a watcher of metadata", async {
        let metadata = Api::<PartialObjectMeta<Secret>>::namespaced(client.clone(), NAMESPACE);
        let mut events = pin!(watcher(metadata, watcher::Config::default().labels("set=w")).applied_objects());
        let mut names = [next(&mut events).await?.name_any(), next(&mut events).await?.name_any()];
        names.sort();
        equal(names, ["last", "x"])
    })
    .await;
}
