//! TokenRequests (`serviceaccounts/NAME/token`): checked, turned into claims, answered.
//!
//! Upstream: pkg/registry/core/serviceaccount/storage/token.go. Pure: the handler looks up the
//! account and, after [`prepare`], the object that [`bound_to`] names.

use api::field::{FieldErrors, Path};
use api::status::{GroupResource, Status};
use api::value::Value;
use jiff::Timestamp;

use super::claims::{Binding, IssuedToken, Reference, TokenClaims};
use crate::authz::quoted;

/// What a token is to be bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundTo {
    pub kind: BoundKind,
    pub name: String,
    /// Empty if the request does not say.
    pub uid: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundKind {
    Pod,
    Node,
    Secret,
}

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";
/// What a request gets that does not say.
const EXPIRATION_SECONDS: i64 = 3600;
const EXPIRATION_SECONDS_MIN: i64 = 600;
const EXPIRATION_SECONDS_MAX: i64 = 1 << 32;
/// Projected volumes of old ask for just this: such tokens live a year, with a warning after it.
const WARN_ONLY_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

/// Checks the request against its path and account, fills in what it leaves out, validates it.
///
/// # Errors
/// 422 and 409 in upstream's words.
pub fn prepare(request: &mut Value, account: &Value, api_audiences: &[String], now: Timestamp) -> Result<(), Status> {
    let (name, namespace, uid) =
        (account.str_at("metadata.name"), account.str_at("metadata.namespace"), account.str_at("metadata.uid"));
    let mut errors = FieldErrors::new();
    for (path, expected, what) in [("metadata.name", name, "name"), ("metadata.namespace", namespace, "namespace")] {
        let given = request.str_at(path).to_owned();
        if !given.is_empty() && given != expected {
            errors.invalid(&Path::new(path), given, format!("must match the service account {what} if specified"));
            return errors.into_result(GROUP, KIND, name);
        }
    }
    let given = request.str_at("metadata.uid");
    if !given.is_empty() && given != uid {
        let why =
            format!("the UID in the token request ({given}) does not match the UID of the service account ({uid})");
        return Err(Status::conflict(GroupResource { group: GROUP, resource: KIND }, name, &why));
    }
    if request.array_at("spec.audiences").is_empty() {
        request.set("spec.audiences", api_audiences.to_vec());
    }
    request.set("metadata.name", name);
    request.set("metadata.namespace", namespace);
    request.set("metadata.uid", uid);
    let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
    request.set("metadata.creationTimestamp", second.to_string());
    request.remove("status");
    if request.i64_at("spec.expirationSeconds").is_none() {
        request.set("spec.expirationSeconds", EXPIRATION_SECONDS);
    }
    validate(request, &mut errors);
    errors.into_result(GROUP, KIND, "")
}

