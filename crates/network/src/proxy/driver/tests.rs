use super::*;
use crate::proxy::table::RETIRED_CHAIN_KEEP;
use crate::proxy::testing::{ready, service, slice};
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Remembers scripts; refuses while told to.
#[derive(Clone, Default)]
struct Recorder {
    scripts: Arc<Mutex<Vec<String>>>,
    refuses: Arc<Mutex<bool>>,
}

impl Nft for Recorder {
    async fn run(&self, script: String) -> Result<(), NftError> {
        if *self.refuses.lock() {
            return Err(NftError::Refused("no".to_string()));
        }
        self.scripts.lock().push(script);
        Ok(())
    }
}

impl Recorder {
    /// The scripts since the last call.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.scripts.lock())
    }
}

fn proxy() -> (Proxy<Recorder>, Recorder) {
    let recorder = Recorder::default();
    let mut config = Config::new("n", vec!["10.0.0.5".parse().unwrap()], vec!["10.1.0.0/16".parse().unwrap()]);
    config.node_port_addresses.localhost = false;
    (Proxy::new(config, &Instance::new("lab").unwrap(), recorder.clone()), recorder)
}

fn put(name: &str, ip: &str) -> Change {
    let view = service(name, ip, json!({}));
    Change::Service(view.object_name(), Some(Arc::new(view)))
}

fn endpoints(name: &str, addresses: &[&str]) -> Change {
    let view = slice(name, "x", json!(addresses.iter().map(|ip| ready(ip, "n")).collect::<Vec<_>>()));
    Change::Slice(view.object_name(), Some(Arc::new(view)))
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_before_everything_is_known() {
    let (mut proxy, recorder) = proxy();
    proxy.change(put("a", "10.96.0.1"));
    proxy.sync().await;
    assert!(recorder.take().is_empty());
    proxy.change(Change::Synced);
    proxy.sync().await;
    let scripts = recorder.take();
    assert_eq!(scripts.len(), 2, "one transaction a family");
    assert!(scripts[0].starts_with("add table ip xebec-lab\ndelete table ip xebec-lab\ntable ip xebec-lab {"));
    assert!(scripts[0].contains("no-endpoint-services { 10.96.0.1 . tcp . 80 : goto reject-chain }"));
}

#[tokio::test(start_paused = true)]
async fn a_change_writes_only_what_changed() {
    let (mut proxy, recorder) = proxy();
    for change in [put("a", "10.96.0.1"), put("b", "10.96.0.2"), endpoints("a", &["10.1.0.1"]), Change::Synced] {
        proxy.change(change);
    }
    proxy.sync().await;
    recorder.take();
    proxy.change(endpoints("a", &["10.1.0.1", "10.1.0.2"]));
    proxy.sync().await;
    let scripts = recorder.take();
    assert_eq!(scripts.len(), 1, "the other family has nothing to do");
    assert_eq!(
        scripts[0],
        "flush chain ip xebec-lab service-ns/a/tcp/http\n\
         add rule ip xebec-lab service-ns/a/tcp/http meta l4proto tcp dnat ip addr . port to numgen random mod 2 map { 0 : 10.1.0.1 . 8080, 1 : 10.1.0.2 . 8080 }\n\
         add rule ip xebec-lab service-ns/a/tcp/http drop\n\
         add element ip xebec-lab hairpin-connections { 10.1.0.2 . 10.1.0.2 . tcp . 8080 }\n"
    );
    proxy.change(endpoints("a", &["10.1.0.1", "10.1.0.2"]));
    proxy.sync().await;
    assert!(recorder.take().is_empty(), "nothing changed");
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_the_table_is_made_anew() {
    let (mut proxy, recorder) = proxy();
    proxy.change(put("a", "10.96.0.1"));
    proxy.change(Change::Synced);
    proxy.sync().await;
    recorder.take();
    *recorder.refuses.lock() = true;
    proxy.change(put("b", "10.96.0.2"));
    proxy.sync().await;
    *recorder.refuses.lock() = false;
    let wake = proxy.next_wake().unwrap();
    tokio::time::advance(wake - Instant::now()).await;
    proxy.sync().await;
    let scripts = recorder.take();
    assert_eq!(scripts.len(), 1);
    assert!(
        scripts[0].starts_with("add table") && scripts[0].contains("10.96.0.1") && scripts[0].contains("10.96.0.2")
    );
}

#[tokio::test(start_paused = true)]
async fn chains_are_deleted_later_than_they_retire() {
    let (mut proxy, recorder) = proxy();
    for change in [put("a", "10.96.0.1"), endpoints("a", &["10.1.0.1"]), Change::Synced] {
        proxy.change(change);
    }
    proxy.sync().await;
    recorder.take();
    proxy.change(Change::Service(ObjectName::new("ns", "a"), None));
    proxy.sync().await;
    let scripts = recorder.take();
    assert!(
        scripts[0].contains("flush chain ip xebec-lab service-ns/a/tcp/http") && !scripts[0].contains("delete chain")
    );
    tokio::time::advance(RETIRED_CHAIN_KEEP).await;
    proxy.sync().await;
    assert_eq!(recorder.take(), ["delete chain ip xebec-lab service-ns/a/tcp/http\n"]);
    proxy.change(put("a", "10.96.0.1"));
    proxy.sync().await;
    recorder.take();
    tokio::time::advance(RETIRED_CHAIN_KEEP * 2).await;
    proxy.sync().await;
    assert!(recorder.take().is_empty(), "a chain that came back stays");
}

#[tokio::test(start_paused = true)]
async fn once_an_hour_the_table_is_made_anew() {
    let (mut proxy, recorder) = proxy();
    proxy.change(Change::Synced);
    proxy.sync().await;
    recorder.take();
    tokio::time::advance(FULL_SYNC_PERIOD - Duration::from_secs(1)).await;
    proxy.sync().await;
    assert!(recorder.take().is_empty());
    tokio::time::advance(Duration::from_secs(1)).await;
    proxy.sync().await;
    assert_eq!(recorder.take().len(), 2);
}
