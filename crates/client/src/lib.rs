//! # client
//! A client of the Kubernetes API, over HTTPS or straight into the request pipeline, and what controllers stand on.
//!
//! Start at [`Client`] (one identity on one server) and [`Api`] (verbs on a resource); then [`informer`] (shared
//! caches), [`queue`] (work queues and the loop around a reconciler), [`leader`], [`events`] and [`time`].
#![forbid(unsafe_code)]

pub mod backoff;
pub mod body;
pub mod client;
pub mod config;
pub mod error;
pub mod events;
pub mod informer;
pub mod json;
pub mod leader;
pub mod object;
pub mod params;
pub mod placement;
pub mod queue;
pub mod resource;
pub mod time;
pub mod transport;
pub mod verbs;
pub mod views;
pub mod watch;

pub use self::backoff::Backoff;
pub use self::body::{Body, BoxError};
pub use self::client::Client;
pub use self::config::{Config, Kubeconfig};
pub use self::error::{ApiError, ClientError};
pub use self::events::{EventRecorder, EventType};
pub use self::informer::{Event, Informer, Informers, Selection};
pub use self::leader::{LeaderConfig, LeaderElector};
pub use self::object::{Object, ObjectKey};
pub use self::params::{DeleteOptions, ListParams, Patch, Propagation, WatchParams, WriteOptions};
pub use self::queue::{Reconcile, ReconcileError, Requeue, WorkQueue};
pub use self::resource::{Resource, resources};
pub use self::time::{Chance, Clock, Given, SystemClock, VirtualClock};
pub use self::verbs::{Answer, Api, List};
pub use self::views::{Kind, MetaExt, View};
