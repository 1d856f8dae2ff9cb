//! What controllers are given: shared caches, clients of their own identity, time and chance.

use std::sync::Arc;

use api::user::UserInfo;
use client::{Client, EventRecorder, Given, Informers};
use tokio_util::sync::CancellationToken;

/// Gives each controller a client under its own identity.
pub trait ClientFactory: Send + Sync + 'static {
    /// The client of a controller, named as its service account in `kube-system` (`deployment-controller`).
    fn client(&self, controller: &str) -> Client;
}

/// All controllers act as the identity of one client (a kubeconfig's), told apart by their user agents only.
/// Upstream: without `--use-service-account-credentials`.
pub struct SharedIdentity(pub Client);

/// Each controller acts as its own service account, through a client or transport made for that user.
pub struct ServiceAccounts<F>(pub F);

/// What a controller is started with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Shared caches.
    pub informers: Informers,
    /// Time and chance.
    pub given: Given,
    /// Cancelled when everything is to stop.
    pub stop: CancellationToken,
    factory: Arc<dyn ClientFactory>,
}

/// As upstream's: the program's name is the field manager of what its controllers write.
pub fn user_agent(controller: &str) -> String {
    format!("kube-controller-manager/{controller}")
}

// === impl factories ===

impl ClientFactory for SharedIdentity {
    fn client(&self, controller: &str) -> Client {
        self.0.named(&user_agent(controller))
    }
}

impl<F, C> ClientFactory for ServiceAccounts<F>
where
    F: Fn(UserInfo) -> C + Send + Sync + 'static,
    C: Into<Client>,
{
    fn client(&self, controller: &str) -> Client {
        let client: Client = (self.0)(UserInfo::service_account("kube-system", controller)).into();
        client.named(&user_agent(controller))
    }
}

// === impl Context ===

impl Context {
    /// Everything reads through `informers` and writes through clients of `factory`.
    pub fn new(factory: Arc<dyn ClientFactory>, informers: Informers, stop: CancellationToken) -> Context {
        let given = informers.given().clone();
        Context { informers, given, stop, factory }
    }

    /// The client of a controller.
    pub fn client(&self, controller: &str) -> Client {
        self.factory.client(controller)
    }

    /// The event recorder of a controller, writing as it.
    pub fn recorder(&self, controller: &str) -> EventRecorder {
        EventRecorder::new(self.client(controller), controller, "", self.given.clone(), self.stop.clone())
    }
}
