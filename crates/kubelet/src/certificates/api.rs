//! Requests for certificates at the API server, made as the node.

use client::{Client, Informer, Kind, View, WriteOptions};
use futures::future::BoxFuture;
use k8s_openapi::{
    ByteString,
    api::{
        certificates::v1::{PodCertificateRequest, PodCertificateRequestSpec},
        core::v1::{Node, Pod, PodCertificateProjection, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::Signers;
use crate::pod::{self, PodExt};

/// Asks through a client.
pub struct ApiSigners {
    /// The API server.
    pub client: Client,
    /// This node's requests.
    pub requests: Informer<PodCertificateRequest>,
    /// This node.
    pub nodes: Informer<Node>,
    /// Its name.
    pub node_name: String,
}

impl ApiSigners {
    async fn ask_for(
        &self,
        pod: &Pod,
        source: &PodCertificateProjection,
        proof: Vec<u8>,
    ) -> Result<PodCertificateRequest, String> {
        let account = pod::spec(pod).service_account_name.clone().unwrap_or_default();
        let stored = self.client.kind::<ServiceAccount>(pod.namespace()).get(&account).await;
        let stored = stored.and_then(|answer| answer.view::<ServiceAccount>());
        let stored = stored.map_err(|error| format!("while fetching service account: {error}"))?;
        let node = self.nodes.find("", &self.node_name).ok_or_else(|| {
            format!("while getting node object from local cache: node {:?} not found", self.node_name)
        })?;
        let request = PodCertificateRequest {
            metadata: ObjectMeta {
                namespace: Some(pod.namespace().to_owned()),
                generate_name: Some("req-".into()),
                owner_references: Some(vec![OwnerReference {
                    api_version: "v1".into(),
                    kind: "Pod".into(),
                    name: pod.name().to_owned(),
                    uid: pod.uid().to_owned(),
                    ..OwnerReference::default()
                }]),
                ..ObjectMeta::default()
            },
            spec: PodCertificateRequestSpec {
                signer_name: source.signer_name.clone(),
                pod_name: pod.name().to_owned(),
                pod_uid: pod.uid().to_owned(),
                service_account_name: account,
                service_account_uid: stored.metadata.uid.unwrap_or_default(),
                node_name: self.node_name.clone(),
                node_uid: node.view.metadata.uid.clone().unwrap_or_default(),
                max_expiration_seconds: source.max_expiration_seconds,
                stub_pkc_s10_request: ByteString(proof),
                unverified_user_annotations: source.user_annotations.clone(),
            },
            status: None,
        };
        let requests = self.client.kind::<PodCertificateRequest>(pod.namespace());
        let made = requests.create(request.encode(), &WriteOptions::default()).await;
        let made = made.and_then(|answer| PodCertificateRequest::decode(answer.bytes()));
        made.map_err(|error| format!("while creating PodCertificateRequest: while creating on API: {error}"))
    }
}

impl Signers for ApiSigners {
    fn ask<'a>(
        &'a self,
        pod: &'a Pod,
        source: &'a PodCertificateProjection,
        proof: Vec<u8>,
    ) -> BoxFuture<'a, Result<PodCertificateRequest, String>> {
        Box::pin(self.ask_for(pod, source, proof))
    }

    fn find(&self, namespace: &str, name: &str) -> Option<PodCertificateRequest> {
        self.requests.find(namespace, name).map(|object| object.view.clone())
    }
}
