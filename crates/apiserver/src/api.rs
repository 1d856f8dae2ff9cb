//! The API server's parts, shared by all requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::status::Status;
use api::user::UserInfo;
use arc_swap::ArcSwap;
use http::HeaderMap;
use jiff::Timestamp;
use store::Store;

use crate::admission::{Admission, lookup, quota};
use crate::authn::token::Issuer;
use crate::authn::{Authenticator, Peer, impersonation};
use crate::authz::{Attributes, Authorizer, forbidden};
use crate::context::Context;
use crate::flow::Flow;
use crate::identity::IssuerDocuments;
use crate::metrics::Metrics;
use crate::openapi;
use crate::request::options::ListOptions;
use crate::selection::Selection;
use crate::serve::Connection;
use crate::served::Catalog;
use crate::settings::Settings;
use crate::streams::Kubelets;

/// Everything a request needs besides itself.
pub struct Api {
    pub store: Store,
    pub catalog: ArcSwap<Catalog>,
    pub admission: Admission,
    pub authenticator: Authenticator,
    pub authorizer: Authorizer,
    /// Signs service-account tokens.
    pub issuer: Issuer,
    pub documents: IssuerDocuments,
    /// OpenAPI documents that were asked for.
    pub documents_of_types: openapi::Documents,
    pub flow: Flow,
    pub metrics: Metrics,
    pub clock: Arc<dyn client::Clock>,
    pub settings: Settings,
    /// How nodes are reached.
    pub kubelets: Kubelets,
    /// What admission has looked up.
    pub trees: lookup::Trees,
    /// Who charges quotas when.
    pub quota_turns: quota::Turns,
    /// Set once everything that a fresh cluster has is there.
    pub ready: AtomicBool,
    /// Set where scheduler and controllers run in this process.
    pub components_inside: AtomicBool,
}

// === impl Api ===

impl Api {
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Who makes a request that came over a socket. Headers that served for this are taken out.
    ///
    /// # Errors
    /// 401 for credentials that are not valid.
    pub fn authenticate(
        &self,
        headers: &mut HeaderMap,
        connection: Option<&Connection>,
        now: Timestamp,
    ) -> Result<Arc<UserInfo>, Status> {
        let nobody = Peer::default();
        let peer = connection.map_or(&nobody, |connection| &connection.certificates);
        Ok(self.authenticator.authenticate(headers, peer, now)?.user)
    }

    /// Puts the impersonated user in the place of the one who may impersonate it.
    ///
    /// # Errors
    /// 403 where that is not allowed.
    pub fn impersonate(&self, context: &mut Context) -> Result<(), Status> {
        let Some(wanted) = impersonation::take(&mut context.headers)? else { return Ok(()) };
        let info = &context.info;
        let request = Attributes {
            version: &info.version,
            namespace: &info.namespace,
            subresource: &info.subresource,
            name: &info.name,
            path: &info.path,
            is_resource: info.is_resource,
            ..Attributes::resource(&context.user, info.verb, &info.group, &info.resource)
        };
        let acted = wanted.authorize(&request, |attributes| self.authorizer.authorize(attributes))?;
        context.user = Arc::new(acted.user);
        Ok(())
    }

    /// # Errors
    /// 403 in upstream's words.
    pub fn authorize_request(&self, context: &Context) -> Result<(), Status> {
        self.authorize(context, context.info.verb)
    }

    /// Whether the user may do something else to what the request is about.
    ///
    /// # Errors
    /// 403 in upstream's words.
    pub fn authorize(&self, context: &Context, verb: &str) -> Result<(), Status> {
        let info = &context.info;
        if !info.is_resource {
            return self.ask(&Attributes::path(&context.user, verb, &info.path));
        }
        let mut attributes = Attributes {
            version: &info.version,
            namespace: &info.namespace,
            subresource: &info.subresource,
            name: &info.name,
            path: &info.path,
            ..Attributes::resource(&context.user, verb, &info.group, &info.resource)
        };
        // Selectors widen what some authorizers allow; most requests have none.
        let selectors = match verb {
            "list" | "watch" | "deletecollection" => self.selectors(context),
            _ => None,
        };
        if let Some((labels, fields)) = &selectors {
            attributes.label_selector = labels;
            attributes.field_selector = fields;
        }
        self.ask(&attributes)
    }

    fn ask(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        match self.authorizer.authorize(attributes) {
            decision if decision.is_allow() => Ok(()),
            decision => Err(forbidden(attributes, decision.reason())),
        }
    }

    /// The request's selectors as authorizers read them; broken ones are none, the verb reports them.
    fn selectors(
        &self,
        context: &Context,
    ) -> Option<(Vec<crate::authz::LabelRequirement>, Vec<crate::authz::FieldRequirement>)> {
        let query = &context.query;
        if query.get("fieldSelector").is_none() && query.get("labelSelector").is_none() {
            return None;
        }
        let options = ListOptions::parse(query).ok()?;
        let info = &context.info;
        let served = self.catalog.load().find(&info.group, &info.version, &info.resource)?;
        let selection = Selection::parse(context, &served, &options).ok()?;
        Some(selection.requirements())
    }
}
