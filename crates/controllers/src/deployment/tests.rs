use rstest::rstest;

use super::model::{Annotations, Condition, DESIRED_REPLICAS, MAX_REPLICAS, REVISION_HISTORY};
use super::*;

fn now() -> jiff::Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

/// A deployment of so many replicas, rolling with 25 % of both.
fn wish(replicas: i32) -> Wish {
    let (max_surge, max_unavailable) = ((replicas + 3) / 4, replicas / 4);
    Wish {
        name: "web".into(),
        generation: 1,
        replicas,
        is_rolling: true,
        max_surge,
        max_unavailable,
        progress_deadline: Some(600),
        history_limit: Some(10),
        template_hash: "h".into(),
        ..Wish::default()
    }
}

/// A set that has `replicas` pods, of which so many are available; `web-N` is the N-th oldest.
fn set(age: u8, replicas: i32, available: i32) -> Set {
    Set {
        name: format!("web-{age}"),
        uid: format!("uid-{age}"),
        created: Some(format!("2026-01-01T00:{age:02}:00Z").parse().unwrap()),
        annotations: Annotations::from([(REVISION.to_owned(), age.to_string())]),
        replicas,
        is_observed: true,
        is_known: true,
        actual: replicas,
        ready: available,
        available,
        terminating: Some(0),
        ..Set::default()
    }
}

/// The same as last scaled for a deployment of that size.
fn scaled_for(mut set: Set, wish: &Wish) -> Set {
    plan::set_replica_annotations(&mut set, wish.replicas, wish.replicas + wish.max_surge);
    set
}

fn current(set: Set) -> Set {
    Set { is_current: true, ..set }
}

fn sizes(plan: &Plan) -> Vec<(&str, i32)> {
    plan.update
        .iter()
        .filter(|one| one.from.replicas != one.to.replicas)
        .map(|one| (one.to.name.as_str(), one.to.replicas))
        .collect()
}

fn decide(wish: Wish, sets: Vec<Set>) -> Plan {
    plan(&Observed { wish, sets, old_pods_run: false }, now())
}

fn reason(plan: &Plan) -> String {
    let status = plan.status.as_ref().unwrap();
    status.condition(status::PROGRESSING).map_or_else(String::new, |condition| condition.reason.clone())
}

#[test]
fn a_new_deployment_creates_its_set_at_full_size() {
    let plan = decide(Wish { annotations: [("note".to_owned(), "x".to_owned())].into(), ..wish(3) }, vec![]);
    let new = plan.create.as_ref().unwrap();
    assert_eq!((new.name.as_str(), new.replicas, new.revision()), ("web-h", 3, 1));
    assert_eq!(new.annotated(DESIRED_REPLICAS), Some(3));
    assert_eq!(new.annotated(MAX_REPLICAS), Some(4));
    assert_eq!(new.annotations["note"], "x");
    assert_eq!(plan.revision.as_deref(), Some("1"));
    assert_eq!(reason(&plan), "NewReplicaSetCreated");
}

#[rstest]
// 10 replicas, 3 surge, 2 may be missing.
#[case::surge_first(set(1, 10, 10), None, &[("web-1", 8)], Some(3))]
#[case::old_shrinks_when_new_is_available(set(1, 8, 8), Some(set(2, 5, 5)), &[("web-1", 3)], None)]
#[case::new_grows_when_there_is_room(set(1, 8, 8), Some(set(2, 3, 0)), &[("web-2", 5)], None)]
#[case::waits_for_the_new(set(1, 8, 8), Some(set(2, 5, 0)), &[], None)]
#[case::unhealthy_old_ones_go(set(1, 8, 3), Some(set(2, 5, 5)), &[("web-1", 3)], None)]
#[case::too_large(set(1, 0, 0), Some(set(2, 12, 12)), &[("web-2", 10)], None)]
fn rolling(#[case] old: Set, #[case] new: Option<Set>, #[case] expected: &[(&str, i32)], #[case] created: Option<i32>) {
    let wish = wish(10);
    let mut sets = vec![scaled_for(old, &wish)];
    sets.extend(new.map(|new| current(scaled_for(new, &wish))));
    let plan = decide(wish, sets);
    assert_eq!(sizes(&plan), expected);
    assert_eq!(plan.create.map(|new| new.replicas), created);
}

