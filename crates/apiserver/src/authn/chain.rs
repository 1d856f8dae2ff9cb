//! The chain of authenticators, in upstream's order.
//!
//! Upstream: pkg/kubeapiserver/authenticator/config.go. A request is anonymous only if it brought
//! no credentials at all; bad ones are refused unless others are good.

use std::sync::Arc;

use api::status::Status;
use api::user::UserInfo;
use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use jiff::Timestamp;

use super::front_proxy::{self, FrontProxy};
use super::token::ServiceAccountTokens;
use super::token::cache::{Cached, TokenCache};
use super::token_file::TokenFile;
use super::x509::{CertificateVerifier, Peer};
use super::{Attempt, BoundObjects, bearer, bootstrap_token, with_authenticated_group};
use crate::authz::aggregate;

/// What is accepted. Everything that is absent is not.
#[derive(Default)]
pub struct Settings {
    /// `--client-ca-file`.
    pub client_ca: Option<Arc<CertificateVerifier>>,
    /// `--requestheader-client-ca-file` and the flags that go with it.
    pub front_proxy: Option<FrontProxy>,
    /// `--service-account-key-file`, `--service-account-issuer`, `--api-audiences`.
    pub service_accounts: Option<ServiceAccountTokens>,
    /// `--token-auth-file`.
    pub token_file: Option<TokenFile>,
    /// `--enable-bootstrap-token-auth`.
    pub bootstrap_tokens: bool,
    /// `--anonymous-auth`.
    pub anonymous: bool,
    /// For whom this server is; tokens for others are not accepted.
    pub api_audiences: Vec<String>,
}

/// Authenticates requests. Shared by all of them; settings change by [`Authenticator::set`].
pub struct Authenticator {
    settings: ArcSwap<Settings>,
    objects: Arc<dyn BoundObjects>,
    cache: TokenCache,
}

/// Who makes a request, and for which of our audiences its credentials are (empty: for any).
#[derive(Clone, Debug)]
pub struct Authenticated {
    pub user: Arc<UserInfo>,
    pub audiences: Arc<[String]>,
}

// === impl Authenticator ===

impl Authenticator {
    pub fn new(settings: Settings, objects: Arc<dyn BoundObjects>) -> Authenticator {
        Authenticator { settings: ArcSwap::from_pointee(settings), objects, cache: TokenCache::new() }
    }

    /// Puts new settings in the place of the old, for requests from now on.
    pub fn set(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// Who makes the request. Headers that served for this are taken out, so that nobody behind
    /// uses or believes them.
    ///
    /// # Errors
    /// 401, whatever was wrong with the credentials; the reason goes to the log only.
    pub fn authenticate(&self, headers: &mut HeaderMap, peer: &Peer, now: Timestamp) -> Result<Authenticated, Status> {
        let settings = self.settings.load();
        let found = self.request(&settings, headers, peer, now.as_second());
        front_proxy::clear_standard(headers);
        if let Some(proxy) = &settings.front_proxy {
            proxy.clear(headers);
        }
        match found {
            Ok(found) => {
                headers.remove(AUTHORIZATION);
                Ok(found)
            }
            Err(error) => {
                tracing::debug!(error, "unable to authenticate the request");
                Err(Status::unauthorized())
            }
        }
    }

    /// The user of a token for some audiences (TokenReview); none given means ours.
    ///
    /// # Errors
    /// Why the token is not valid.
    pub fn token(&self, token: &str, audiences: &[String], now: Timestamp) -> Result<Authenticated, String> {
        let found = self.bearer(&self.settings.load(), token, audiences, now.as_second())?;
        found.ok_or_else(|| "invalid bearer token".to_owned())
    }

    /// Our audiences.
    pub fn api_audiences(&self) -> Vec<String> {
        self.settings.load().api_audiences.clone()
    }

    fn request(
        &self,
        settings: &Settings,
        headers: &mut HeaderMap,
        peer: &Peer,
        now: i64,
    ) -> Result<Authenticated, String> {
        let mut errors = Vec::new();
        let mut attempts = |attempt: Attempt<Authenticated>| match attempt {
            Ok(found) => found,
            Err(error) => {
                errors.push(error);
                None
            }
        };
        let found = attempts(by_proxy(settings, headers, peer, now))
            .or_else(|| attempts(by_certificate(settings, peer, now)))
            .or_else(|| attempts(self.by_header(settings, headers, now)))
            .or_else(|| attempts(self.by_websocket(settings, headers, now)));
        match found {
            Some(found) => Ok(found),
            None if !errors.is_empty() => Err(aggregate(&errors)),
            None if settings.anonymous => Ok(Authenticated::of(UserInfo::anonymous())),
            None => Err("no credentials".into()),
        }
    }

    fn by_header(&self, settings: &Settings, headers: &HeaderMap, now: i64) -> Attempt<Authenticated> {
        let Some(token) = bearer::header(headers) else { return Ok(None) };
        let found = self.bearer(settings, token, &settings.api_audiences, now)?;
        found.map_or_else(|| Err("invalid bearer token".into()), |found| Ok(Some(found)))
    }

    fn by_websocket(&self, settings: &Settings, headers: &mut HeaderMap, now: i64) -> Attempt<Authenticated> {
        let Some((token, protocols)) = bearer::websocket(headers)? else { return Ok(None) };
        let Some(found) = self.bearer(settings, &token, &settings.api_audiences, now)? else {
            return Err("invalid bearer token".into());
        };
        // The protocols came out of a header and go back into it.
        if let Ok(protocols) = protocols.parse() {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocols);
        }
        Ok(Some(found))
    }

