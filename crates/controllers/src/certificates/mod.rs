//! Certificates: kubelets' requests are approved, approved requests are signed.
//!
//! Upstream: pkg/controller/certificates (approver, signer). [`plan`] says what is recognized. The key that signs is
//! not this crate's: see [`Authority`].

pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use api::value::{Map, Value};
use client::{
    Client, ClientError, Informer, Object, ObjectKey, Reconcile, ReconcileError, Requeue, WorkQueue, WriteOptions,
    json, resources,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use self::plan::Request;
use crate::common::{owners, tree};
use crate::context::Context;

const NAME: &str = "certificate-controller";

/// Reads and signs certificate requests.
pub trait Authority: Send + Sync + 'static {
    /// What a request (PEM) asks for.
    ///
    /// # Errors
    /// It can't be read, or its signature is wrong.
    fn read(&self, request: &[u8]) -> Result<Request, String>;

    /// The certificate (PEM) that a request asks for, for these usages, valid for this long.
    ///
    /// # Errors
    /// It can't be signed.
    fn sign(&self, request: &[u8], usages: &[String], ttl: Duration) -> Result<String, String>;
}

/// Approves requests of kubelets, if they may make them.
pub struct Approver(Inner);

/// Signs approved requests.
pub struct Signer(Inner);

struct Inner {
    requests: Informer<CertificateSigningRequest>,
    client: Client,
    authority: Arc<dyn Authority>,
    given: client::Given,
}

/// Starts both controllers.
pub async fn run(context: Context, workers: usize, authority: Arc<dyn Authority>) {
    let requests = context.informers.kind::<CertificateSigningRequest>();
    let inner = || Inner {
        requests: requests.clone(),
        client: context.client(NAME),
        authority: authority.clone(),
        given: context.given.clone(),
    };
    let (approving, signing) = (WorkQueue::default(), WorkQueue::default());
    owners::watch_owners(&requests, &approving);
    owners::watch_owners(&requests, &signing);
    let (approver, signer) = (Arc::new(Approver(inner())), Arc::new(Signer(inner())));
    requests.synced().await;
    tokio::join!(
        client::queue::run("csrapproving", approver, approving, workers, context.stop.clone()),
        client::queue::run("csrsigning", signer, signing, workers, context.stop.clone()),
    );
}

impl Reconcile for Approver {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Approver(inner) = self;
        let Some(csr) = inner.requests.get(key) else { return Ok(Requeue::Never) };
        if plan::is_issued(&csr) || plan::has(&csr, "Approved") || plan::has(&csr, "Denied") {
            return Ok(Requeue::Never);
        }
        let request = inner.authority.read(&csr.spec.request.0)?;
        let permissions = plan::recognizers(&csr.spec, &request);
        for (permission, message) in &permissions {
            if inner.may(&csr, permission).await? {
                let tree = inner.with_condition(&csr, "Approved", "AutoApproved", message)?;
                inner.api().update_subresource(tree, "approval", &WriteOptions::default()).await?;
                return Ok(Requeue::Never);
            }
        }
        // Somebody may be given the permission later.
        Ok(if permissions.is_empty() { Requeue::Never } else { Requeue::Backoff })
    }
}

impl Reconcile for Signer {
    type Key = ObjectKey;

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ReconcileError> {
        let Signer(inner) = self;
        let Some(csr) = inner.requests.get(key) else { return Ok(Requeue::Never) };
        let is_due = plan::has(&csr, "Approved") && !plan::has(&csr, "Denied") && !plan::has(&csr, "Failed");
        if !is_due || plan::is_issued(&csr) || !plan::is_signer(&csr.spec.signer_name) {
            return Ok(Requeue::Never);
        }
        let request = &csr.spec.request.0;
        let tree = match plan::check(&csr.spec, &inner.authority.read(request)?) {
            Err(wrong) => inner.with_condition(&csr, "Failed", "SignerValidationFailure", &wrong)?,
            Ok(()) => {
                let usages = csr.spec.usages.as_deref().unwrap_or_default();
                let certificate = inner.authority.sign(request, usages, plan::ttl(&csr.spec))?;
                let certificate = json::to_tree(&ByteString(certificate.into_bytes()))?;
                csr.edit(|tree| tree.set("status.certificate", certificate))?
            }
        };
        inner.api().update_status(tree, &WriteOptions::default()).await?;
        Ok(Requeue::Never)
    }
}

impl Inner {
    fn api(&self) -> client::Api {
        self.client.kind::<CertificateSigningRequest>("")
    }

    fn with_condition(
        &self,
        csr: &Object<CertificateSigningRequest>,
        kind: &str,
        reason: &str,
        message: &str,
    ) -> Result<Value, ClientError> {
        let mut condition = Map::from_iter([("type", kind), ("status", "True"), ("reason", reason)]);
        condition.insert("message", message);
        condition.insert("lastUpdateTime", tree::time(self.given.now()));
        csr.edit(|tree| {
            let mut conditions = tree.array_at("status.conditions").to_vec();
            conditions.push(Value::Object(condition));
            tree.set("status.conditions", conditions);
        })
    }

    /// Whether who made the request may have it approved automatically.
    async fn may(&self, csr: &CertificateSigningRequest, permission: &str) -> Result<bool, ClientError> {
        let mut review = Value::object();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        review.set("spec.user", text(&csr.spec.username));
        review.set("spec.uid", text(&csr.spec.uid));
        review.set("spec.groups", csr.spec.groups.clone().unwrap_or_default());
        review.set("spec.extra", json::to_tree(&csr.spec.extra.clone().unwrap_or_default())?);
        let attributes = [
            ("group", "certificates.k8s.io"),
            ("resource", "certificatesigningrequests"),
            ("verb", "create"),
            ("subresource", permission),
            ("version", "*"),
        ];
        review.set("spec.resourceAttributes", Map::from_iter(attributes));
        let reviews = self.client.all(&resources::SUBJECT_ACCESS_REVIEWS);
        let answer = reviews.create_tree(review, &WriteOptions::default()).await?;
        Ok(answer.tree()?.at("status.allowed").as_bool() == Some(true))
    }
}
