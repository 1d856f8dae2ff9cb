//! What a delete request does to an object: gone at once, marked, or nothing more to do.
//!
//! Pure. Upstream: `apiserver/pkg/registry/rest/delete.go` (`BeforeDelete`) and
//! `…/registry/generic/registry/store.go` (finalizers).

use api::status::{GroupResource, Status};
use api::value::Value;
use jiff::Timestamp;

use super::meta;
use crate::request::options::{DeleteOptions, Propagation};

/// The garbage collector removes it once all dependents let go of it.
pub const ORPHAN: &str = "orphan";
/// The garbage collector removes it once all blocking dependents are gone.
pub const FOREGROUND: &str = "foregroundDeletion";

/// The outcome for one state of the object.
#[derive(Debug, PartialEq)]
pub enum Deletion {
    /// Nothing holds it: remove it.
    Now,
    /// The object changes (deletion timestamp, grace, finalizers) and stays for now.
    Mark,
    /// A deletion is under way and this request adds nothing.
    Pending,
}

/// What the kind says about its deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Policy {
    /// Seconds of grace that this object gets on this request, `None` where its kind knows no
    /// graceful deletion.
    pub grace_seconds: Option<i64>,
    /// Dependents are orphaned unless the request says otherwise (none of today's versions do).
    pub orphans_by_default: bool,
    /// The kind is never garbage collected as an owner (events, for instance).
    pub no_garbage_collection: bool,
    /// The kind ends step by step (a namespace): the first request only begins it.
    pub terminates: bool,
    /// How the kind's own words on preconditions that fail begin; empty where they are the usual ones.
    pub precondition_words: &'static str,
    /// The kind holds this object back, whatever its metadata says.
    pub is_held: bool,
}

/// Decides, and edits `object` where the answer is [`Deletion::Mark`].
///
/// # Errors
/// 409 where a precondition does not hold.
pub fn plan(
    object: &mut Value,
    options: &DeleteOptions,
    policy: Policy,
    of: GroupResource<'_>,
    revision: u64,
    now: Timestamp,
) -> Result<Deletion, Status> {
    check_preconditions(object, options, policy, of, revision)?;
    if policy.terminates && !meta::is_deleting(object) {
        object.set("metadata.deletionTimestamp", meta::rfc3339(now));
        object.set("status.phase", "Terminating");
        set_collection_finalizers(object, options, policy);
        return Ok(Deletion::Mark);
    }
    if policy.is_held {
        return Ok(Deletion::Pending);
    }
    let graceful = match grace(object, options, policy, now) {
        Grace::Pending => return Ok(Deletion::Pending),
        Grace::Begin { seconds, at } => {
            if !meta::is_deleting(object) {
                meta::bump_generation(object);
            }
            object.set("metadata.deletionTimestamp", meta::rfc3339(at));
            object.set("metadata.deletionGracePeriodSeconds", seconds);
            seconds > 0
        }
        Grace::None => false,
    };
    set_collection_finalizers(object, options, policy);
    let held = !object.array_at("metadata.finalizers").is_empty();
    Ok(match (held, graceful) {
        (true, false) => {
            mark(object, now);
            Deletion::Mark
        }
        (_, true) => Deletion::Mark,
        (false, false) => Deletion::Now,
    })
}

/// Whether an update that leaves the object without finalizers ends a deletion begun earlier.
pub fn ends_with_update(new: &Value, old: &Value) -> bool {
    new.array_at("metadata.finalizers").is_empty()
        && meta::is_deleting(old)
        && old.i64_at("metadata.deletionGracePeriodSeconds").unwrap_or_default() == 0
}

/// How much time the object has left.
enum Grace {
    /// No graceful deletion: only finalizers can hold the object.
    None,
    Begin {
        seconds: i64,
        at: Timestamp,
    },
    Pending,
}