fn validate(request: &Value, errors: &mut FieldErrors) {
    const EXPIRATION: &str = "spec.expirationSeconds";
    let (path, seconds) = (Path::new(EXPIRATION), request.i64_at(EXPIRATION).unwrap_or_default());
    if seconds < EXPIRATION_SECONDS_MIN {
        errors.invalid(&path, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > EXPIRATION_SECONDS_MAX {
        errors.invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    let attestations = request.at("spec.attestations");
    if attestations.as_object().is_some_and(|map| !map.is_empty()) {
        const WHY: &str = "attestations may only be specified with a webhook bound object reference";
        errors.invalid(&Path::new("spec.attestations"), attestations.clone(), WHY);
    }
}

/// The object that the token is to be bound to: Pods and Secrets of the account's namespace, Nodes.
///
/// # Errors
/// 400 for other kinds.
pub fn bound_to(request: &Value) -> Result<Option<BoundTo>, Status> {
    let Some(reference) = request.at("spec").field("boundObjectRef") else { return Ok(None) };
    let (version, kind) = (reference.str_at("apiVersion"), reference.str_at("kind"));
    let core = !version.contains('/');
    let kind = match kind {
        "Pod" if core => BoundKind::Pod,
        "Node" if core => BoundKind::Node,
        "Secret" if core => BoundKind::Secret,
        _ => {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    Ok(Some(BoundTo { kind, name: reference.str_at("name").into(), uid: reference.str_at("uid").into() }))
}

/// The claims of a prepared request. `object` is what [`bound_to`] named, `node` the pod's node
/// (only its name where there is no such Node yet).
///
/// # Errors
/// 400 for another account's pod, 409 for another uid.
pub fn claims(
    request: &Value,
    bound: Option<(&BoundTo, &Value)>,
    node: Option<Reference>,
    api_audiences: &[String],
) -> Result<TokenClaims, Status> {
    let account = request.str_at("metadata.name");
    let audiences: Vec<String> =
        request.array_at("spec.audiences").iter().filter_map(Value::as_str).map(String::from).collect();
    let mut claims = TokenClaims {
        namespace: request.str_at("metadata.namespace").into(),
        service_account: Reference::of(request),
        expiration_seconds: request.i64_at("spec.expirationSeconds").unwrap_or(EXPIRATION_SECONDS),
        ..TokenClaims::default()
    };
    if let Some((to, object)) = bound {
        let stored = Reference::of(object);
        if to.kind == BoundKind::Pod && object.str_at("spec.serviceAccountName") != account {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {} to pod running with different serviceaccount name.",
                quoted(account)
            )));
        }
        if !to.uid.is_empty() && to.uid != stored.uid {
            let why = format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have \
                 been deleted and then recreated",
                to.uid
            );
            return Err(Status::conflict(GroupResource { group: "", resource: to.kind.name() }, &to.name, &why));
        }
        let own = !audiences.is_empty() && audiences.iter().all(|audience| api_audiences.contains(audience));
        if to.kind == BoundKind::Pod && claims.expiration_seconds == WARN_ONLY_SECONDS && own {
            claims.warn_after_seconds = WARN_ONLY_SECONDS;
            claims.expiration_seconds = EXTENDED_SECONDS;
        }
        claims.binding = match to.kind {
            BoundKind::Pod => Binding::Pod { pod: stored, node },
            BoundKind::Node => Binding::Node(stored),
            BoundKind::Secret => Binding::Secret(stored),
        };
    }
    claims.audiences = audiences;
    Ok(claims)
}

/// The answer: the request with the token and when it is over (as asked for, not as extended).
pub fn answer(mut request: Value, issued: &IssuedToken, now: Timestamp) -> Value {
    let seconds = request.i64_at("spec.expirationSeconds").unwrap_or(EXPIRATION_SECONDS);
    let end = Timestamp::from_second(now.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX);
    request.set("status.token", issued.token.as_str());
    request.set("status.expirationTimestamp", end.to_string());
    request
}

// === impl BoundKind ===

impl BoundKind {
    fn name(self) -> &'static str {
        match self {
            BoundKind::Pod => "Pod",
            BoundKind::Node => "Node",
            BoundKind::Secret => "Secret",
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::testing::parse;

    const NOW: i64 = 1_800_000_000;

    fn account() -> Value {
        parse(r#"{"metadata":{"name":"sa","namespace":"ns","uid":"u"}}"#).unwrap()
    }

    fn prepared(text: &str) -> Result<Value, Status> {
        let mut request = parse(text).unwrap();
        let api = ["https://api".to_owned()];
        prepare(&mut request, &account(), &api, Timestamp::from_second(NOW).unwrap()).map(|()| request)
    }

    #[rstest]
    #[case::other_name(r#"{"metadata":{"name":"x"}}"#, r#"TokenRequest.authentication.k8s.io "sa" is invalid: metadata.name: Invalid value: "x": must match the service account name if specified"#)]
    #[case::other_uid(r#"{"metadata":{"uid":"x"}}"#, r#"Operation cannot be fulfilled on TokenRequest.authentication.k8s.io "sa": the UID in the token request (x) does not match the UID of the service account (u)"#)]
    #[case::short(r#"{"spec":{"expirationSeconds":599}}"#, r#"TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"#)]
    fn refused(#[case] text: &str, #[case] message: &str) {
        assert_eq!(prepared(text).unwrap_err().message, message);
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let request = prepared("{}").unwrap();
        assert_eq!(request.array_at("spec.audiences"), [Value::from("https://api")]);
        assert_eq!(request.i64_at("spec.expirationSeconds"), Some(3600));
        assert_eq!(request.str_at("metadata.uid"), "u");
        let issued = IssuedToken { token: "t".into(), credential_id: String::new() };
        let answer = answer(request, &issued, Timestamp::from_second(NOW).unwrap());
        assert_eq!(answer.str_at("status.expirationTimestamp"), "2027-01-15T09:00:00Z");
    }

    #[test]
    fn pods_bind_and_old_volumes_are_extended() {
        let request = prepared(
            r#"{"spec":{"expirationSeconds":3607,"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p","uid":"pu"}}}"#,
        )
        .unwrap();
        let to = bound_to(&request).unwrap().unwrap();
        let api = ["https://api".to_owned()];
        let pod = |account: &str, uid: &str| {
            parse(&format!(
                r#"{{"metadata":{{"name":"p","uid":"{uid}"}},"spec":{{"serviceAccountName":"{account}"}}}}"#
            ))
            .unwrap()
        };
        let node = Some(Reference::new("n", "nu"));
        let made = claims(&request, Some((&to, &pod("sa", "pu"))), node.clone(), &api).unwrap();
        assert_eq!((made.expiration_seconds, made.warn_after_seconds), (EXTENDED_SECONDS, 3607));
        assert_eq!(made.binding, Binding::Pod { pod: Reference::new("p", "pu"), node: node.clone() });
        let foreign = ["https://other".to_owned()];
        let made = claims(&request, Some((&to, &pod("sa", "pu"))), node, &foreign).unwrap();
        assert_eq!((made.expiration_seconds, made.warn_after_seconds), (3607, 0));
        assert_eq!(claims(&request, Some((&to, &pod("x", "pu"))), None, &api).unwrap_err().code, 400);
        assert_eq!(claims(&request, Some((&to, &pod("sa", "old"))), None, &api).unwrap_err().code, 409);
    }

    #[test]
    fn other_kinds_cannot_be_bound_to() {
        let request =
            parse(r#"{"spec":{"boundObjectRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"}}}"#).unwrap();
        let message = bound_to(&request).unwrap_err().message;
        assert_eq!(message, "cannot bind token to object of type apps/v1, Kind=Deployment");
    }
}
