//! StatefulSet and ControllerRevision.

use super::pod::{defaults, template};
use super::read::{Read, as_internal, default_to, default_zero, each_mut, same};
use super::workload::{
    SPEC, STATUS, amount, at_most, at_most_100_percent, collision_count, counts, int_or_percent, required_selector,
    selector_matches_template, template_warnings,
};
use super::{Generation, Rules, StatusRule, Subresource, persistent_volume_claim};
use crate::field::{FieldErrors, Path};
use crate::meta::{self, NameRule, non_negative};
use crate::value::{Map, Value};

pub const STATEFUL_SET: Rules = Rules {
    name: NameRule::Label,
    defaults: defaults_of,
    generation: Generation::Spec,
    status: StatusRule::Separate,
    prepare_create: |set, _| template::drop_disabled_fields(set, "spec.template"),
    prepare_update: |set, _, _| template::drop_disabled_fields(set, "spec.template"),
    validate: |set, errors| validate_spec(set.at("spec"), Leniency::None, errors),
    validate_update,
    subresources: &[Subresource { validate: validate_status, ..Subresource::STATUS }],
    warnings: |new, old| {
        let mut warnings = template_warnings(new, old, "spec.template");
        let at = Path::new("spec.volumeClaimTemplates");
        for (index, claim) in new.array_at("spec.volumeClaimTemplates").iter().enumerate() {
            let at = at.index(index);
            let below = at.child("Spec");
            let at = if old.is_none() { &at } else { &below };
            warnings.extend(persistent_volume_claim::spec_warnings(claim.at("spec"), at));
        }
        if new.int("spec.revisionHistoryLimit") < 0 {
            warnings.push(
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is \
                 recommended"
                    .to_owned(),
            );
        }
        warnings
    },
    ..Rules::DEFAULT
};

pub const CONTROLLER_REVISION: Rules = Rules {
    validate: |revision, errors| {
        non_negative(revision.int("revision"), &Path::new("revision"), errors);
        let at = Path::new("data");
        match revision.at("data") {
            Value::Null => errors.required(&at, "data is mandatory"),
            Value::Object(_) => {}
            _ => errors.required(&at, "data must be a valid JSON object"),
        }
    },
    validate_update: |new, old, errors| {
        non_negative(new.int("revision"), &Path::new("revision"), errors);
        if new.at("data") != old.at("data") {
            errors.invalid(&Path::new("data"), new.at("data"), meta::IMMUTABLE);
        }
    },
    ..Rules::DEFAULT
};

/// What an update tolerates since it can't have made it.
#[derive(Clone, Copy, PartialEq)]
enum Leniency {
    None,
    /// The service's name and the claim templates, which don't change.
    Immutable,
    /// The pod template too, since the stored one is as bad.
    Template,
}

fn defaults_of(set: &mut Value) {
    default_zero(set, "spec.podManagementPolicy", "OrderedReady");
    let kind = "spec.updateStrategy.type";
    if set.str_at(kind).is_empty() {
        set.set(kind, "RollingUpdate");
        default_to(set, "spec.updateStrategy.rollingUpdate", Map::new());
    }
    if set.str_at(kind) == "RollingUpdate" && set.has("spec.updateStrategy.rollingUpdate") {
        default_to(set, "spec.updateStrategy.rollingUpdate.partition", 0i64);
        default_to(set, "spec.updateStrategy.rollingUpdate.maxUnavailable", 1i64);
    }
    for when in ["whenDeleted", "whenScaled"] {
        default_zero(set, &format!("spec.persistentVolumeClaimRetentionPolicy.{when}"), "Retain");
    }
    default_to(set, "spec.replicas", 1i64);
    default_to(set, "spec.revisionHistoryLimit", 10i64);
    defaults::template(set, "spec.template");
    each_mut(set, "spec.volumeClaimTemplates", |claim| {
        // Whatever they were called.
        claim.set("kind", "PersistentVolumeClaim");
        claim.set("apiVersion", "v1");
        (persistent_volume_claim::RULES.defaults)(claim);
    });
}