fn grace(object: &Value, options: &DeleteOptions, policy: Policy, now: Timestamp) -> Grace {
    // Negative values count as one second.
    let asked = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let after =
        |from: Timestamp, seconds: i64| from.saturating_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(now);
    let Some(own) = policy.grace_seconds else { return Grace::None };
    let Some(deleted_at) = meta::timestamp(object.str_at("metadata.deletionTimestamp")) else {
        return Grace::Begin { seconds: own, at: after(now, own) };
    };
    let running = object.i64_at("metadata.deletionGracePeriodSeconds").unwrap_or_default();
    match (running, asked) {
        (0, _) => Grace::None,
        (_, None) => Grace::Pending,
        (running, Some(asked)) if asked >= running => Grace::Pending,
        (running, Some(asked)) => {
            // A shorter time counts from the first request, but not into the past.
            let at = after(after(deleted_at, -running), asked);
            match at < now {
                true => Grace::Begin { seconds: asked.min(1), at: now },
                false => Grace::Begin { seconds: asked, at },
            }
        }
    }
}

fn check_preconditions(
    object: &Value,
    options: &DeleteOptions,
    policy: Policy,
    of: GroupResource<'_>,
    revision: u64,
) -> Result<(), Status> {
    let unequal = |what: &str, wanted: &str, is: &str, perhaps: &str| match policy.precondition_words {
        own if !own.is_empty() => format!("{own}: {what} in precondition: {wanted}, {what} in object meta: {is}"),
        _ => format!(
            "the {what} in the precondition ({wanted}) does not match the {what} in record ({is}). The object might have been {perhaps}"
        ),
    };
    let name = object.str_at("metadata.name");
    let uid = object.str_at("metadata.uid");
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        let why = unequal("UID", wanted, uid, "deleted and then recreated");
        return Err(Status::conflict(of, name, &why));
    }
    let revision = revision.to_string();
    if let Some(wanted) = options.resource_version.as_deref().filter(|wanted| *wanted != revision) {
        let why = unequal("ResourceVersion", wanted, &revision, "modified");
        return Err(Status::conflict(of, name, &why));
    }
    Ok(())
}

/// Adds or removes the garbage collector's two finalizers as the options say.
fn set_collection_finalizers(object: &mut Value, options: &DeleteOptions, policy: Policy) {
    if policy.no_garbage_collection {
        return;
    }
    let before: Vec<String> =
        object.array_at("metadata.finalizers").iter().filter_map(|f| f.as_str().map(str::to_owned)).collect();
    let has = |name: &str| before.iter().any(|one| one == name);
    let wanted = match options.propagation {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) => None,
        None if has(ORPHAN) => Some(ORPHAN),
        None if has(FOREGROUND) => Some(FOREGROUND),
        None => policy.orphans_by_default.then_some(ORPHAN),
    };
    let mut after: Vec<String> = before.iter().filter(|one| *one != ORPHAN && *one != FOREGROUND).cloned().collect();
    after.extend(wanted.map(str::to_owned));
    let changed = after.len() != before.len() || after.iter().any(|one| !before.contains(one));
    if changed {
        match after.is_empty() {
            true => drop(object.remove("metadata.finalizers")),
            false => object.set("metadata.finalizers", after),
        }
    }
}

