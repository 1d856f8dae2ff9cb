//! Objects from the API server, read when they are needed.

use std::sync::Arc;

use client::{Client, ClientError, ListParams, WriteOptions, resources};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret};
use serde_json::{Value, json};

use super::{Answer, ObjectError, Objects, Token, TokenKey};

/// Reads through a client.
#[derive(Clone)]
pub struct ApiObjects(pub Client);

impl ApiObjects {
    async fn get<K: client::Kind>(&self, namespace: &str, name: &str, word: &str) -> Result<K, ObjectError> {
        match self.0.kind::<K>(namespace).get(name).await {
            Ok(answer) => answer.view::<K>().map_err(other),
            Err(error) if error.is_not_found() => Err(ObjectError::NotFound(format!("{word} {name:?} not found"))),
            Err(error) => Err(other(error)),
        }
    }
}

fn other(error: ClientError) -> ObjectError {
    ObjectError::Other(error.to_string())
}

impl Objects for ApiObjects {
    fn config_map<'a>(&'a self, namespace: &'a str, name: &'a str) -> Answer<'a, Arc<ConfigMap>> {
        Box::pin(async move { self.get(namespace, name, "configmap").await.map(Arc::new) })
    }

    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> Answer<'a, Arc<Secret>> {
        Box::pin(async move { self.get(namespace, name, "secret").await.map(Arc::new) })
    }

    fn token<'a>(&'a self, key: &'a TokenKey) -> Answer<'a, Token> {
        Box::pin(async move {
            let audiences: Vec<&str> =
                Some(key.audience.as_str()).filter(|audience| !audience.is_empty()).into_iter().collect();
            let request = json!({
                "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
                "metadata": {},
                "spec": {
                    "audiences": audiences, "expirationSeconds": key.seconds,
                    "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": key.pod_name, "uid": key.pod_uid},
                },
            });
            let accounts = self.0.namespaced(&resources::SERVICE_ACCOUNTS, &key.namespace);
            let answer =
                accounts.create_subresource(&key.account, "token", request.to_string(), &WriteOptions::default()).await;
            let answer: Value = serde_json::from_slice(answer.map_err(other)?.bytes())
                .map_err(|error| ObjectError::Other(error.to_string()))?;
            let status = &answer["status"];
            let expires: Option<jiff::Timestamp> =
                status["expirationTimestamp"].as_str().and_then(|text| text.parse().ok());
            match (status["token"].as_str(), expires) {
                (Some(token), Some(expires)) => Ok(Token { token: token.to_owned(), expires_at: expires.as_second() }),
                _ => Err(ObjectError::Other("the server answered a token request without a token".into())),
            }
        })
    }

    fn trust_bundle<'a>(&'a self, name: &'a str) -> Answer<'a, String> {
        Box::pin(async move {
            match self.0.all(&resources::CLUSTER_TRUST_BUNDLES).get(name).await {
                Ok(answer) => Ok(bundle(answer.bytes())),
                Err(error) if error.is_not_found() => Err(ObjectError::NotFound(format!(
                    "while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io {name:?} not found"
                ))),
                Err(error) => Err(other(error)),
            }
        })
    }

    fn signer_bundles<'a>(&'a self, signer: &'a str, labels: &'a str) -> Answer<'a, Vec<String>> {
        Box::pin(async move {
            let params = ListParams {
                label_selector: labels.to_owned(),
                field_selector: format!("spec.signerName={signer}"),
                ..ListParams::default()
            };
            let list = self.0.all(&resources::CLUSTER_TRUST_BUNDLES).list_all(&params).await.map_err(other)?;
            Ok(list.items.iter().map(|item| bundle(item)).collect())
        })
    }

    fn claim<'a>(&'a self, namespace: &'a str, name: &'a str) -> Answer<'a, (PersistentVolumeClaim, PersistentVolume)> {
        Box::pin(async move {
            let claim: PersistentVolumeClaim = self.get(namespace, name, "persistentvolumeclaim").await?;
            let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
            let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).filter(|name| !name.is_empty());
            match volume.filter(|_| bound) {
                Some(volume) => {
                    let volume: PersistentVolume = self.get("", &volume, "persistentvolume").await?;
                    Ok((claim, volume))
                }
                None => Err(ObjectError::Other(format!("PVC is not bound: {namespace}/{name}"))),
            }
        })
    }
}

fn bundle(object: &[u8]) -> String {
    let object: Value = serde_json::from_slice(object).unwrap_or_default();
    object["spec"]["trustBundle"].as_str().unwrap_or_default().to_owned()
}
