//! One family's table: plans what changed, applies it, remembers what the kernel holds.

use super::address::Family;
use super::base;
use super::config::Config;
use super::endpoints::Place;
use super::inputs::Inputs;
use super::model::{Context, PortPlan, plan_service};
use super::nft::{self, Nft, NftError};
use super::ruleset::{Batch, Command, Fragment, Ruleset};
use super::service::PortName;
use crate::views::ObjectName;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// How long a retired chain is kept, empty, until it is deleted: before Linux 6.2 a map's reference to a chain lingers
/// for a moment after the transaction that removed it.
pub const RETIRED_CHAIN_KEEP: Duration = Duration::from_secs(1);

/// The table of one family.
pub struct Table {
    name: String,
    family: Family,
    ruleset: Ruleset,
    /// What each Service means here, besides its part of the table.
    plans: HashMap<ObjectName, Vec<(PortName, PortPlan)>>,
    /// The kernel may hold something else than `ruleset`: make the table anew.
    unknown: bool,
    retired: BTreeMap<String, Instant>,
}

/// What a sync did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Synced {
    /// The table was made anew.
    pub full: bool,
    /// Commands carried out.
    pub commands: usize,
    /// A UDP port's backends or frontends changed: flows may have to be cut.
    pub udp_changed: bool,
}

// === impl Table ===

impl Table {
    /// A table that is not in the kernel yet.
    pub fn new(name: impl Into<String>, family: Family) -> Table {
        Table {
            name: name.into(),
            family,
            ruleset: Ruleset::default(),
            plans: HashMap::new(),
            unknown: true,
            retired: BTreeMap::new(),
        }
    }

    /// The family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// What the table should hold.
    pub fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    /// All plans.
    pub fn plans(&self) -> impl Iterator<Item = &(PortName, PortPlan)> {
        self.plans.values().flatten()
    }

    /// Whether the kernel may hold something else than what was planned.
    pub fn is_unwritten(&self) -> bool {
        self.unknown
    }

    /// Make the table anew at the next sync.
    pub fn distrust(&mut self) {
        self.unknown = true;
    }

    /// Plans the Services in `dirty` again and brings the kernel's table after, in one transaction.
    ///
    /// # Errors
    /// Where nft refuses: then the table is as it was, and the next sync makes it anew.
    pub async fn sync<N: Nft>(
        &mut self,
        inputs: &Inputs,
        dirty: &BTreeSet<ObjectName>,
        (config, place, node_ips): (&Config, &Place, &[IpAddr]),
        nft: &N,
    ) -> Result<Synced, NftError> {
        let context = Context { config, place, family: self.family };
        let (changes, udp_changed) = self.plan(inputs, dirty, context);
        let batch = self.ruleset.replace(changes);
        let full = self.unknown;
        let script = match full {
            true => {
                let definition = base::table(&self.name, self.family, config, node_ips);
                let everything = Ruleset::default().replace_all(&self.ruleset);
                self.retired.clear();
                nft::replace_script(&self.name, self.family, &definition, &everything)
            }
            false => nft::batch_script(&self.name, self.family, &batch),
        };
        if !script.is_empty() {
            self.unknown = true;
            nft.run(script).await?;
            self.unknown = false;
        }
        if !full {
            self.note_retired(&batch);
        }
        Ok(Synced { full, commands: batch.commands.len(), udp_changed })
    }

    fn plan(
        &mut self,
        inputs: &Inputs,
        dirty: &BTreeSet<ObjectName>,
        context: Context<'_>,
    ) -> (Vec<(PortName, Option<Fragment>)>, bool) {
        let mut changes = Vec::new();
        let mut udp_changed = false;
        for name in dirty {
            let new = inputs.get(name).map(|(service, slices)| plan_service(service, slices, context));
            let new = new.unwrap_or_default();
            let old = match new.is_empty() {
                true => self.plans.remove(name),
                false => self.plans.insert(name.clone(), new.clone()),
            };
            let old = old.unwrap_or_default();
            let udp = |plans: &[(PortName, PortPlan)]| -> Vec<_> {
                plans.iter().filter_map(|(_, plan)| plan.udp.clone()).collect()
            };
            udp_changed |= udp(&old) != udp(&new);
            let kept: BTreeSet<&PortName> = new.iter().map(|(port, _)| port).collect();
            changes.extend(old.iter().filter(|(port, _)| !kept.contains(port)).map(|(port, _)| (port.clone(), None)));
            changes.extend(new.into_iter().map(|(port, plan)| (port, Some(plan.fragment))));
        }
        (changes, udp_changed)
    }

    /// A chain that comes back while it is retired is there still, and empty.
    fn note_retired(&mut self, batch: &Batch) {
        for command in &batch.commands {
            if let Command::AddChain { name } = command {
                self.retired.remove(name);
            }
        }
        let now = Instant::now();
        self.retired.extend(batch.retired.iter().map(|chain| (chain.clone(), now)));
    }

    /// When the next retired chain may be deleted.
    pub fn next_sweep(&self) -> Option<Instant> {
        self.retired.values().min().map(|retired| *retired + RETIRED_CHAIN_KEEP)
    }

    /// Deletes the chains that were retired long enough ago.
    ///
    /// # Errors
    /// Where nft refuses: the chains stay, empty, until the table is made anew.
    pub async fn sweep<N: Nft>(&mut self, nft: &N) -> Result<usize, NftError> {
        let now = Instant::now();
        let due = self.retired.iter().filter(|(_, retired)| **retired + RETIRED_CHAIN_KEEP <= now);
        let due: BTreeSet<String> = due.map(|(chain, _)| chain.clone()).collect();
        if due.is_empty() {
            return Ok(0);
        }
        self.retired.retain(|chain, _| !due.contains(chain));
        nft.run(nft::delete_chains_script(&self.name, self.family, &due)).await?;
        Ok(due.len())
    }
}