fn validate_update(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let mut stored = FieldErrors::new();
    validate_spec(old.at("spec"), Leniency::Immutable, &mut stored);
    let leniency = if stored.is_empty() { Leniency::Immutable } else { Leniency::Template };
    validate_spec(new.at("spec"), leniency, errors);
    for field in ["selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy"] {
        let path = format!("spec.{field}");
        let differs = match field {
            // An absent name is an empty one.
            "serviceName" => new.str_at(&path) != old.str_at(&path),
            _ => !same(new.at(&path), old.at(&path)),
        };
        if differs {
            errors.invalid(&SPEC.child(field), new.at(&path), meta::IMMUTABLE);
        }
    }
}

fn validate_spec(spec: &Value, leniency: Leniency, errors: &mut FieldErrors) {
    match spec.str_at("podManagementPolicy") {
        "" => errors.required(&SPEC.child("podManagementPolicy"), ""),
        "OrderedReady" | "Parallel" => {}
        other => {
            errors.invalid(&SPEC.child("podManagementPolicy"), other, "must be 'OrderedReady' or 'Parallel'");
        }
    }
    update_strategy(spec.at("updateStrategy"), &SPEC.child("updateStrategy"), errors);
    let retention = SPEC.child("persistentVolumeClaimRetentionPolicy");
    for when in ["whenDeleted", "whenScaled"] {
        let policy = spec.at("persistentVolumeClaimRetentionPolicy").str_at(when);
        super::formats::one_of(policy, &["Retain", "Delete"], &retention.child(when), errors);
    }
    if leniency == Leniency::None {
        let at = SPEC.child("volumeClaimTemplates");
        for (index, claim) in spec.array_at("volumeClaimTemplates").iter().enumerate() {
            persistent_volume_claim::validate_spec(claim.at("spec"), &at.index(index).child("spec"), errors);
        }
    }
    counts(spec, &["replicas", "minReadySeconds", "ordinals.start"], &SPEC, errors);
    if leniency == Leniency::None && spec.filled("serviceName") {
        super::formats::dns_label(spec.str_at("serviceName"), &SPEC.child("serviceName"), errors);
    }
    required_selector(spec, "statefulset", &SPEC.child("selector"), errors);
    pod_template(spec, leniency, errors);
}

/// The template as the controller will use it: with the claims as volumes, without the names
/// that it sets itself.
fn pod_template(spec: &Value, leniency: Leniency, errors: &mut FieldErrors) {
    let at = SPEC.child("template");
    let mut effective = spec.at("template").clone();
    if !selector_matches_template(spec.at("selector"), &effective, &at, errors) {
        return errors.invalid(&SPEC.child("selector"), spec.at("selector"), "");
    }
    if leniency != Leniency::Template {
        for field in ["spec.subdomain", "spec.hostname"] {
            effective.remove(field);
        }
        add_claim_volumes(&mut effective, spec.array_at("volumeClaimTemplates"));
        template::validate(&effective, &at, errors);
    }
    super::workload::always_restarts(spec.at("template"), "StatefulSet", &at, errors);
}

fn add_claim_volumes(template: &mut Value, claims: &[Value]) {
    if claims.is_empty() {
        return;
    }
    let mut volumes: Vec<Value> = Vec::new();
    let names: std::collections::BTreeSet<_> = claims.iter().map(|claim| claim.str_at("metadata.name")).collect();
    for name in names.iter().copied() {
        let mut volume = Value::object();
        volume.set("name", name);
        volume.set("persistentVolumeClaim.claimName", name);
        volumes.push(volume);
    }
    let claimed = |volume: &Value| names.contains(volume.str_at("name"));
    volumes.extend(template.array_at("spec.volumes").iter().filter(|volume| !claimed(volume)).cloned());
    template.set("spec.volumes", volumes);
}

