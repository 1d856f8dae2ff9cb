//! What a deployment does next: which sets to create, scale, delete, and what to say about it.
//!
//! The plan works on copies of the sets ([`Work`]): each step changes them as the request will, so that later steps
//! and the status see its effect. What differs from what was observed becomes the requests.

use jiff::Timestamp;

use super::model::{
    Annotations, Condition, DESIRED_REPLICAS, MAX_REPLICAS, NOT_COPIED, REVISION, REVISION_HISTORY, Set, Status, Wish,
};
use super::{rolling, scale, status};

/// What the decision depends on.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The deployment.
    pub wish: Wish,
    /// Its sets, in any order.
    pub sets: Vec<Set>,
    /// Pods of sets other than the current one have not ended.
    pub old_pods_run: bool,
}

/// What should happen next, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// A set to be created for the current template.
    pub create: Option<Set>,
    /// Sets to be updated, with what they were.
    pub update: Vec<Update>,
    /// Names of sets to be deleted.
    pub delete: Vec<String>,
    /// How an asked-for rollback ends; nothing else happens then.
    pub rollback: Option<Rollback>,
    /// The status, if it changes.
    pub status: Option<Status>,
    /// The deployment's revision annotation, if it changes.
    pub revision: Option<String>,
    /// Look again for progress after this time, if nothing happens.
    pub check_progress_in: Option<std::time::Duration>,
}

/// A set that changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// As it was.
    pub from: Set,
    /// As it is to be.
    pub to: Set,
}

/// The end of a rollback.
#[derive(Clone, Debug, PartialEq)]
pub enum Rollback {
    /// The deployment takes this set's template and annotations.
    To {
        /// The set's UID.
        uid: String,
        /// Its revision.
        revision: i64,
    },
    /// It can't be done, for this reason and with this message.
    Refused(&'static str, String),
}

/// The sets while a plan is made.
pub(super) struct Work<'a> {
    pub wish: &'a Wish,
    pub now: Timestamp,
    /// The set with the current template, to be created if it has no UID.
    pub new: Option<Set>,
    /// The others, oldest first.
    pub old: Vec<Set>,
    pub delete: Vec<String>,
    pub status: Status,
}

/// Longest list of earlier revisions, in characters; upstream's `maxRevHistoryLengthInChars`.
const HISTORY_CHARS_MAX: usize = 2000;

/// Decides what to do.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let wish = &observed.wish;
    let mut sets = observed.sets.clone();
    sets.sort_by(|a, b| a.age().cmp(&b.age()));
    let new = sets.iter().position(|set| set.is_current).map(|at| sets.remove(at));
    let mut work = Work { wish, now, new, old: sets, delete: Vec::new(), status: wish.status.clone() };

    if wish.is_deleting {
        work.sync_revision(false);
        status::sync(&mut work);
        return work.finish(observed);
    }
    status::note_pause(&mut work);
    if wish.is_paused {
        work.sync_revision(false);
        scale::scale(&mut work);
        if wish.rollback_to().is_none() {
            work.clean_up();
        }
        status::sync(&mut work);
        return work.finish(observed);
    }
    if let Some(revision) = wish.rollback_to() {
        work.sync_revision(true);
        let rollback = work.roll_back(revision);
        return Plan { rollback: Some(rollback), status: None, ..work.finish(observed) };
    }
    if work.is_scaling() {
        work.sync_revision(false);
        scale::scale(&mut work);
        status::sync(&mut work);
        return work.finish(observed);
    }
    match wish.is_rolling {
        true => rolling::roll(&mut work),
        false => rolling::recreate(&mut work, observed.old_pods_run),
    }
    status::sync_rollout(&mut work);
    work.finish(observed)
}

