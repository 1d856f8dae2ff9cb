//! Requests, leader election and events against a scripted API server.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod fake;

use std::time::Duration;

use api::user::UserInfo;
use api::value::Value;
use client::{
    Client, DeleteOptions, EventRecorder, EventType, Given, LeaderConfig, LeaderElector, ListParams, MetaExt, Patch,
    WriteOptions, resources,
};
use fake::{Fake, Reply, pod};
use k8s_openapi::api::core::v1::Pod;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

fn client(fake: &Fake) -> Client {
    Client::in_process(fake.service(), UserInfo::service_account("kube-system", "test"))
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_is_asked_again_after_the_time_it_says() {
    let busy = || Reply::status(429, "TooManyRequests").header("retry-after", "3");
    let fake = Fake::new([busy(), busy(), Reply::json(&pod("a", 7))]);
    let begun = tokio::time::Instant::now();
    let answer = client(&fake).namespaced(&resources::PODS, "x").get("a").await.unwrap();
    assert_eq!((answer.revision(), answer.uid().as_str(), begun.elapsed().as_secs()), (7, "uid-a", 6));
    assert_eq!(answer.object::<Pod>().unwrap().name(), "a");
}

#[tokio::test(start_paused = true)]
async fn an_error_without_retry_after_comes_back_at_once() {
    let fake = Fake::new([Reply::status(500, "InternalError")]);
    let error = client(&fake).namespaced(&resources::PODS, "x").get("a").await.unwrap_err();
    assert_eq!((error.reason(), fake.requests().len()), ("InternalError", 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_ends_times_out() {
    let fake = Fake::new([Reply::json("{").and_hang()]);
    let error = client(&fake).namespaced(&resources::PODS, "x").get("a").await.unwrap_err();
    assert!(error.is_timeout() && error.is_transient(), "{error}");
}

#[tokio::test]
async fn verbs_and_their_requests() {
    let fake = Fake::new((0..8).map(|_| Reply::json(&pod("a", 7))));
    let pods = client(&fake).namespaced(&resources::PODS, "x");
    let options = WriteOptions::manager("m");
    let mut tree = Value::object();
    tree.set("metadata.name", "a");
    pods.create_tree(tree.clone(), &options).await.unwrap();
    pods.update_status(tree.clone(), &WriteOptions::default()).await.unwrap();
    pods.patch("a", "", &Patch::Merge(tree.clone()), &options).await.unwrap();
    pods.patch("a", "", &Patch::Apply { object: tree, force: true }, &options).await.unwrap();
    pods.delete("a", &DeleteOptions::of_uid("u")).await.unwrap();
    pods.delete_collection(&DeleteOptions::default(), &ListParams::labels("a=b")).await.unwrap();
    let body = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}"#;
    let path = "/api/v1/namespaces/x/pods";
    assert_eq!(
        fake.requests(),
        [
            format!("POST {path}?fieldManager=m {body}"),
            format!("PUT {path}/a/status {body}"),
            format!(r#"PATCH {path}/a?fieldManager=m {{"metadata":{{"name":"a"}}}}"#),
            format!(r#"PATCH {path}/a?fieldManager=m&force=true {{"metadata":{{"name":"a"}}}}"#),
            format!(r#"DELETE {path}/a {{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{{"uid":"u"}}}}"#),
            format!(r#"DELETE {path}?labelSelector=a%3Db {{"kind":"DeleteOptions","apiVersion":"v1"}}"#),
        ]
    );
    assert!(pods.get("").await.is_err() && pods.get("a/b").await.is_err());
}

#[tokio::test]
async fn a_list_in_pages_is_one_list() {
    let fake = Fake::new([Reply::list(30, "next", &[pod("a", 1)]), Reply::list(30, "", &[pod("b", 2)])]);
    let list = client(&fake).all(&resources::PODS).list_all(&ListParams::default()).await.unwrap();
    let names: Vec<String> = list.objects::<Pod>().unwrap().iter().map(|pod| pod.name().to_owned()).collect();
    assert_eq!((names, list.revision), (vec!["a".to_owned(), "b".to_owned()], 30));
}

#[tokio::test]
async fn an_in_process_connection_can_be_upgraded() {
    let service = client::transport::local::FnService(|request: http::Request<client::Body>| async move {
        assert_eq!(request.extensions().get::<UserInfo>().unwrap().name, "kubelet");
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(request).await.unwrap();
            let mut io = hyper_util::rt::TokioIo::new(upgraded);
            let mut said = [0; 4];
            io.read_exact(&mut said).await.unwrap();
            io.write_all(&said).await.unwrap();
        });
        let answer = http::Response::builder().status(101).header("upgrade", "echo").header("connection", "upgrade");
        answer.body(client::Body::empty()).unwrap()
    });
    let client = Client::in_process(service, UserInfo::authenticated("kubelet", &[]));
    let request = http::Request::get("/exec").header("upgrade", "echo").header("connection", "upgrade");
    let mut connection = client.upgrade(request.body(client::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(connection.response.headers()["upgrade"], "echo");
    connection.io.write_all(b"ping").await.unwrap();
    let mut said = [0; 4];
    connection.io.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"ping");
}

fn lease(holder: &str, renewed: &str, revision: u64) -> String {
    format!(
        r#"{{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{{"name":"l","namespace":"kube-system","resourceVersion":"{revision}"}},"spec":{{"holderIdentity":"{holder}","leaseDurationSeconds":15,"leaseTransitions":3,"renewTime":"{renewed}"}}}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_taken_once_its_holder_is_silent_and_given_back_at_the_end() {
    let fake = Fake::default();
    let is_ours = std::sync::atomic::AtomicBool::new(false);
    fake.otherwise(move |request| {
        if request.starts_with("PUT") {
            is_ours.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        Reply::json(&if is_ours.load(std::sync::atomic::Ordering::Relaxed) {
            lease("me", "2026-01-01T00:00:20.000000Z", 2)
        } else {
            lease("other", "2026-01-01T00:00:00.000000Z", 1)
        })
    });
    let stop = CancellationToken::new();
    let given = Given::virtual_from(jiff::Timestamp::UNIX_EPOCH, 7);
    let config = LeaderConfig::new("kube-system", "l", "me");
    let elector = LeaderElector::new(&client(&fake), config, given);
    let begun = tokio::time::Instant::now();
    let at_end = stop.clone();
    elector
        .run(stop, move |leading| {
            let stop = at_end.clone();
            async move {
                assert!(begun.elapsed() >= Duration::from_secs(15));
                tokio::time::sleep(Duration::from_secs(1)).await;
                stop.cancel();
                leading.cancelled().await;
            }
        })
        .await;
    let requests = fake.requests();
    let puts: Vec<&String> = requests.iter().filter(|request| request.starts_with("PUT")).collect();
    assert_eq!(puts.len(), 2, "{requests:#?}");
    assert!(puts[0].contains(r#""holderIdentity":"me""#) && puts[0].contains(r#""leaseTransitions":4"#), "{}", puts[0]);
    assert!(puts[0].contains(r#""resourceVersion":"1""#), "a conflict must be seen: {}", puts[0]);
    assert!(
        puts[1].contains(r#""holderIdentity":"""#) && puts[1].contains(r#""leaseDurationSeconds":1"#),
        "{}",
        puts[1]
    );
}

/// Regression: work that ended by itself was waited for a second time.
#[tokio::test(start_paused = true)]
async fn work_that_ends_by_itself_is_begun_again() {
    let fake = Fake::default();
    fake.otherwise(|_| Reply::json(&lease("me", "2026-01-01T00:00:00.000000Z", 2)));
    let stop = CancellationToken::new();
    let given = Given::virtual_from(jiff::Timestamp::UNIX_EPOCH, 7);
    let elector = LeaderElector::new(&client(&fake), LeaderConfig::new("kube-system", "l", "me"), given);
    let (runs, at_end) = (std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)), stop.clone());
    let counted = runs.clone();
    elector
        .run(stop, move |_| {
            if counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 2 {
                at_end.cancel();
            }
            async {}
        })
        .await;
    assert_eq!(runs.load(std::sync::atomic::Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_created_and_then_counted_up() {
    let fake = Fake::new([]);
    fake.push(Reply::json(r#"{"kind":"Event","metadata":{"name":"a.1"}}"#));
    fake.push(Reply::json(r#"{"kind":"Event","metadata":{"name":"a.1"}}"#));
    let stop = CancellationToken::new();
    let given = Given::virtual_from(jiff::Timestamp::UNIX_EPOCH, 7);
    let recorder = EventRecorder::new(client(&fake), "test", "", given, stop.clone());
    let object: client::Object<Pod> = client::Object::decode(pod("a", 7).into()).unwrap();
    recorder.event(&object.view, EventType::Normal, "Started", "it runs");
    recorder.event(&object.view, EventType::Normal, "Started", "it runs");
    tokio::time::sleep(Duration::from_millis(10)).await;
    let requests = fake.requests();
    assert_eq!(requests.len(), 2, "{requests:#?}");
    let created = client::json::parse(requests[0].split_once(' ').unwrap().1.split_once(' ').unwrap().1.as_bytes());
    let created = created.unwrap();
    assert_eq!(created.str_at("involvedObject.uid"), "uid-a");
    assert_eq!(created.str_at("source.component"), "test");
    assert_eq!(created.i64_at("count"), Some(1));
    assert!(requests[1].starts_with("PATCH /api/v1/namespaces/x/events/a.1 {\"count\":2,"), "{}", requests[1]);
    stop.cancel();
}
