//! Requests as a service account, with tokens asked for as they are needed.
//!
//! Upstream: `--use-service-account-credentials`, client-go's `NewDynamicClientBuilder`. The account is made where it
//! is not there; a token is renewed when four fifths of its life are over, or when the server refuses it.

use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, header};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::Mutex;

use super::{BoxFuture, MaybeUpgraded, SharedTransport, Transport};
use crate::body::{Body, BoxError};
use crate::client::Client;
use crate::error::ClientError;
use crate::params::WriteOptions;
use crate::resource::resources;
use crate::time::Given;

/// How long a token is asked for, in seconds (upstream's controller manager: an hour).
const TOKEN_SECONDS: i64 = 3600;
/// After this part of its life a token is renewed.
const RENEW_AT_PERCENT: i64 = 80;

/// Adds an account's token to each request.
pub struct ServiceAccountTransport(Arc<Inner>);

struct Inner {
    /// Trusts the server, and has no credentials of its own.
    plain: SharedTransport,
    /// May make service accounts and their tokens.
    issuer: Client,
    namespace: String,
    name: String,
    given: Given,
    /// Held while a token is asked for: others wait for the same one.
    token: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    renew_at: Timestamp,
}

// === impl ServiceAccountTransport ===

impl ServiceAccountTransport {
    /// Requests through `plain` as the account `namespace`/`name`, whose tokens `issuer` asks for.
    pub fn new(plain: SharedTransport, issuer: Client, namespace: &str, name: &str, given: Given) -> Self {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        ServiceAccountTransport(Arc::new(Inner { plain, issuer, namespace, name, given, token: Mutex::default() }))
    }
}

impl Transport for ServiceAccountTransport {
    fn send(&self, mut request: Request<Body>) -> BoxFuture<Result<Response<Body>, BoxError>> {
        let inner = self.0.clone();
        Box::pin(async move {
            let token = inner.authorize(&mut request).await?;
            let response = inner.plain.send(request).await?;
            inner.judge(response.status(), &token).await;
            Ok(response)
        })
    }

    fn upgrade(&self, mut request: Request<Body>) -> BoxFuture<Result<MaybeUpgraded, BoxError>> {
        let inner = self.0.clone();
        Box::pin(async move {
            let token = inner.authorize(&mut request).await?;
            let (response, upgraded) = inner.plain.upgrade(request).await?;
            inner.judge(response.status(), &token).await;
            Ok((response, upgraded))
        })
    }

    fn target(&self) -> &str {
        self.0.plain.target()
    }

    fn reconnect(&self) {
        self.0.plain.reconnect();
    }
}

// === impl Inner ===

impl Inner {
    async fn authorize(&self, request: &mut Request<Body>) -> Result<HeaderValue, BoxError> {
        let header = self.token().await?;
        request.headers_mut().insert(header::AUTHORIZATION, header.clone());
        Ok(header)
    }

    async fn token(&self) -> Result<HeaderValue, ClientError> {
        let mut held = self.token.lock().await;
        if let Some(token) = held.as_ref().filter(|token| self.given.now() < token.renew_at) {
            return Ok(token.header.clone());
        }
        let token = match self.request().await {
            Err(error) if error.is_not_found() => {
                self.make_account().await?;
                self.request().await?
            }
            answer => answer?,
        };
        *held = Some(token.clone());
        Ok(token.header)
    }

    /// A token that the server refused is not used again.
    async fn judge(&self, status: StatusCode, used: &HeaderValue) {
        if status == StatusCode::UNAUTHORIZED {
            let mut held = self.token.lock().await;
            if held.as_ref().is_some_and(|token| token.header == *used) {
                *held = None;
            }
        }
    }

    async fn request(&self) -> Result<Token, ClientError> {
        let asked = json!({
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        });
        let accounts = self.issuer.namespaced(&resources::SERVICE_ACCOUNTS, &self.namespace);
        let options = WriteOptions::default();
        let answer = accounts.create_subresource(&self.name, "token", asked.to_string(), &options).await?.tree()?;
        let said = |what: &str| ClientError::Request(format!("the server's answer to a TokenRequest has no {what}"));
        let mut header = HeaderValue::from_str(&format!("Bearer {}", answer.str_at("status.token")))
            .map_err(|_| said("usable token"))?;
        header.set_sensitive(true);
        let expires: Timestamp =
            answer.str_at("status.expirationTimestamp").parse().map_err(|_| said("expirationTimestamp"))?;
        let now = self.given.now();
        let life = expires.as_second() - now.as_second();
        let renew_at = now + jiff::SignedDuration::from_secs(life * RENEW_AT_PERCENT / 100);
        Ok(Token { header, renew_at })
    }

    async fn make_account(&self) -> Result<(), ClientError> {
        let accounts = self.issuer.namespaced(&resources::SERVICE_ACCOUNTS, &self.namespace);
        let account = json!({"metadata": {"namespace": self.namespace, "name": self.name}});
        match accounts.create_tree(crate::json::to_tree(&account)?, &WriteOptions::default()).await {
            Err(error) if error.is_already_exists() => Ok(()),
            answer => answer.map(drop),
        }
    }
}
