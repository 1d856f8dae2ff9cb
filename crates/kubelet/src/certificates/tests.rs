use std::time::Duration;

use k8s_openapi::{
    api::certificates::v1::PodCertificateRequestStatus,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time},
};

use super::*;

/// A signer that answers when it is told to.
#[derive(Default)]
struct Signer(Mutex<Vec<PodCertificateRequest>>);

impl Signers for Signer {
    fn ask<'a>(
        &'a self,
        pod: &'a Pod,
        _: &'a PodCertificateProjection,
        _: Vec<u8>,
    ) -> BoxFuture<'a, Result<PodCertificateRequest, String>> {
        Box::pin(async move {
            let mut requests = self.0.lock();
            let mut request = PodCertificateRequest::default();
            request.metadata.name = Some(format!("r{}", requests.len()));
            request.spec.pod_uid = pod.uid().to_owned();
            requests.push(request.clone());
            Ok(request)
        })
    }

    fn find(&self, _: &str, name: &str) -> Option<PodCertificateRequest> {
        self.0.lock().iter().find(|request| request.metadata.name.as_deref() == Some(name)).cloned()
    }
}

impl Signer {
    fn issue(&self, index: usize, now: jiff::Timestamp) -> PodCertificateRequest {
        let later = |hours| Some(Time(now + jiff::SignedDuration::from_hours(hours)));
        let condition = Condition {
            last_transition_time: Time(now),
            message: String::new(),
            observed_generation: None,
            reason: "Issued".into(),
            status: "True".into(),
            type_: "Issued".into(),
        };
        let request = &mut self.0.lock()[index];
        request.status = Some(PodCertificateRequestStatus {
            conditions: Some(vec![condition]),
            begin_refresh_at: later(1),
            not_after: later(2),
            ..PodCertificateRequestStatus::default()
        });
        request.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn asked_for_once_and_renewed_in_time() {
    let given = Given::virtual_from(jiff::Timestamp::UNIX_EPOCH, 1);
    let (signer, woken) = (Arc::new(Signer::default()), Arc::new(tokio::sync::Notify::new()));
    let ring = woken.clone();
    let certificates =
        Arc::new(PodCertificates::new(signer.clone(), Events::kept().0, given.clone(), move |_| ring.notify_one()));
    let stop = CancellationToken::new();
    tokio::spawn(certificates.clone().run(stop.clone()));
    let pod = Pod { metadata: ObjectMeta { uid: Some("u".into()), ..ObjectMeta::default() }, ..Pod::default() };
    let source = PodCertificateProjection { key_type: "ED25519".into(), ..PodCertificateProjection::default() };
    let get = || certificates.bundle(&pod, "v", 0, &source);
    let asked = async |count: usize| {
        while signer.0.lock().len() < count {
            tokio::task::yield_now().await;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    };
    assert!(get().is_err() && get().is_err());
    asked(1).await;
    certificates.seen(&signer.issue(0, given.now()));
    woken.notified().await;
    let first = get().unwrap();
    let before = given.now();
    asked(2).await;
    assert!(given.now() >= before + jiff::SignedDuration::from_mins(59));
    assert_eq!(get().unwrap(), first);
    certificates.seen(&signer.issue(1, given.now()));
    woken.notified().await;
    assert_ne!(get().unwrap().key, first.key);
    assert_eq!(signer.0.lock().len(), 2);
    certificates.forget("u");
    assert!(certificates.known.lock().is_empty());
    stop.cancel();
}
