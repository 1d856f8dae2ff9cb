//! Whether a cron job starts a job now, and which of its jobs are forgotten.
//!
//! Upstream: `syncCronJob` and `mostRecentScheduleTime`. Only the most recent of several missed times counts; a job's
//! name comes from its time, so that it is made once whatever happens.

use std::sync::Arc;
use std::time::Duration;

use client::{EventType, MetaExt, Object};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, Job};

use super::schedule::Timetable;
use crate::job::model::JobExt;

/// A next look comes so much after the time, for clocks that differ; upstream's `nextScheduleDelta`.
const PADDING: Duration = Duration::from_millis(100);
/// More missed times than this are told.
const MISSED_MAX: i64 = 100;

/// What the decision depends on.
pub struct Observed<'a> {
    /// The cron job.
    pub cron: &'a CronJob,
    /// The jobs it controls.
    pub jobs: &'a [Arc<Object<Job>>],
    /// Its times; or what is wrong with them, as an event.
    pub timetable: Result<Timetable, Said>,
    /// The time.
    pub now: Timestamp,
}

/// An event to be told.
pub type Said = (EventType, &'static str, String);

/// What should happen next.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// UIDs of active jobs that stay in the status.
    pub active: Vec<String>,
    /// `status.lastSuccessfulTime`.
    pub last_success: Option<Timestamp>,
    /// Names of jobs to be deleted to make room for a new one.
    pub replace: Vec<String>,
    /// The time for which to start a job.
    pub start: Option<Timestamp>,
    /// Names of finished jobs to be deleted.
    pub forget: Vec<String>,
    /// What to tell.
    pub said: Vec<Said>,
    /// Look again after this time.
    pub again_in: Option<Duration>,
}

/// The name of the job of a time.
pub fn job_name(cron: &str, time: Timestamp) -> String {
    format!("{cron}-{}", time.as_second().div_euclid(60))
}

/// Decides what to do.
pub fn plan(observed: &Observed<'_>) -> Plan {
    let mut plan = Plan::default();
    plan.take_stock(observed);
    plan.forget(observed);
    let spec = &observed.cron.spec;
    if observed.cron.is_deleting() {
        return plan;
    }
    let timetable = match &observed.timetable {
        Ok(timetable) => timetable,
        Err(said) => {
            plan.said.push(said.clone());
            return plan;
        }
    };
    if spec.suspend.unwrap_or(false) {
        return plan;
    }
    plan.schedule(observed, timetable);
    plan
}

impl Plan {
    /// Which jobs are still active, and what became of the others.
    fn take_stock(&mut self, observed: &Observed<'_>) {
        let status = observed.cron.status.clone().unwrap_or_default();
        self.last_success = status.last_successful_time.map(|time| time.0);
        let known: Vec<(String, String)> = status
            .active
            .iter()
            .flatten()
            .map(|one| (one.uid.clone().unwrap_or_default(), one.name.clone().unwrap_or_default()))
            .collect();
        for job in observed.jobs {
            let is_known = known.iter().any(|(uid, _)| uid == job.uid());
            if !job.is_finished() && !is_known {
                let said = format!("Saw a job that the controller did not create or forgot: {}", job.name());
                self.said.push((EventType::Warning, "UnexpectedJob", said));
            }
            if job.is_finished() && is_known {
                let condition = if succeeded(job) { "Complete" } else { "Failed" };
                let said = format!("Saw completed job: {}, condition: {condition}", job.name());
                self.said.push((EventType::Normal, "SawCompletedJob", said));
            }
            let ended = job.status.as_ref().and_then(|status| status.completion_time.as_ref()).map(|time| time.0);
            if succeeded(job) {
                self.last_success = self.last_success.max(ended);
            }
        }
        for (uid, name) in known {
            match observed.jobs.iter().find(|job| job.uid() == uid) {
                Some(job) if job.is_finished() => {}
                Some(_) => self.active.push(uid),
                None => {
                    let said = format!("Active job went missing: {name}");
                    self.said.push((EventType::Normal, "MissingJob", said));
                }
            }
        }
    }

    /// Finished jobs beyond the limits, oldest first.
    fn forget(&mut self, observed: &Observed<'_>) {
        let spec = &observed.cron.spec;
        for (limit, wanted) in [(spec.successful_jobs_history_limit, true), (spec.failed_jobs_history_limit, false)] {
            let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { continue };
            let finished = observed.jobs.iter().filter(|job| job.is_finished() && succeeded(job) == wanted);
            let mut finished: Vec<&Arc<Object<Job>>> = finished.collect();
            let started = |job: &Job| job.status.as_ref().and_then(|status| status.start_time.clone());
            finished.sort_by_key(|job| {
                let time = started(job);
                (time.is_none(), time, job.name().to_owned())
            });
            let surplus = finished.len().saturating_sub(limit);
            self.forget.extend(finished.into_iter().take(surplus).map(|job| job.name().to_owned()));
        }
    }