fn update_strategy(strategy: &Value, at: &Path<'_>, errors: &mut FieldErrors) {
    let at_rolling = at.child("rollingUpdate");
    let rolling = strategy.at("rollingUpdate");
    let shown = || {
        let fields = [("Partition", "partition", 0i64.into()), ("MaxUnavailable", "maxUnavailable", Value::Null)];
        if rolling.is_null() { Value::Null } else { as_internal(rolling, &fields) }
    };
    match strategy.str_at("type") {
        "" => errors.required(at, ""),
        "OnDelete" if !rolling.is_null() => {
            errors.invalid(&at_rolling, shown(), "only allowed for updateStrategy 'RollingUpdate'");
        }
        "RollingUpdate" if !rolling.is_null() => {
            counts(rolling, &["partition"], &at_rolling, errors);
            let (unavailable, at) = (rolling.at("maxUnavailable"), at_rolling.child("maxUnavailable"));
            if !unavailable.is_null() {
                int_or_percent(unavailable, &at, errors);
                if amount(unavailable) == 0 {
                    errors.invalid(&at, unavailable, "cannot be 0");
                }
                at_most_100_percent(unavailable, &at, errors);
            }
        }
        "OnDelete" | "RollingUpdate" => {}
        kind => {
            let strategy = Map::from_iter([("Type", kind.into()), ("RollingUpdate", shown())]);
            errors.invalid(at, strategy, "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
}

fn validate_status(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let status = new.at("status");
    const COUNTS: [&str; 7] = [
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ];
    counts(status, &COUNTS, &STATUS, errors);
    for field in &COUNTS[1..5] {
        at_most(status, field, "replicas", "cannot be greater than status.replicas", &STATUS, errors);
    }
    let message = "cannot be greater than status.readyReplicas";
    at_most(status, "availableReplicas", "readyReplicas", message, &STATUS, errors);
    collision_count(new, old, errors);
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kinds::deployment::tests::workload;
    use crate::kinds::testing::{create, object, update};

    #[rstest]
    #[case::sound(json!({}), "")]
    #[case::claims(json!({"spec.volumeClaimTemplates": [{"metadata": {"name": "v"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}}}],
        "spec.template.spec.containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}), "")]
    #[case::policy(json!({"spec.podManagementPolicy": "Wild"}),
        r#"spec.podManagementPolicy: Invalid value: "Wild": must be 'OrderedReady' or 'Parallel'"#)]
    #[case::on_delete(json!({"spec.updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}),
        r#"spec.updateStrategy.rollingUpdate: Invalid value: {"Partition":1,"MaxUnavailable":null}: only allowed for updateStrategy 'RollingUpdate'"#)]
    #[case::unavailable(json!({"spec.updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}}}),
        "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0")]
    #[case::ordinals(json!({"spec.ordinals.start": -1}),
        "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0")]
    fn stateful_sets(#[case] change: serde_json::Value, #[case] expected: &str) {
        assert_eq!(create(&STATEFUL_SET, true, workload(change)).err().unwrap_or_default().join("; "), expected);
    }

    #[test]
    fn what_made_the_pods_names_stays() {
        let old = create(&STATEFUL_SET, true, workload(json!({}))).unwrap();
        let mut new = old.clone();
        new.set("spec.serviceName", "other");
        assert_eq!(
            update(&STATEFUL_SET, true, new, old).unwrap_err(),
            [r#"spec.serviceName: Invalid value: "other": field is immutable"#]
        );
    }

    #[test]
    fn revisions_hold_data_for_good() {
        let said = create(&CONTROLLER_REVISION, true, object(true, json!({"revision": -1}))).unwrap_err();
        assert_eq!(
            said,
            [
                "revision: Invalid value: -1: must be greater than or equal to 0",
                "data: Required value: data is mandatory",
            ]
        );
    }
}
