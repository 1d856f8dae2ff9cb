//! A pod: waited for, logs, commands, ports, eviction.

use std::future::Future;

use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, EvictParams, LogParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::steps::{Outcome, equal, eventually, refused, step};
use crate::{NAMESPACE, object};

const SCRIPT: &str = "echo first; echo second; mkdir /w; echo from the pod >/w/index.html; exec httpd -f -p 8080 -h /w";

async fn within<T>(future: impl Future<Output = T>) -> Outcome<T> {
    Ok(tokio::time::timeout(std::time::Duration::from_secs(60), future).await?)
}

pub async fn steps(client: &Client) {
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let image = std::env::var("IMAGE").unwrap_or_default();
    step("a pod, awaited until it runs", async {
        let pod = object(json!({"metadata": {"name": "worker", "labels": {"app": "worker"}}, "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": image, "command": ["sh", "-c", SCRIPT],
                "readinessProbe": {"periodSeconds": 1, "tcpSocket": {"port": 8080}}}],
        }}));
        pods.create(&PostParams::default(), &pod).await?;
        let running = within(await_condition(pods.clone(), "worker", conditions::is_pod_running())).await??;
        equal(running.map(|pod| pod.name_any()).as_deref(), Some("worker"))?;
        let ready = |pod: Option<&Pod>| {
            let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
        };
        within(await_condition(pods.clone(), "worker", ready)).await??;
        Ok(())
    })
    .await;
    step("logs, the tail, as a stream", async {
        equal(pods.logs("worker", &LogParams::default()).await?.as_str(), "first\nsecond\n")?;
        equal(
            pods.logs("worker", &LogParams { tail_lines: Some(1), ..LogParams::default() }).await?.as_str(),
            "second\n",
        )?;
        let followed = pods.log_stream("worker", &LogParams { follow: true, ..LogParams::default() }).await?;
        equal(within(followed.lines().try_next()).await??.as_deref(), Some("first"))
    })
    .await;
    step("exec: both outputs and the exit code", async {
        let command = ["sh", "-c", "echo out; echo err >&2; exit 7"];
        let mut process = pods.exec("worker", command, &AttachParams::default()).await?;
        let (mut out, mut err) = (String::new(), String::new());
        let (mut stdout, mut stderr) = (process.stdout().ok_or("no output")?, process.stderr().ok_or("no errors")?);
        let status = process.take_status().ok_or("no status")?;
        let (a, b) = futures::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
        (a?, b?);
        let status = within(status).await?.ok_or("no status came")?;
        equal((out.as_str(), err.as_str()), ("out\n", "err\n"))?;
        equal(status.reason.as_deref(), Some("NonZeroExitCode"))?;
        let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
        equal(
            causes
                .iter()
                .any(|cause| cause.reason.as_deref() == Some("ExitCode") && cause.message.as_deref() == Some("7")),
            true,
        )
    })
    .await;
    step("exec: 300 kB in, the same out, and the end of input is told", async {
        let mut process = pods.exec("worker", ["cat"], &AttachParams::default().stdin(true).stderr(false)).await?;
        let (mut stdin, mut stdout) = (process.stdin().ok_or("no input")?, process.stdout().ok_or("no output")?);
        let sent = "0123456789".repeat(30_000);
        let mut came = String::new();
        let write = async {
            stdin.write_all(sent.as_bytes()).await?;
            stdin.shutdown().await
        };
        let both = async { futures::join!(write, stdout.read_to_string(&mut came)) };
        let (wrote, read) = within(both).await?;
        (wrote?, read?);
        equal(came == sent, true)?;
        within(process.join()).await??;
        Ok(())
    })
    .await;
    step("exec with a terminal", async {
        let mut process = pods.exec("worker", ["sh", "-c", "tty"], &AttachParams::interactive_tty()).await?;
        let mut said = String::new();
        let mut stdout = process.stdout().ok_or("no output")?;
        within(stdout.read_to_string(&mut said)).await??;
        equal(said.trim_end().starts_with("/dev/pts/"), true)
    })
    .await;
    step("port-forward", async {
        let mut forward = pods.portforward("worker", &[8080]).await?;
        let mut port = forward.take_stream(8080).ok_or("no stream")?;
        port.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        let mut page = String::new();
        within(port.read_to_string(&mut page)).await??;
        equal(page.ends_with("\r\n\r\nfrom the pod\n"), true)
    })
    .await;
    step("port-forward to where nobody listens tells so", async {
        let mut forward = pods.portforward("worker", &[8081]).await?;
        let error = forward.take_error(8081).ok_or("no error stream")?;
        let said = within(error).await?.unwrap_or_default();
        equal(said.contains("8081"), true)
    })
    .await;
    step("an ephemeral container", async {
        let look = json!({"name": "look", "image": image, "command": ["wget", "-qO-", "http://127.0.0.1:8080/"]});
        let patch = Patch::Strategic(json!({"spec": {"ephemeralContainers": [look]}}));
        pods.patch_ephemeral_containers("worker", &PatchParams::default(), &patch).await?;
        let params = LogParams { container: Some("look".into()), ..LogParams::default() };
        eventually(30, || async { equal(pods.logs("worker", &params).await?.as_str(), "from the pod\n") }).await
    })
    .await;
    step("a field that can't be changed", async {
        let patch = Patch::Merge(json!({"spec": {"nodeName": "elsewhere"}}));
        let status = refused(422, pods.patch("worker", &PatchParams::default(), &patch).await)?;
        equal(status.reason.as_str(), "Invalid")
    })
    .await;
    step("an eviction, awaited until it is gone", async {
        let uid = pods.get("worker").await?.uid().unwrap_or_default();
        pods.evict("worker", &EvictParams::default()).await?;
        within(await_condition(pods.clone(), "worker", conditions::is_deleted(&uid))).await??;
        Ok(())
    })
    .await;
}