    fn schedule(&mut self, observed: &Observed<'_>, timetable: &Timetable) {
        let Observed { cron, now, .. } = *observed;
        let spec = &cron.spec;
        self.again_in = next_look(cron, timetable, now);
        let (time, missed) = match most_recent(cron, timetable, now, true) {
            Ok(Recent { time: Some(time), missed, .. }) => (time, missed),
            Ok(_) => return,
            Err(error) => {
                let said = format!("invalid schedule: {} : {error}", spec.schedule);
                self.said.push((EventType::Warning, "InvalidSchedule", said));
                self.again_in = None;
                return;
            }
        };
        if missed > MISSED_MAX {
            let said = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            self.said.push((EventType::Warning, "TooManyMissedTimes", said.to_owned()));
        }
        let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
        if deadline.and_then(|deadline| time.checked_add(deadline).ok()).is_some_and(|deadline| deadline < now) {
            let when = time.strftime("%a, %d %b %Y %H:%M:%S +0000");
            let said = format!("Missed scheduled time to start a job: {when}");
            self.said.push((EventType::Warning, "MissSchedule", said));
            return;
        }
        let status = cron.status.clone().unwrap_or_default();
        let name = job_name(cron.name(), time);
        let is_active = status.active.iter().flatten().any(|one| one.name.as_deref() == Some(&name));
        if is_active || status.last_schedule_time.is_some_and(|last| last.0 == time) {
            return;
        }
        match spec.concurrency_policy.as_deref() {
            Some("Forbid") if !self.active.is_empty() => {
                const SAID: &str =
                    "Not starting job because prior execution is running and concurrency policy is Forbid";
                self.said.push((EventType::Normal, "JobAlreadyActive", SAID.to_owned()));
                return;
            }
            Some("Replace") => {
                let active = observed.jobs.iter().filter(|job| self.active.iter().any(|uid| uid == job.uid()));
                self.replace = active.map(|job| job.name().to_owned()).collect();
                self.active.clear();
            }
            _ => {}
        }
        self.start = Some(time);
    }
}

fn succeeded(job: &Job) -> bool {
    job.condition("Complete").is_some_and(|condition| condition.status == "True")
}

/// Times that have come since the last start.
struct Recent {
    /// From where they are counted.
    earliest: Timestamp,
    /// The last of them.
    time: Option<Timestamp>,
    /// About how many there are.
    missed: i64,
}

fn most_recent(
    cron: &CronJob,
    timetable: &Timetable,
    now: Timestamp,
    with_deadline: bool,
) -> Result<Recent, &'static str> {
    let last = cron.status.as_ref().and_then(|status| status.last_schedule_time.as_ref()).map(|time| time.0);
    let mut earliest = last.or(cron.created()).unwrap_or(now);
    let deadline = cron.spec.starting_deadline_seconds.filter(|_| with_deadline);
    if let Some(deadline) = deadline {
        let bound = now.checked_sub(SignedDuration::from_secs(deadline)).unwrap_or(earliest);
        earliest = earliest.max(bound);
    }
    const NEVER: &str = "time difference between two schedules is less than 1 second";
    let first = timetable.next(earliest).ok_or(NEVER)?;
    let second = timetable.next(first).ok_or(NEVER)?;
    if now < first {
        return Ok(Recent { earliest, time: None, missed: 0 });
    }
    if now < second {
        return Ok(Recent { earliest, time: Some(first), missed: 0 });
    }
    let between = second.duration_since(first).as_secs();
    if between < 1 {
        return Err(NEVER);
    }
    // Going through all of them could take for ever: estimate, go back one interval, and look from there.
    let missed = now.duration_since(first).as_secs() / between + 1;
    let skip = SignedDuration::from_secs((missed - 2).max(-1).saturating_mul(between));
    let mut at = first.checked_add(skip).unwrap_or(first);
    let mut time = None;
    while let Some(next) = timetable.next(at).filter(|next| *next <= now) {
        (at, time) = (next, Some(next));
    }
    Ok(Recent { earliest, time, missed })
}

/// How long until the next time.
pub fn next_look(cron: &CronJob, timetable: &Timetable, now: Timestamp) -> Option<Duration> {
    let from = match most_recent(cron, timetable, now, false) {
        Ok(Recent { time: Some(time), .. }) => time,
        Ok(Recent { earliest, missed: 0, .. }) => earliest,
        _ => now,
    };
    let wait = timetable.next(from)?.duration_since(now);
    Some(Duration::try_from(wait).unwrap_or_default() + PADDING)
}
