//! One run: the namespaces that it makes, what lies in them, and the table of what the phases cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::Method;

use crate::connect::Target;
use crate::measure::{Sample, median, resident_mib};
use crate::objects::Template;
use crate::phases::{Kind, PHASES, Phase};

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the command line set.
pub struct Settings {
    pub pids: Vec<u32>,
    pub seconds: f64,
    pub runs: usize,
    pub pods: usize,
}

/// A run under way.
pub struct Bench<'a> {
    pub target: &'a Target,
    pub settings: &'a Settings,
    /// Its name begins that of all namespaces of this run.
    namespace: String,
    /// The standing pods as the server has them: what an update has to send back.
    pub standing_pods: Vec<Template>,
    /// Marks new and changed objects, each otherwise: an update that changes nothing is no event.
    pub next: AtomicUsize,
}

/// A namespace of its own for what must not disturb the rest.
#[derive(Clone, Copy)]
pub enum Place {
    /// What reads and updates go round.
    Standing,
    /// What create phases leave; emptied after each.
    Made,
    /// The long list.
    Many,
}

const PLACES: [Place; 3] = [Place::Standing, Place::Made, Place::Many];

pub const JSON: &str = "application/json";

/// Objects that reads and updates go round.
pub const STANDING: usize = 256;
/// ConfigMaps that lie beside the many pods.
pub const CONFIG_MAPS: usize = 7_000;
/// How long the server may take to give back its memory.
const SETTLES: Duration = Duration::from_secs(60);
/// Runs the phases and prints the table.
pub async fn run(target: &Target, settings: &Settings, only: &[String]) -> Result<(), Error> {
    let started = std::process::id();
    let namespace = format!("bench-{started}");
    let fresh = resident_mib(&settings.pids);
    let mut bench = Bench { target, settings, namespace, standing_pods: Vec::new(), next: AtomicUsize::new(STANDING) };
    bench.prepare().await?;
    println!("| phase | ops/s | p50 ms | p99 ms | server CPU µs/op | generator CPU µs/op |");
    println!("|---|---|---|---|---|---|");
    for phase in chosen(only) {
        let mut samples = Vec::new();
        for _ in 0..settings.runs {
            samples.push(bench.run(phase).await.map_err(|error| format!("{}: {error}", phase.name))?);
        }
        let Sample { rate, p50, p99, server_us, own_us } = median(&samples);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!("| {} | {rate:.0} | {:.2} | {:.2} | {server_us:.0} | {own_us:.0} |", phase.name, ms(p50), ms(p99));
    }
    bench.memory(fresh, only.is_empty()).await
}

/// The phases of these names; a name that is no phase's stands for those that have it in theirs. None stands for all.
fn chosen(names: &[String]) -> Vec<&'static Phase> {
    let is_named = |phase: &Phase, name: &String| match PHASES.iter().any(|phase| phase.name == name) {
        true => phase.name == name,
        false => phase.name.contains(name.as_str()),
    };
    PHASES.iter().filter(|phase| names.is_empty() || names.iter().any(|name| is_named(phase, name))).collect()
}

// === impl Bench ===

impl Bench<'_> {
    async fn prepare(&mut self) -> Result<(), Error> {
        let mut connection = self.target.connect().await?;
        for place in PLACES {
            let name = self.namespace(place);
            let namespace = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            connection.call(Method::POST, "/api/v1/namespaces", JSON, namespace.to_string().into()).await?;
            // Pods need their namespace's service account; where no controller makes it, this does.
            let account =
                serde_json::json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
            let path = self.path(place, "serviceaccounts");
            let _ = connection.call(Method::POST, &path, JSON, account.to_string().into()).await;
        }
        for kind in [Kind::ConfigMap, Kind::Pod] {
            let path = self.path(Place::Standing, kind.plural());
            for at in 0..STANDING {
                let made =
                    connection.call(Method::POST, &path, JSON, kind.object(&format!("standing-{at}"), at)).await?;
                if kind == Kind::Pod {
                    self.standing_pods.push(Template::of(&made)?);
                }
            }
        }
        Ok(())
    }

    /// Deletes all ConfigMaps and Pods of a place.
    pub async fn empty(&self, place: Place) -> Result<(), Error> {
        let mut connection = self.target.connect().await?;
        for kind in [Kind::ConfigMap, Kind::Pod] {
            let path = format!("{}?gracePeriodSeconds=0", self.path(place, kind.plural()));
            connection.call(Method::DELETE, &path, JSON, Bytes::new()).await?;
        }
        Ok(())
    }

    /// Prints the server's memory: at the start, with many objects and (after a whole run) a while after their end.
    async fn memory(&self, fresh: f64, settles: bool) -> Result<(), Error> {
        let pids = &self.settings.pids;
        let full = resident_mib(pids);
        for place in PLACES {
            self.empty(place).await?;
            let mut connection = self.target.connect().await?;
            let path = format!("/api/v1/namespaces/{}", self.namespace(place));
            connection.call(Method::DELETE, &path, JSON, Bytes::new()).await?;
        }
        print!("\nserver's resident memory, MiB: fresh {fresh:.0}, after the phases {full:.0}");
        if settles {
            tokio::time::sleep(SETTLES).await;
            print!(", {} s after all was deleted {:.0}", SETTLES.as_secs(), resident_mib(pids));
        }
        println!();
        Ok(())
    }

    fn namespace(&self, place: Place) -> String {
        match place {
            Place::Standing => self.namespace.clone(),
            Place::Made => format!("{}-made", self.namespace),
            Place::Many => format!("{}-many", self.namespace),
        }
    }

    pub fn path(&self, place: Place, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.namespace(place))
    }

    /// Creates objects until there are so many.
    pub async fn fill(&self, kind: Kind, count: usize) -> Result<(), Error> {
        let clients = 16;
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(self.target.connect().await?);
        }
        let next = Arc::new(AtomicUsize::new(0));
        let path = self.path(Place::Many, kind.plural());
        let loops = connections.into_iter().map(|mut connection| {
            let (next, path) = (next.clone(), path.as_str());
            async move {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        return Ok::<_, Error>(());
                    }
                    let made = connection.call(Method::POST, path, JSON, kind.object(&format!("fill-{at}"), at)).await;
                    if let Err(error) = made
                        && !error.to_string().contains("409")
                    {
                        return Err(error);
                    }
                }
            }
        });
        try_join_all(loops).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_chosen_by_name_or_by_a_part_of_it() {
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            chosen(&names).iter().map(|phase| phase.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]).len(), PHASES.len());
        assert_eq!(names(&["create-cm-1"]), ["create-cm-1"]);
        assert_eq!(names(&["create-cm", "watch-1"]), ["create-cm-1", "create-cm-16", "create-cm-64", "watch-1"]);
    }
}
