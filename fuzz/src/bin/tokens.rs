//! Tokens of every kind that a stranger may send. The first byte says whether a genuine token comes first, to which the
//! rest are changes; whatever comes out is not accepted unless it is the genuine one.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use apiserver::authn::token::claims::Reference;
use apiserver::authn::token::{Binding, Issuer, KeySet, ServiceAccountTokens, TokenClaims};
use apiserver::authn::token_file::TokenFile;
use apiserver::authn::{Bound, BoundObjects, BoundSecret, bootstrap_token};
use apiserver::decoders::{bearer, page_token};
use apiserver::pki::key::PrivateKey;
use fuzz::Limit;
use http::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE};

const NOW: i64 = 1_800_000_000;
const BOOTSTRAP: &str = "foobar.circumnavigation";

/// A server that issued tokens, all of which are good.
struct Server {
    verifier: ServiceAccountTokens,
    issued: Vec<String>,
}

/// Whatever a token is bound to is there.
struct All {
    legacy: String,
}

static SERVER: LazyLock<Server> = LazyLock::new(Server::new);

fuzz::target!(Limit { per_byte: 500, besides: 4 << 20 }, |input| {
    let Some((choice, rest)) = input.split_first() else { return };
    SERVER.judges(&genuine(*choice).map_or_else(|| rest.to_vec(), |token| changed(token, rest)));
    carried(rest);
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let _ = TokenFile::parse("tokens.csv", text).map(|file| file.user("x").cloned());
    if let Ok((revision, start)) = page_token::decode(text) {
        assert_eq!(page_token::decode(&page_token::encode(revision, &start)), Ok((revision, start)));
    }
});

/// The token to be changed; none where the input is a token itself.
fn genuine(choice: u8) -> Option<&'static str> {
    match usize::from(choice).checked_sub(128)? % (SERVER.issued.len() + 1) {
        0 => Some(BOOTSTRAP),
        at => Some(&SERVER.issued[at - 1]),
    }
}

/// Changes: two bytes of a place, one of what is put there.
fn changed(token: &str, changes: &[u8]) -> Vec<u8> {
    let mut token = token.as_bytes().to_vec();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % token.len();
        token[at] = change[2];
    }
    token
}

/// What headers carry a token, if any.
fn carried(value: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let mut headers = HeaderMap::from_iter([(AUTHORIZATION, value.clone()), (SEC_WEBSOCKET_PROTOCOL, value)]);
    if let Some(token) = bearer::header(&headers) {
        assert!(!token.is_empty() && !token.contains(' '));
    }
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Ok(Some((token, protocol))) = bearer::websocket(&headers) {
        assert!(!token.is_empty());
        // Within another protocol the same text is the client's own doing.
        let is_token = |one: &str| one.trim().starts_with("base64url.bearer.authorization.k8s.io.");
        assert!(!protocol.split(',').any(is_token), "a token is in the answer");
    }
}

// === impl Server ===

impl Server {
    fn new() -> Server {
        let rsa = PrivateKey::from_pem(include_bytes!("../../../crates/apiserver/tests/data/sa-rsa.key"));
        let keys = [PrivateKey::generate().expect("a key"), rsa.expect("the tests' key")];
        let verifier = ServiceAccountTokens {
            issuers: vec!["https://issuer".into()],
            api_audiences: vec!["https://api".into()],
            keys: KeySet::new(keys.iter().map(PrivateKey::public)),
            legacy: true,
        };
        let bindings = [
            Binding::None,
            Binding::Pod { pod: Reference::new("p", "uid"), node: Some(Reference::new("n", "uid")) },
            Binding::Node(Reference::new("n", "uid")),
        ];
        let mut issued = Vec::new();
        for key in keys {
            let issuer = Issuer::new("https://issuer", key);
            for binding in &bindings {
                let claims = TokenClaims {
                    namespace: "ns".into(),
                    service_account: Reference::new("sa", "uid"),
                    binding: binding.clone(),
                    expiration_seconds: 3600,
                    ..TokenClaims::default()
                };
                issued.push(issuer.issue(&claims, NOW).expect("a token").token);
            }
        }
        let server = Server { verifier, issued };
        server.issued.iter().for_each(|token| assert!(server.accepts(token), "what was issued is good"));
        assert!(bootstrap_token::user(BOOTSTRAP, &All { legacy: String::new() }, NOW).is_some());
        server
    }

    fn accepts(&self, token: &str) -> bool {
        let objects = All { legacy: token.to_owned() };
        self.verifier.verify(token, &[], &objects, NOW).is_ok_and(|verified| verified.is_some())
    }

    /// Accepts what was issued and nothing else.
    fn judges(&self, token: &[u8]) {
        let Ok(token) = std::str::from_utf8(token) else { return };
        assert_eq!(self.accepts(token), self.issued.iter().any(|issued| issued == token), "{token}");
        let user = bootstrap_token::user(token, &All { legacy: token.to_owned() }, NOW);
        assert_eq!(user.is_some(), token == BOOTSTRAP, "{token}");
    }
}

// === impl All ===

impl BoundObjects for All {
    fn service_account(&self, _: &str, _: &str) -> Option<Bound> {
        Some(Bound { uid: "uid".into(), deleted_at: None })
    }

    fn pod(&self, _: &str, _: &str) -> Option<Bound> {
        self.service_account("", "")
    }

    fn node(&self, _: &str) -> Option<Bound> {
        self.service_account("", "")
    }

    fn secret(&self, _: &str, name: &str) -> Option<BoundSecret> {
        let (id, secret) = BOOTSTRAP.split_once('.')?;
        let data = [
            ("token-id", id),
            ("token-secret", secret),
            ("usage-bootstrap-authentication", "true"),
            ("token", &self.legacy),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let kind = if name.starts_with("bootstrap-") { "bootstrap.kubernetes.io/token" } else { "" };
        Some(BoundSecret { kind: kind.into(), data: BTreeMap::from(data), ..BoundSecret::default() })
    }
}
