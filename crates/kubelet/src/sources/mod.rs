//! Where pods come from: the API server, and a directory of manifests.

pub mod manifests;
mod mirror;

use std::sync::Arc;

use client::Event;
use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;

use crate::{
    kubelet::Kubelet,
    pod::{PodExt, SOURCE},
};

/// Hands the API server's pods to their workers.
pub fn follow_api(kubelet: &Arc<Kubelet>) {
    let weak = Arc::downgrade(kubelet);
    kubelet.pods.subscribe(move |event| {
        let Some(kubelet) = weak.upgrade() else { return };
        let pod = &event.object().view;
        if pod.is_mirror() {
            // The static pod it shows is ours; its status may be wanted now.
            mirror::seen(&kubelet, pod);
            return;
        }
        match event {
            Event::Deleted { .. } => kubelet.workers.remove(pod.uid()),
            Event::Added(_) | Event::Updated { .. } => {
                let pod = Arc::new(of_api(pod));
                kubelet.status.reconcile(&pod);
                kubelet.workers.update(&kubelet, pod);
            }
        }
    });
}

/// Says where it came from: whatever its annotations claim, it is no static pod.
fn of_api(pod: &Pod) -> Pod {
    let mut pod = pod.clone();
    pod.metadata.annotations.get_or_insert_default().insert(SOURCE.to_owned(), "api".to_owned());
    pod
}

/// Hands the directory's pods to their workers until told to stop.
pub async fn follow_manifests(kubelet: Arc<Kubelet>, stop: CancellationToken) {
    let Some(directory) = kubelet.config.static_pod_path.clone() else {
        kubelet.manifests_known.cancel();
        return;
    };
    let work = async {
        let mut known: Vec<Arc<Pod>> = Vec::new();
        loop {
            let found = manifests::read(&directory, &kubelet.config.node_name, kubelet.given.now());
            for gone in known.iter().filter(|old| !found.iter().any(|pod| pod.uid() == old.uid())) {
                kubelet.workers.remove(gone.uid());
                mirror::remove(&kubelet, gone).await;
            }
            known = found.into_iter().map(Arc::new).collect();
            known.iter().for_each(|pod| kubelet.workers.update(&kubelet, pod.clone()));
            kubelet.manifests_known.cancel();
            for pod in &known {
                mirror::ensure(&kubelet, pod).await;
            }
            tokio::time::sleep(kubelet.config.file_check_frequency).await;
        }
    };
    stop.run_until_cancelled(work).await;
}