impl Work<'_> {
    /// All sets, the current one last.
    pub fn all(&self) -> impl Iterator<Item = &Set> {
        self.old.iter().chain(&self.new)
    }

    /// Gives the current set its revision (one more than all others), and makes it if it is to be made.
    pub fn sync_revision(&mut self, create: bool) {
        let revision = self.old.iter().map(Set::revision).max().unwrap_or(0) + 1;
        let max_replicas = self.wish.replicas + self.wish.max_surge;
        match &mut self.new {
            Some(new) if !new.uid.is_empty() => {
                annotate(new, &self.wish.annotations, revision);
                new.min_ready_seconds = self.wish.min_ready_seconds;
                if self.wish.progress_deadline.is_some() && self.status.condition(status::PROGRESSING).is_none() {
                    let message = format!("Found new replica set \"{}\"", new.name);
                    let condition =
                        Condition::new(status::PROGRESSING, "True", "FoundNewReplicaSet", message, self.now);
                    self.status.set(condition);
                }
            }
            Some(_) => {}
            None if create => {
                let mut new = Set {
                    name: set_name(&self.wish.name, &self.wish.template_hash),
                    created: Some(self.now),
                    min_ready_seconds: self.wish.min_ready_seconds,
                    is_current: true,
                    ..Set::default()
                };
                new.replicas = rolling::new_replicas(self.wish, self.old.iter(), &new);
                annotate(&mut new, &self.wish.annotations, revision);
                set_replica_annotations(&mut new, self.wish.replicas, max_replicas);
                if self.wish.progress_deadline.is_some() {
                    let message = format!("Created new replica set \"{}\"", new.name);
                    self.status.set(Condition::new(
                        status::PROGRESSING,
                        "True",
                        "NewReplicaSetCreated",
                        message,
                        self.now,
                    ));
                }
                self.new = Some(new);
            }
            None => {}
        }
    }

    /// Whether somebody changed `spec.replicas` since the sets were last scaled.
    fn is_scaling(&self) -> bool {
        let active = self.all().filter(|set| set.replicas > 0);
        active.filter_map(|set| set.annotated(DESIRED_REPLICAS)).any(|desired| desired != self.wish.replicas)
    }

    /// Forgets old sets beyond the limit, those of the lowest revisions, if nothing runs in them any more.
    pub fn clean_up(&mut self) {
        let Some(limit) = self.wish.history_limit else { return };
        let mut alive: Vec<&Set> = self.old.iter().filter(|set| !set.is_deleting).collect();
        let surplus = alive.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        alive.sort_by(|a, b| a.revision().cmp(&b.revision()).then_with(|| a.age().cmp(&b.age())));
        let first = alive.into_iter().take(surplus);
        let idle = first.filter(|set| set.actual == 0 && set.replicas == 0 && set.is_observed);
        self.delete = idle.map(|set| set.name.clone()).collect();
    }

    fn roll_back(&self, asked: i64) -> Rollback {
        let revision = if asked == 0 { self.revision_before() } else { asked };
        if revision == 0 {
            let reason = "DeploymentRollbackRevisionNotFound";
            return Rollback::Refused(reason, "Unable to find last revision.".to_owned());
        }
        match self.all().find(|set| set.revision() == revision) {
            Some(set) if set.is_current => Rollback::Refused(
                "DeploymentRollbackTemplateUnchanged",
                format!(
                    "The rollback revision contains the same template as current deployment \"{}\"",
                    self.wish.name
                ),
            ),
            Some(set) => Rollback::To { uid: set.uid.clone(), revision },
            None => {
                let message = "Unable to find the revision to rollback to.".to_owned();
                Rollback::Refused("DeploymentRollbackRevisionNotFound", message)
            }
        }
    }

    /// The second highest revision.
    fn revision_before(&self) -> i64 {
        let mut revisions: Vec<i64> = self.all().map(Set::revision).collect();
        revisions.sort_unstable();
        revisions.iter().rev().nth(1).copied().unwrap_or(0)
    }

    /// Turns the differences into a plan.
    fn finish(self, observed: &Observed) -> Plan {
        let before = |set: &Set| observed.sets.iter().find(|one| one.uid == set.uid).cloned();
        let changed = |set: &Set| {
            let from = before(set)?;
            (from != *set).then(|| Update { from, to: set.clone() })
        };
        // The current set first: it grows before the others shrink.
        let update = self.new.iter().chain(&self.old).filter(|set| !set.uid.is_empty()).filter_map(changed).collect();
        let revision = self.new.as_ref().and_then(|new| new.annotations.get(REVISION)).cloned();
        let has_status_changed = self.status != self.wish.status;
        let check_progress_in =
            if has_status_changed { None } else { status::next_check(self.wish, &self.status, self.now) };
        Plan {
            create: self.new.filter(|new| new.uid.is_empty()),
            update,
            delete: self.delete,
            rollback: None,
            status: has_status_changed.then_some(self.status),
            revision: revision.filter(|revision| self.wish.annotations.get(REVISION) != Some(revision)),
            check_progress_in,
        }
    }
}

/// Copies the deployment's annotations to its current set, and gives that the revision if it is behind; the revision
/// it had (it is rolled back to) goes into its history.
fn annotate(set: &mut Set, annotations: &Annotations, revision: i64) {
    for (key, value) in annotations.iter().filter(|(key, _)| !NOT_COPIED.contains(&key.as_str())) {
        set.annotations.insert(key.clone(), value.clone());
    }
    let old = set.annotations.get(REVISION).cloned();
    let old_number = match &old {
        Some(text) if !text.is_empty() => match text.parse::<i64>() {
            Ok(number) => number,
            // Somebody wrote nonsense: leave it alone.
            Err(_) => return,
        },
        _ => 0,
    };
    if old_number >= revision {
        return;
    }
    set.annotations.insert(REVISION.to_owned(), revision.to_string());
    let Some(old) = old else { return };
    let history = set.annotations.get(REVISION_HISTORY).cloned().unwrap_or_default();
    if let Some(history) = add_to_history(&history, &old) {
        set.annotations.insert(REVISION_HISTORY.to_owned(), history);
    }
}

/// The history with one more revision, without its oldest ones where it would be too long.
fn add_to_history(history: &str, revision: &str) -> Option<String> {
    if history.is_empty() {
        return Some(revision.to_owned());
    }
    let mut kept = history;
    loop {
        if kept.len() + revision.len() < HISTORY_CHARS_MAX {
            return Some(if kept.is_empty() { revision.to_owned() } else { format!("{kept},{revision}") });
        }
        kept = kept.split_once(',')?.1;
    }
}

/// Notes on a set how large the deployment is.
pub(super) fn set_replica_annotations(set: &mut Set, desired: i32, max: i32) {
    set.annotations.insert(DESIRED_REPLICAS.to_owned(), desired.to_string());
    set.annotations.insert(MAX_REPLICAS.to_owned(), max.to_string());
}

/// Scales a set, unless it has that size; the annotations go along.
pub(super) fn resize(wish: &Wish, set: &mut Set, replicas: i32) -> bool {
    if set.replicas == replicas {
        return false;
    }
    set.replicas = replicas;
    set_replica_annotations(set, wish.replicas, wish.replicas + wish.max_surge);
    true
}

/// The name of a deployment's set; a long deployment's name is cut so that the whole is a valid name.
fn set_name(deployment: &str, hash: &str) -> String {
    /// Upstream's `DNS1123SubdomainMaxLength`.
    const NAME_CHARS_MAX: usize = 253;
    let room = NAME_CHARS_MAX.saturating_sub(hash.len() + 1);
    let kept: String = deployment.chars().take(room).collect();
    format!("{kept}-{hash}")
}
