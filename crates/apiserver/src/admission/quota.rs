//! ResourceQuota: what a namespace may have of something.
//!
//! The last word on a write, and its price: where a quota counts what is written, the quota's new status is part of
//! the same transaction. So nothing is charged that is not there, and two writes can't share the last of something.
//! What is given back by deletions the quota controller counts.
//!
//! Upstream: `apiserver/pkg/admission/plugin/resourcequota`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use api::quota::{Amounts, Evaluator};
use api::status::Status;
use api::value::Value;
use jiff::Timestamp;
use smol_str::SmolStr;
use store::Entry;
use tokio::sync::{Mutex, MutexGuard};

use crate::api::Api;
use crate::companions::Companion;
use crate::served::Served;
use crate::stored;

/// Where quotas lie.
pub const PREFIX: &str = "/registry/resourcequotas/";
/// Namespaces that can be charged at the same time.
const TURNS: usize = 64;

/// One write at a time charges a namespace's quotas: the others would only find them changed.
pub struct Turns([Mutex<()>; TURNS]);

/// A write that may have to be charged.
#[derive(Clone, Copy)]
pub struct Written<'a> {
    pub served: &'a Served,
    pub subresource: &'a str,
    /// In the stored version, as the old one.
    pub new: &'a Value,
    pub old: Option<&'a Value>,
}

// === impl Turns ===

impl Default for Turns {
    fn default() -> Turns {
        Turns(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Turns {
    /// Waits for this write's turn; none where no quota of its namespace could count it.
    pub async fn take(&self, api: &Api, write: Written<'_>) -> Option<MutexGuard<'_, ()>> {
        let namespace = write.new.str_at("metadata.namespace");
        let evaluator = Evaluator::of(write.served.group(), write.served.plural())?;
        if namespace.is_empty() || !evaluator.handles(write.subresource, write.new, write.old) {
            return None;
        }
        let quotas = api.store.snapshot(PREFIX);
        quotas.range(&root(namespace), None).next()?;
        let mut hasher = DefaultHasher::new();
        namespace.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or_default();
        Some(self.0.get(at)?.lock().await)
    }
}

fn root(namespace: &str) -> String {
    format!("{PREFIX}{namespace}/")
}

/// The new states of all quotas that count the write.
///
/// # Errors
/// 403 where one does not allow it.
pub fn charge(api: &Api, write: Written<'_>) -> Result<Vec<Companion>, Status> {
    let served = write.served;
    let Some(evaluator) = Evaluator::of(served.group(), served.plural()) else { return Ok(Vec::new()) };
    let snapshot = api.store.snapshot(PREFIX);
    let mut quotas: Vec<(Arc<Entry>, Value)> = Vec::new();
    for entry in snapshot.range(&root(write.new.str_at("metadata.namespace")), None) {
        let tree = api::codec::json::parse(&entry.value).map_err(Status::internal)?;
        quotas.push((entry.clone(), tree));
    }
    let catalog = api.catalog.load();
    let Some(kind) = catalog.stored("", "resourcequotas") else { return Ok(Vec::new()) };
    let refused = |why: String| Status::forbidden(served.group_resource(), write.new.str_at("metadata.name"), &why);
    let trees: Vec<&Value> = quotas.iter().map(|(_, tree)| tree).collect();
    let used = used(&evaluator, write, &trees, api.clock.now()).map_err(refused)?;
    let charged = quotas.iter().zip(used).filter_map(|((entry, tree), used)| {
        let mut tree = tree.clone();
        tree.set("status.used", used?.to_value());
        let (value, _) = stored::encode(&mut tree, kind.rules());
        Some(Companion { key: entry.key.clone(), expected: Some(entry.mod_revision), value: Some(value) })
    });
    Ok(charged.collect())
}

/// What will be used of each quota with this write, for those that it changes.
///
/// # Errors
/// Why one does not allow it.
fn used(
    evaluator: &Evaluator,
    write: Written<'_>,
    quotas: &[&Value],
    now: Timestamp,
) -> Result<Vec<Option<Amounts>>, String> {
    let mut concerned = vec![false; quotas.len()];
    for (quota, concerned) in quotas.iter().zip(&mut concerned).filter(|(quota, _)| evaluator.matches(quota, write.new))
    {
        let hard = Amounts::read(quota.at("status.hard"));
        let known = Amounts::read(quota.at("status.used"));
        let name = quota.str_at("metadata.name");
        let counted: Vec<SmolStr> = hard.names().filter(|name| evaluator.counts(name)).cloned().collect();
        let complete = evaluator.constraints(&counted, write.new);
        complete.map_err(|why| format!("failed quota: {name}: {why}"))?;
        if counted.iter().any(|resource| known.get(resource).is_none()) {
            return Err(format!("status unknown for quota: {name}, resources: {}", counted.join(",")));
        }
        *concerned = true;
    }
    let usage = evaluator.usage(write.new, now);
    let negative = usage.negative();
    if !negative.is_empty() {
        return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
    }
    let more = write.old.map(|old| usage.beyond(&evaluator.usage(old, now)));
    let mut all = Vec::with_capacity(quotas.len());
    for (quota, concerned) in quotas.iter().zip(concerned) {
        // What a quota did not count before it counts in full now.
        let delta = match (&more, write.old) {
            (Some(more), Some(old)) if evaluator.matches(quota, old) => more,
            _ => &usage,
        };
        let delta = delta.without_zeros();
        all.push(if concerned { add(quota, &delta, write.subresource)? } else { None });
    }
    Ok(all)
}

/// What is used of a quota after so much more; none if it counts none of that.
fn add(quota: &Value, delta: &Amounts, subresource: &str) -> Result<Option<Amounts>, String> {
    let hard = Amounts::read(quota.at("status.hard"));
    let known = Amounts::read(quota.at("status.used"));
    let requested = delta.masked(|name| hard.get(name).is_some());
    if requested.is_empty() {
        return Ok(None);
    }
    let mut used = known.clone();
    used.add(&requested);
    // A status says what is: there is nothing to refuse.
    if subresource != "status" {
        let exceeded = used.masked(|name| requested.get(name).is_some()).exceeding(&hard);
        if !exceeded.is_empty() {
            let of = |amounts: &Amounts| amounts.masked(|name| exceeded.iter().any(|one| one == name)).printed();
            let name = quota.str_at("metadata.name");
            return Err(format!(
                "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
                of(&requested),
                of(&known),
                of(&hard)
            ));
        }
    }
    Ok(Some(used))
}

#[cfg(test)]
mod tests;
