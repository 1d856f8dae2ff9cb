//! CustomResourceDefinition: v1beta1, which is no longer served but is what upstream's server stores.
//!
//! There, what all versions have alike is said once, above them.

use crate::kinds::read::each_mut;
use crate::value::Value;

/// Fields of the old spec, and where each version has them.
const SHARED: [(&str, &str); 4] = [
    ("validation", "schema"),
    ("subresources", "subresources"),
    ("additionalPrinterColumns", "additionalPrinterColumns"),
    ("selectableFields", "selectableFields"),
];

pub fn v1beta1_to_v1(definition: &mut Value) {
    let Some(spec) = definition.at_mut("spec") else { return };
    let version = spec.remove("version").unwrap_or_default();
    if spec.array_at("versions").is_empty() && version.as_str().is_some_and(|name| !name.is_empty()) {
        let mut only = Value::object();
        only.set("name", version);
        only.set("served", true);
        only.set("storage", true);
        spec.set("versions", vec![only]);
    }
    for (above, within) in SHARED {
        if let Some(shared) = spec.remove(above).filter(|shared| !shared.is_null()) {
            each_mut(spec, "versions", |version| version.set(within, shared.clone()));
        }
    }
    each_mut(spec, "versions", |version| {
        each_mut(version, "additionalPrinterColumns", |column| {
            if let Some(path) = column.remove("JSONPath") {
                column.set("jsonPath", path);
            }
        });
    });
    let client = spec.remove("conversion.webhookClientConfig").filter(|client| !client.is_null());
    let reviews = spec.remove("conversion.conversionReviewVersions").filter(|reviews| !reviews.is_null());
    if let Some(client) = client {
        spec.set("conversion.webhook.clientConfig", client);
    }
    if let Some(reviews) = reviews {
        spec.set("conversion.webhook.conversionReviewVersions", reviews);
    }
}

#[cfg(test)]
mod tests {
    use crate::codec::json;
    use crate::kinds::convert::convert;

    #[test]
    fn what_upstream_stores_comes_in_the_version_that_is_served() {
        let stored = br#"{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1beta1","metadata":{"name":"as.x"},"spec":{"group":"x","version":"v2","names":{"plural":"as","kind":"A"},"scope":"Namespaced","validation":{"openAPIV3Schema":{"type":"object"}},"subresources":{"status":{}},"versions":[{"name":"v2","served":true,"storage":true},{"name":"v1","served":true,"storage":false}],"additionalPrinterColumns":[{"name":"N","type":"string","JSONPath":".n"}],"conversion":{"strategy":"Webhook","webhookClientConfig":{"url":"https://a"},"conversionReviewVersions":["v1"]},"preserveUnknownFields":false},"status":{"conditions":[],"acceptedNames":{"plural":"as","kind":"A"},"storedVersions":["v2"]}}"#;
        let mut tree = json::parse(stored).unwrap();
        let (from, to) = (("apiextensions.k8s.io", "v1beta1"), ("apiextensions.k8s.io", "v1"));
        convert(&mut tree, from, to, "CustomResourceDefinition").unwrap();
        assert_eq!(tree.str_at("apiVersion"), "apiextensions.k8s.io/v1");
        let expected = json::parse(br#"{"group":"x","names":{"plural":"as","kind":"A"},"scope":"Namespaced","versions":[{"name":"v2","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}},"subresources":{"status":{}},"additionalPrinterColumns":[{"name":"N","type":"string","jsonPath":".n"}]},{"name":"v1","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object"}},"subresources":{"status":{}},"additionalPrinterColumns":[{"name":"N","type":"string","jsonPath":".n"}]}],"conversion":{"strategy":"Webhook","webhook":{"clientConfig":{"url":"https://a"},"conversionReviewVersions":["v1"]}}}"#).unwrap();
        assert_eq!(tree.at("spec"), &expected);
    }

    #[test]
    fn one_version_may_be_said_the_oldest_way() {
        let stored = br#"{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1beta1","metadata":{"name":"as.x"},"spec":{"group":"x","version":"v1","names":{"plural":"as","kind":"A"},"scope":"Cluster"}}"#;
        let mut tree = json::parse(stored).unwrap();
        let (from, to) = (("apiextensions.k8s.io", "v1beta1"), ("apiextensions.k8s.io", "v1"));
        convert(&mut tree, from, to, "CustomResourceDefinition").unwrap();
        assert_eq!(json::to_vec(tree.at("spec.versions")), br#"[{"name":"v1","served":true,"storage":true}]"#);
    }
}
