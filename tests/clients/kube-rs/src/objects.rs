//! Objects: made, changed in all ways, in conflict, by kinds that are only known at run time.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::core::{Expression, Selector};
use kube::discovery::{Discovery, Scope};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::steps::{equal, refused, step};
use crate::{NAMESPACE, object};

pub async fn steps(client: &Client) {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let apply = |value: &str| {
        Patch::Apply(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"k": value}}),
        )
    };

    step("discovery: kinds, scopes, what can be done", async {
        let found = Discovery::new(client.clone()).run().await?;
        let (resource, capabilities) =
            found.resolve_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment")).ok_or("no Deployments")?;
        equal(resource.plural.as_str(), "deployments")?;
        equal(capabilities.scope == Scope::Namespaced && capabilities.supports_operation("watch"), true)?;
        equal(capabilities.subresources.iter().any(|(one, _)| one.plural == "scale"), true)
    })
    .await;
    step("a dry run, then the object, then that it is taken", async {
        let one: ConfigMap =
            object(json!({"metadata": {"name": "one", "labels": {"n": "1"}}, "data": {"a": "1", "b": "2"}}));
        maps.create(&PostParams { dry_run: true, ..PostParams::default() }, &one).await?;
        equal(maps.get_opt("one").await?.is_none(), true)?;
        maps.create(&PostParams::default(), &one).await?;
        let status = refused(409, maps.create(&PostParams::default(), &one).await)?;
        equal(status.reason.as_str(), "AlreadyExists")
    })
    .await;
    step("replace, and replace by one that is stale", async {
        let old = maps.get("one").await?;
        let mut new = old.clone();
        new.data.get_or_insert_default().insert("a".into(), "2".into());
        let new = maps.replace("one", &PostParams::default(), &new).await?;
        equal(new.resource_version() != old.resource_version(), true)?;
        equal(refused(409, maps.replace("one", &PostParams::default(), &old).await)?.reason.as_str(), "Conflict")
    })
    .await;
    step("merge, JSON and strategic merge patches", async {
        let params = PatchParams::default();
        let merged = maps.patch("one", &params, &Patch::Merge(json!({"data": {"a": null, "c": "3"}}))).await?;
        equal(merged.data.unwrap_or_default().keys().cloned().collect::<String>(), "bc")?;
        let json_patch: kube::core::params::Patch<ConfigMap> =
            Patch::Json(serde_json::from_value(json!([{"op": "test", "path": "/data/b", "value": "2"}, {"op": "move", "from": "/data/b", "path": "/data/d"}]))?);
        let patched = maps.patch("one", &params, &json_patch).await?;
        equal(patched.data.unwrap_or_default().keys().cloned().collect::<String>(), "cd")?;
        refused(422, maps.patch("one", &params, &json_patch).await)?;
        let strategic = maps.patch("one", &params, &Patch::Strategic(json!({"metadata": {"finalizers": ["example.com/a"]}}))).await?;
        let more = maps.patch("one", &params, &Patch::Strategic(json!({"metadata": {"finalizers": ["example.com/b"]}}))).await?;
        equal((strategic.finalizers().len(), more.finalizers().len()), (1, 2))
    })
    .await;
    step("server-side apply, a conflict, force, fields given up", async {
        let first = PatchParams::apply("first");
        maps.patch("applied", &first, &apply("1")).await?;
        let status = refused(409, maps.patch("applied", &PatchParams::apply("second"), &apply("2")).await)?;
        equal(status.details.map(|details| details.causes[0].field.clone()).as_deref(), Some(".data.k"))?;
        let forced = maps.patch("applied", &PatchParams::apply("second").force(), &apply("2")).await?;
        equal(forced.data.unwrap_or_default()["k"].as_str(), "2")?;
        let nothing = Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}}));
        let left = maps.patch("applied", &PatchParams::apply("second"), &nothing).await?;
        equal(left.data.unwrap_or_default().len(), 0)
    })
    .await;
    step("strict validation", async {
        let strict = PatchParams::apply("first").validation_strict();
        let wrong =
            Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "dta": {}}));
        // Apply knows no fields but those of the schema, however strict it is.
        let outcome = maps.patch("applied", &strict, &wrong).await;
        equal(matches!(outcome, Err(kube::Error::Api(status)) if status.message.contains("dta")), true)
    })
    .await;
    step("lists by selectors, in pages, as metadata only", async {
        for n in 0..12 {
            let one = object(json!({"metadata": {"name": format!("p-{n:02}"), "labels": {"set": "p", "odd": (n % 2 == 1).to_string()}}}));
            maps.create(&PostParams::default(), &one).await?;
        }
        let selector: Selector = Expression::In("odd".into(), ["true".to_owned()].into()).into();
        equal(maps.list(&ListParams::default().labels_from(&selector)).await?.items.len(), 6)?;
        equal(maps.list(&ListParams::default().fields("metadata.name=p-03")).await?.items.len(), 1)?;
        let (mut names, mut token, mut pages) = (Vec::new(), None::<String>, 0);
        loop {
            let mut params = ListParams::default().labels("set=p").limit(5);
            params.continue_token = token.clone();
            let page = maps.list_metadata(&params).await?;
            names.extend(page.items.iter().map(ResourceExt::name_any));
            pages += 1;
            token = page.metadata.continue_.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        equal(names, (0..12).map(|n| format!("p-{n:02}")).collect::<Vec<_>>())?;
        equal(pages, 3)
    })
    .await;
    step("entries: changed where they are, made where they are not", async {
        for expected in ["1", "2"] {
            let mut entry = maps
                .entry("entry")
                .await?
                .and_modify(|map| map.data = Some([("n".to_owned(), "2".to_owned())].into()))
                .or_insert(|| object(json!({"metadata": {"name": "entry"}, "data": {"n": "1"}})));
            entry.commit(&PostParams::default()).await?;
            equal(entry.get().data.clone().unwrap_or_default()["n"].as_str(), expected)?;
        }
        Ok(())
    })
    .await;
    step("an object whose kind is only known now", async {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("networking.k8s.io", "v1", "NetworkPolicy"));
        let policies = Api::<DynamicObject>::namespaced_with(client.clone(), NAMESPACE, &kind);
        let policy = DynamicObject::new("deny", &kind).data(json!({"spec": {"podSelector": {}}}));
        let made = policies.create(&PostParams::default(), &policy).await?;
        equal(&made.data["spec"]["policyTypes"], &json!(["Ingress"]))?;
        policies.delete("deny", &DeleteParams::default()).await?;
        equal(policies.get_opt("deny").await?.is_none(), true)
    })
    .await;
    step("scale and status as subresources", async {
        let deployments = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
        let none = object(json!({"metadata": {"name": "none"}, "spec": {
            "paused": true, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "example.com/none"}]}},
        }}));
        deployments.create(&PostParams::default(), &none).await?;
        let scale = deployments.patch_scale("none", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 2}}))).await?;
        equal(scale.spec.and_then(|spec| spec.replicas), Some(2))?;
        let condition = json!({"status": {"conditions": [{"type": "Checked", "status": "True"}]}});
        let patched = deployments.patch_status("none", &PatchParams::default(), &Patch::Strategic(condition)).await?;
        let conditions = patched.status.and_then(|status| status.conditions).unwrap_or_default();
        equal(conditions.iter().any(|one| one.type_.as_deref() == Some("Checked")), true)?;
        deployments.delete("none", &DeleteParams::foreground()).await?;
        Ok(())
    })
    .await;
    step("finalizers hold, a collection goes", async {
        maps.delete("one", &DeleteParams::default()).await?;
        equal(maps.get("one").await?.metadata.deletion_timestamp.is_some(), true)?;
        maps.patch("one", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await?;
        equal(maps.get_opt("one").await?.is_none(), true)?;
        maps.delete_collection(&DeleteParams::default(), &ListParams::default().labels("set=p")).await?;
        equal(maps.list(&ListParams::default().labels("set=p")).await?.items.len(), 0)
    })
    .await;
}
