//! One server under load: the namespaces of a run and what lies in them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::Method;

use crate::connect::Target;
use crate::objects::Template;
use crate::phases::Kind;

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Whom to load.
pub struct Server {
    pub name: String,
    pub target: Target,
    /// Whose CPU time and memory are the server's.
    pub pids: Vec<u32>,
}

/// What the command line set.
pub struct Settings {
    pub seconds: f64,
    pub runs: usize,
    pub pods: usize,
}

/// A run under way on one server.
pub struct Bench<'a> {
    pub server: &'a Server,
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

// === impl Bench ===

impl<'a> Bench<'a> {
    /// Makes the namespaces and what stands in them.
    ///
    /// # Errors
    /// A broken connection, or a request that the server refuses.
    pub async fn prepare(server: &'a Server, settings: &'a Settings) -> Result<Bench<'a>, Error> {
        let namespace = format!("bench-{}", std::process::id());
        let next = AtomicUsize::new(STANDING);
        let mut bench = Bench { server, settings, namespace, standing_pods: Vec::new(), next };
        bench.fill_in().await?;
        Ok(bench)
    }

    async fn fill_in(&mut self) -> Result<(), Error> {
        let mut connection = self.server.target.connect().await?;
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
        let mut connection = self.server.target.connect().await?;
        for kind in [Kind::ConfigMap, Kind::Pod] {
            let path = format!("{}?gracePeriodSeconds=0", self.path(place, kind.plural()));
            connection.call(Method::DELETE, &path, JSON, Bytes::new()).await?;
        }
        Ok(())
    }

    /// Deletes all that the run made.
    pub async fn clear(&self) -> Result<(), Error> {
        let mut connection = self.server.target.connect().await?;
        for place in PLACES {
            self.empty(place).await?;
            let path = format!("/api/v1/namespaces/{}", self.namespace(place));
            connection.call(Method::DELETE, &path, JSON, Bytes::new()).await?;
        }
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
            connections.push(self.server.target.connect().await?);
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
