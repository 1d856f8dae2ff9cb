//! ServiceAccount: references to secrets hold nothing but names.

use super::Rules;
use super::read::{Read, each_mut};
use crate::value::{Map, Value};

const ENFORCE_MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";

pub const RULES: Rules = Rules {
    prepare_create: |account, _| clean_references(account),
    prepare_update: |account, _, _| clean_references(account),
    warnings: |new, old| {
        let has = |object: &Value| !object.entry("metadata.annotations", ENFORCE_MOUNTABLE).is_null();
        match has(new) && !old.is_some_and(has) {
            true => vec![format!(
                "metadata.annotations[{ENFORCE_MOUNTABLE}]: deprecated in v1.32+; prefer separate namespaces to isolate \
                 access to mounted secrets"
            )],
            false => Vec::new(),
        }
    },
    ..Rules::DEFAULT
};

fn clean_references(account: &mut Value) {
    each_mut(account, "secrets", |secret| {
        let name = secret.str_at("name").to_owned();
        *secret = match name.is_empty() {
            true => Map::new().into(),
            false => [("name", name)].into_iter().collect::<Map>().into(),
        };
    });
}