#[test]
fn a_rollout_ends_complete_with_old_sets_at_zero() {
    let mut wish = wish(4);
    let mut old = scaled_for(set(1, 4, 4), &wish);
    let mut new: Option<Set> = None;
    for _ in 0..20 {
        let sets = std::iter::once(old.clone()).chain(new.clone()).collect();
        let plan = decide(wish.clone(), sets);
        for Update { to, .. } in &plan.update {
            if to.is_current { new = Some(to.clone()) } else { old = to.clone() }
        }
        new = new.or(plan.create.map(|set| Set { uid: "uid-new".into(), is_observed: true, is_known: true, ..set }));
        // The sets' own controller makes all pods available.
        for set in [Some(&mut old), new.as_mut()].into_iter().flatten() {
            (set.actual, set.ready, set.available) = (set.replicas, set.replicas, set.replicas);
        }
        let running = old.replicas + new.as_ref().map_or(0, |new| new.replicas);
        assert!((3..=5).contains(&running), "{running} pods");
        wish.status = plan.status.unwrap_or(wish.status);
    }
    assert_eq!((old.replicas, new.unwrap().replicas), (0, 4));
    assert_eq!(wish.status.condition(status::PROGRESSING).unwrap().reason, "NewReplicaSetAvailable");
    assert_eq!(wish.status.condition("Available").unwrap().status, "True");
    assert_eq!((wish.status.updated, wish.status.unavailable), (4, 0));
}

#[test]
fn scaling_during_a_rollout_is_proportional() {
    let before = wish(10);
    let sets = vec![scaled_for(set(1, 8, 8), &before), current(scaled_for(set(2, 5, 0), &before))];
    let plan = decide(wish(20), sets);
    assert_eq!(sizes(&plan), [("web-2", 10), ("web-1", 15)]);
    for Update { to, .. } in &plan.update {
        assert_eq!((to.annotated(DESIRED_REPLICAS), to.annotated(MAX_REPLICAS)), (Some(20), Some(25)));
    }
}

#[rstest]
#[case::up(7)]
#[case::to_zero(0)]
fn scaling_an_idle_deployment_scales_its_one_set(#[case] replicas: i32) {
    let sets = vec![set(1, 0, 0), current(scaled_for(set(2, 3, 3), &wish(3)))];
    assert_eq!(sizes(&decide(wish(replicas), sets)), [("web-2", replicas)]);
}

#[test]
fn recreate_waits_until_old_pods_are_gone() {
    let wish = Wish { is_rolling: false, max_surge: 0, max_unavailable: 0, ..wish(3) };
    let old = scaled_for(set(1, 3, 3), &wish);
    let first = decide(wish.clone(), vec![old.clone()]);
    assert_eq!((sizes(&first), &first.create), (vec![("web-1", 0)], &None));
    let empty = Set { replicas: 0, actual: 0, ..old };
    let still = Observed { wish: wish.clone(), sets: vec![empty.clone()], old_pods_run: true };
    assert_eq!(plan(&still, now()).create, None);
    assert_eq!(decide(wish, vec![empty]).create.unwrap().replicas, 3);
}

#[test]
fn going_back_reuses_the_old_set_with_a_new_revision() {
    let wish = wish(2);
    let sets = vec![current(set(1, 0, 0)), scaled_for(set(2, 2, 2), &wish)];
    let plan = decide(wish, sets);
    let back = &plan.update.iter().find(|one| one.to.is_current).unwrap().to;
    assert_eq!((back.revision(), back.annotations[REVISION_HISTORY].as_str()), (3, "1"));
    assert_eq!(plan.revision.as_deref(), Some("3"));
}

#[rstest]
#[case::the_one_before(0, Ok("uid-1"))]
#[case::a_named_one(1, Ok("uid-1"))]
#[case::none_such(9, Err("DeploymentRollbackRevisionNotFound"))]
#[case::the_same(2, Err("DeploymentRollbackTemplateUnchanged"))]
fn rollback_annotation(#[case] to: i64, #[case] expected: Result<&str, &str>) {
    let wish = Wish { annotations: [(ROLLBACK_TO.to_owned(), to.to_string())].into(), ..wish(2) };
    match decide(wish, vec![set(1, 0, 0), current(set(2, 2, 2))]).rollback.unwrap() {
        Rollback::To { uid, .. } => assert_eq!(Ok(uid.as_str()), expected),
        Rollback::Refused(reason, _) => assert_eq!(Err(reason), expected),
    }
}

