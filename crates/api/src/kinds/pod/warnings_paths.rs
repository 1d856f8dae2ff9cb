//! Paths in a volume that lie in each other's way.
//!
//! Such volumes fail on the node or hide a file; upstream only warns.

use crate::field::go_quote;
use crate::kinds::read::Read;
use crate::value::Value;

/// A path in a volume, and what puts something there.
#[derive(Clone, PartialEq)]
struct Placed {
    path: String,
    source: String,
}

/// Says which paths of one volume overlap.
pub fn overlaps(volumes: &[Value], said: &mut Vec<String>) {
    for volume in volumes {
        let by_path = ["configMap", "secret", "downwardAPI", "projected"];
        if !volume.as_object().is_some_and(|fields| fields.keys().any(|key| by_path.contains(&key.as_str()))) {
            continue;
        }
        let name = go_quote(volume.str_at("name"));
        for (source, title, key) in
            [("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"), ("downwardAPI", "DownwardAPI", "")]
        {
            let source = volume.at(source);
            if source.array_at("items").is_empty() {
                continue;
            }
            let mut placed = Vec::new();
            let title = match key {
                "" => title.to_owned(),
                key => format!("{title} {}", go_quote(source.str_at(key))),
            };
            for path in paths(source) {
                place(Placed { path, source: String::new() }, &mut placed, &name, &title, said);
            }
        }
        let mut placed = Vec::new();
        for source in volume.array_at("projected.sources") {
            if source.as_object().is_none_or(|source| source.values().all(Value::is_null)) {
                said.push(format!("volume {name} (Projected) has no sources provided"));
            }
            for one in projected(source) {
                place(one, &mut placed, &name, "Projected", said);
            }
        }
    }
}

fn paths(source: &Value) -> impl Iterator<Item = String> {
    source.array_at("items").iter().map(|item| item.str_at("path").to_owned())
}

fn projected(source: &Value) -> Vec<Placed> {
    let quoted = |title: &str, name: &str| format!("{title} {}", go_quote(name));
    let items = |source: &Value, title: String| {
        paths(source).map(|path| Placed { path, source: title.clone() }).collect::<Vec<_>>()
    };
    let one = |path: &str, title: String| Placed { path: path.to_owned(), source: title };
    if source.has("configMap.items") {
        let map = source.at("configMap");
        items(map, quoted("ConfigMap", map.str_at("name")))
    } else if source.has("secret.items") {
        let secret = source.at("secret");
        items(secret, quoted("Secret", secret.str_at("name")))
    } else if source.has("downwardAPI.items") {
        items(source.at("downwardAPI"), "DownwardAPI".to_owned())
    } else if source.has("serviceAccountToken") {
        vec![one(source.str_at("serviceAccountToken.path"), "ServiceAccountToken".to_owned())]
    } else if source.has("clusterTrustBundle") {
        let bundle = source.at("clusterTrustBundle");
        let name = if bundle.has("name") { bundle.str_at("name") } else { bundle.str_at("signerName") };
        vec![one(bundle.str_at("path"), quoted("ClusterTrustBundle", name))]
    } else {
        let certificate = source.at("podCertificate");
        [("certificateChainPath", "chain"), ("keyPath", "key"), ("credentialBundlePath", "credential bundle")]
            .into_iter()
            .filter(|(field, _)| certificate.filled(field))
            .map(|(field, what)| one(certificate.str_at(field), format!("PodCertificate {what}")))
            .collect()
    }
}

fn place(mut new: Placed, placed: &mut Vec<Placed>, volume: &str, title: &str, said: &mut Vec<String>) {
    new.path.truncate(new.path.trim_end_matches('/').len());
    let within = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
    for other in placed.iter().filter(|other| !new.path.is_empty() && !other.path.is_empty()) {
        if within(&new.path, &other.path) || within(&other.path, &new.path) {
            said.push(format!("volume {volume} ({title}): overlapping paths: {} with {}", shown(&new), shown(other)));
        }
    }
    placed.push(new);
}

fn shown(placed: &Placed) -> String {
    match placed.source.as_str() {
        "" => go_quote(&placed.path),
        source => format!("{} ({source})", go_quote(&placed.path)),
    }
}