/// Marks an object that only finalizers hold.
fn mark(object: &mut Value, now: Timestamp) {
    if !meta::is_deleting(object) {
        meta::bump_generation(object);
    }
    if meta::timestamp(object.str_at("metadata.deletionTimestamp")).is_none_or(|at| at > now) {
        object.set("metadata.deletionTimestamp", meta::rfc3339(now));
    }
    object.set("metadata.deletionGracePeriodSeconds", 0);
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NOW: &str = "2026-11-24T12:00:00Z";
    const PODS: GroupResource<'static> = GroupResource { group: "", resource: "pods" };

    fn object(metadata: &[(&str, Value)]) -> Value {
        let mut object = Value::object();
        object.set("metadata.name", "a");
        object.set("metadata.uid", "u1");
        for (key, value) in metadata {
            object.set(&format!("metadata.{key}"), value.clone());
        }
        object
    }

    fn decide(object: &mut Value, options: DeleteOptions, grace_seconds: Option<i64>) -> Deletion {
        let asked = options.grace_period_seconds;
        let policy = Policy { grace_seconds: grace_seconds.map(|own| asked.unwrap_or(own)), ..Policy::default() };
        plan(object, &options, policy, PODS, 7, NOW.parse().unwrap()).unwrap()
    }

    #[rstest]
    #[case::plain(vec![], None, None, Deletion::Now)]
    #[case::finalizer(vec![("finalizers", vec!["x"].into())], None, None, Deletion::Mark)]
    #[case::grace(vec![], None, Some(30), Deletion::Mark)]
    #[case::force(vec![], Some(0), Some(30), Deletion::Now)]
    #[case::force_with_finalizer(vec![("finalizers", vec!["x"].into())], Some(0), Some(30), Deletion::Mark)]
    #[case::again(
        vec![("deletionTimestamp", "2026-11-24T12:00:20Z".into()), ("deletionGracePeriodSeconds", 30.into())],
        None, Some(30), Deletion::Pending
    )]
    #[case::kubelet_is_done(
        vec![("deletionTimestamp", "2026-11-24T12:00:20Z".into()), ("deletionGracePeriodSeconds", 30.into())],
        Some(0), Some(30), Deletion::Now
    )]
    #[case::longer_is_ignored(
        vec![("deletionTimestamp", "2026-11-24T12:00:20Z".into()), ("deletionGracePeriodSeconds", 30.into())],
        Some(60), Some(30), Deletion::Pending
    )]
    fn decisions(
        #[case] metadata: Vec<(&str, Value)>,
        #[case] asked: Option<i64>,
        #[case] grace: Option<i64>,
        #[case] expected: Deletion,
    ) {
        let options = DeleteOptions { grace_period_seconds: asked, ..DeleteOptions::default() };
        assert_eq!(decide(&mut object(&metadata), options, grace), expected);
    }

    #[test]
    fn shortened_grace_counts_from_the_first_request() {
        let mut pod =
            object(&[("deletionTimestamp", "2026-11-24T12:00:20Z".into()), ("deletionGracePeriodSeconds", 30.into())]);
        let options = DeleteOptions { grace_period_seconds: Some(12), ..DeleteOptions::default() };
        assert_eq!(decide(&mut pod, options, Some(30)), Deletion::Mark);
        assert_eq!(pod.str_at("metadata.deletionTimestamp"), "2026-11-24T12:00:02Z");
        assert_eq!(pod.i64_at("metadata.deletionGracePeriodSeconds"), Some(12));
    }

    #[test]
    fn foreground_holds_the_object_by_a_finalizer() {
        let mut set = object(&[("generation", 3.into())]);
        let options = DeleteOptions { propagation: Some(Propagation::Foreground), ..DeleteOptions::default() };
        assert_eq!(decide(&mut set, options, None), Deletion::Mark);
        assert_eq!(set.array_at("metadata.finalizers"), [Value::from(FOREGROUND)]);
        assert_eq!(set.str_at("metadata.deletionTimestamp"), NOW);
        assert_eq!(set.i64_at("metadata.generation"), Some(4));
    }

    #[test]
    fn a_namespace_first_terminates_and_stays_while_it_is_held() {
        let step = |namespace: &mut Value, is_held: bool| {
            let policy = Policy { terminates: true, is_held, ..Policy::default() };
            plan(namespace, &DeleteOptions::default(), policy, PODS, 7, NOW.parse().unwrap()).unwrap()
        };
        let mut namespace = object(&[]);
        assert_eq!(step(&mut namespace, true), Deletion::Mark);
        assert_eq!(
            (namespace.str_at("metadata.deletionTimestamp"), namespace.str_at("status.phase")),
            (NOW, "Terminating")
        );
        assert_eq!(step(&mut namespace, true), Deletion::Pending);
        assert_eq!(step(&mut namespace, false), Deletion::Now);
    }

    #[test]
    fn preconditions_are_checked() {
        let options = DeleteOptions { uid: Some("u2".into()), ..DeleteOptions::default() };
        let policy = Policy::default();
        let refused = plan(&mut object(&[]), &options, policy, PODS, 7, NOW.parse().unwrap()).unwrap_err();
        assert_eq!((refused.code, refused.reason), (409, "Conflict"));
        assert!(refused.message.contains("the UID in the precondition (u2) does not match the UID in record (u1)"));
        let namespaces = Policy { precondition_words: "Precondition failed", ..policy };
        let refused = plan(&mut object(&[]), &options, namespaces, PODS, 7, NOW.parse().unwrap()).unwrap_err();
        assert!(refused.message.ends_with("Precondition failed: UID in precondition: u2, UID in object meta: u1"));
    }
}
