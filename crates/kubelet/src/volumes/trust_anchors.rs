//! The certificates that a projected volume takes from trust bundles. Upstream: pkg/kubelet/clustertrustbundle.

use k8s_openapi::{api::core::v1::ClusterTrustBundleProjection, apimachinery::pkg::apis::meta::v1::LabelSelector};

use crate::objects::{ObjectError, Objects, pem};

const NO_MATCH: &str = "combination of signerName and labelSelector matched zero ClusterTrustBundles";
const NO_CHOICE: &str = "ClusterTrustBundle projection requires either name or signerName to be set";

/// The certificates, PEM; empty where there are none and that is allowed.
///
/// # Errors
/// Why there are none.
pub async fn read(objects: &dyn Objects, own: &ClusterTrustBundleProjection) -> Result<String, String> {
    let texts = match (&own.name, &own.signer_name, &own.label_selector) {
        (Some(name), _, _) => objects.trust_bundle(name).await.map(|text| vec![text]),
        (None, Some(signer), Some(selector)) => objects.signer_bundles(signer, &selector_text(selector)).await,
        // No selector is for nothing, an empty one for everything.
        (None, Some(_), None) => Ok(Vec::new()),
        (None, None, _) => return Err(NO_CHOICE.into()),
    };
    let texts = match texts {
        Ok(texts) if texts.is_empty() => Err(ObjectError::NotFound(NO_MATCH.into())),
        answer => answer,
    };
    match texts {
        Ok(texts) => Ok(pem::anchors(texts.iter().map(String::as_str))),
        Err(ObjectError::NotFound(_)) if own.optional == Some(true) => Ok(String::new()),
        Err(error) => Err(error.to_string()),
    }
}

fn selector_text(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let others = selector.match_expressions.iter().flatten().map(|rule| {
        let values = rule.values.as_deref().unwrap_or_default().join(",");
        match rule.operator.as_str() {
            "In" => format!("{} in ({values})", rule.key),
            "NotIn" => format!("{} notin ({values})", rule.key),
            "Exists" => rule.key.clone(),
            _ => format!("!{}", rule.key),
        }
    });
    equal.chain(others).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret};
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::objects::{Answer, Token, TokenKey};

    /// One bundle without a signer, two of `s`; no other objects.
    struct Bundles;

    fn none<'a, T: Send + 'a>() -> Answer<'a, T> {
        Box::pin(async { Err(ObjectError::NotFound("none".into())) })
    }

    impl Objects for Bundles {
        fn config_map<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, Arc<ConfigMap>> {
            none()
        }
        fn secret<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, Arc<Secret>> {
            none()
        }
        fn token<'a>(&'a self, _: &'a TokenKey) -> Answer<'a, Token> {
            none()
        }
        fn claim<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, (PersistentVolumeClaim, PersistentVolume)> {
            none()
        }
        fn trust_bundle<'a>(&'a self, name: &'a str) -> Answer<'a, String> {
            if name == "a" { Box::pin(async { Ok(pem::block("CERTIFICATE", b"a")) }) } else { none() }
        }
        fn signer_bundles<'a>(&'a self, signer: &'a str, labels: &'a str) -> Answer<'a, Vec<String>> {
            let contents: &[&[u8]] = match (signer, labels) {
                ("s", "") => &[b"c", b"b", b"c"],
                ("s", "k=b") => &[b"b"],
                _ => &[],
            };
            Box::pin(async { Ok(contents.iter().map(|content| pem::block("CERTIFICATE", content)).collect()) })
        }
    }

    #[rstest]
    #[case::by_name(json!({"name": "a"}), Ok("a"))]
    #[case::of_no_name(json!({"name": "b"}), Err("none"))]
    #[case::of_no_name_if_any(json!({"name": "b", "optional": true}), Ok(""))]
    #[case::by_label(json!({"signerName": "s", "labelSelector": {"matchLabels": {"k": "b"}}}), Ok("b"))]
    #[case::all_of_a_signer(json!({"signerName": "s", "labelSelector": {}}), Ok("bc"))]
    #[case::of_no_label(json!({"signerName": "s", "labelSelector": {"matchLabels": {"k": "c"}}}), Err(NO_MATCH))]
    #[case::without_selector(json!({"signerName": "s"}), Err(NO_MATCH))]
    #[case::without_selector_if_any(json!({"signerName": "s", "optional": true}), Ok(""))]
    #[case::neither(json!({"optional": true}), Err(NO_CHOICE))]
    #[tokio::test]
    async fn selected(#[case] mut own: serde_json::Value, #[case] expected: Result<&str, &str>) {
        own["path"] = "p".into();
        let own: ClusterTrustBundleProjection = serde_json::from_value(own).unwrap();
        let found = read(&Bundles, &own).await.map(|text| pem::contents(&text).flatten().collect::<Vec<u8>>());
        assert_eq!(found, expected.map(|text| text.as_bytes().to_vec()).map_err(str::to_owned));
    }
}