    fn bearer(&self, settings: &Settings, token: &str, audiences: &[String], now: i64) -> Attempt<Authenticated> {
        let audiences = if audiences.is_empty() { &settings.api_audiences } else { audiences };
        let verify = || self.verify(settings, token, audiences, now);
        let cached = self.cache.get_or_verify(token, audiences, now, verify)?;
        Ok(cached.map(|Cached { user, audiences }| Authenticated { user, audiences }))
    }

    /// Token file, service accounts, bootstrap tokens. The first and the last know no audiences:
    /// they are good for those requested that are ours.
    fn verify(&self, settings: &Settings, token: &str, audiences: &[String], now: i64) -> Attempt<Cached> {
        let agnostic = |user: UserInfo| {
            let common: Vec<String> =
                audiences.iter().filter(|one| settings.api_audiences.contains(one)).cloned().collect();
            let good = !common.is_empty() || audiences.is_empty();
            good.then(|| Cached { user: Arc::new(with_authenticated_group(user)), audiences: common.into() })
        };
        if let Some(user) = settings.token_file.as_ref().and_then(|file| file.user(token)) {
            return Ok(agnostic(user.clone()));
        }
        let mut error = None;
        match settings.service_accounts.as_ref().map(|tokens| tokens.verify(token, audiences, &*self.objects, now)) {
            Some(Ok(Some(found))) => {
                let user = Arc::new(with_authenticated_group(found.user));
                return Ok(Some(Cached { user, audiences: found.audiences.into() }));
            }
            Some(Err(why)) => error = Some(why),
            Some(Ok(None)) | None => {}
        }
        if settings.bootstrap_tokens
            && let Some(user) = bootstrap_token::user(token, &*self.objects, now)
        {
            return Ok(agnostic(user));
        }
        error.map_or(Ok(None), Err)
    }
}

fn by_proxy(settings: &Settings, headers: &HeaderMap, peer: &Peer, now: i64) -> Attempt<Authenticated> {
    let Some(proxy) = &settings.front_proxy else { return Ok(None) };
    Ok(proxy.user(headers, peer, now)?.map(with_authenticated_group).map(Authenticated::of))
}

fn by_certificate(settings: &Settings, peer: &Peer, now: i64) -> Attempt<Authenticated> {
    let Some(client_ca) = &settings.client_ca else { return Ok(None) };
    let user = peer.user(client_ca, now)?;
    Ok(user.map(|user| Authenticated { user, audiences: Arc::from([]) }))
}

// === impl Authenticated ===

impl Authenticated {
    fn of(user: UserInfo) -> Authenticated {
        Authenticated { user: Arc::new(user), audiences: Arc::from([]) }
    }
}

#[cfg(test)]
mod tests;