#[test]
fn pausing_stops_the_rollout_and_the_clock() {
    let mut wish = Wish { is_paused: true, ..wish(10) };
    let sets = || {
        vec![
            scaled_for(set(1, 8, 8), &super::tests::wish(10)),
            current(scaled_for(set(2, 3, 3), &super::tests::wish(10))),
        ]
    };
    let paused = decide(wish.clone(), sets());
    assert_eq!((sizes(&paused), reason(&paused).as_str()), (vec![("web-1", 10)], "DeploymentPaused"));
    wish.status = paused.status.unwrap();
    wish.is_paused = false;
    assert_eq!(reason(&decide(Wish { progress_deadline: Some(1), ..wish }, sets())), "DeploymentResumed");
}

#[test]
fn no_progress_is_a_failure_after_the_deadline() {
    let mut wish = wish(10);
    let sets = || {
        vec![
            scaled_for(set(1, 8, 8), &super::tests::wish(10)),
            current(scaled_for(set(2, 5, 0), &super::tests::wish(10))),
        ]
    };
    let first = decide(wish.clone(), sets());
    wish.status = first.status.unwrap();
    let since = |ago: i64| Some(now() - jiff::SignedDuration::from_secs(ago));
    let progressing =
        |ago| Condition { updated: since(ago), ..wish.status.condition(status::PROGRESSING).unwrap().clone() };
    let with = |ago| {
        let mut status = wish.status.clone();
        status.unset(status::PROGRESSING);
        status.conditions.push(progressing(ago));
        Wish { status, ..wish.clone() }
    };
    let waiting = decide(with(500), sets());
    assert_eq!((waiting.status, waiting.check_progress_in), (None, Some(std::time::Duration::from_secs(101))));
    let over = decide(with(601), sets());
    assert_eq!(reason(&over), "ProgressDeadlineExceeded");
    let condition = over.status.unwrap().condition(status::PROGRESSING).cloned().unwrap();
    assert_eq!(condition.message, "ReplicaSet \"web-2\" has timed out progressing.");
}

#[test]
fn old_sets_beyond_the_limit_are_deleted_by_revision() {
    let mut wish = Wish { history_limit: Some(1), ..wish(1) };
    let sets = vec![set(3, 0, 0), set(1, 0, 0), set(2, 0, 0), current(scaled_for(set(4, 1, 1), &wish))];
    wish.status = decide(wish.clone(), sets.clone()).status.unwrap();
    let plan = decide(wish, sets);
    assert_eq!(plan.delete, ["web-1", "web-2"]);
}

#[test]
fn what_is_as_it_should_be_needs_nothing() {
    let mut wish = wish(1);
    wish.annotations.insert(REVISION.to_owned(), "1".to_owned());
    let sets = vec![current(scaled_for(set(1, 1, 1), &wish))];
    wish.status = decide(wish.clone(), sets.clone()).status.unwrap();
    wish.status = decide(wish.clone(), sets.clone()).status.unwrap_or(wish.status);
    assert_eq!(decide(wish, sets), Plan::default());
}

#[test]
fn the_set_of_a_template_has_its_hash_in_labels_and_selector() {
    let deployment = json::parse(
        br#"{"metadata":{"name":"web","namespace":"x"},"spec":{"selector":{"matchLabels":{"a":"b"}},
            "template":{"metadata":{"labels":{"a":"b"}},"spec":{"newField":1}}}}"#,
    )
    .unwrap();
    let owner = Owner {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        name: "web".into(),
        uid: "u".into(),
        is_deleting: false,
    };
    let body = set_body(&owner, &deployment, &set(1, 2, 0), "h");
    for path in ["spec.template.metadata.labels", "spec.selector.matchLabels", "metadata.labels"] {
        assert_eq!(json::write(body.at(path)), r#"{"a":"b","pod-template-hash":"h"}"#, "{path}");
    }
    assert_eq!(canonical(body.at("spec.template")), canonical(deployment.at("spec.template")));
    assert_eq!(body.i64_at("spec.template.spec.newField"), Some(1));
}
