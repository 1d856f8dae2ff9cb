//! Who may speak for a signer: approve and sign requests for certificates, attest trust bundles.
//!
//! Upstream: `plugin/pkg/admission/certificates`, `pkg/certauthorization`, and the status strategy of
//! PodCertificateRequests.

use api::field::{FieldErrors, Path, go_quote as quoted};
use api::status::Status;
use api::value::Value;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Attributes, Operation};
use crate::api::Api;
use crate::authz;
use crate::authz::escalation::changes_only_gc_fields;
use crate::pki::csr::CertificateRequest;

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
const MASTERS: &str = "system:masters";

/// CertificateApproval: a condition of approval or denial needs the verb `approve` on the signer.
pub fn approval(api: &Api, attributes: &Attributes<'_>, _: Option<&Value>, old: Option<&Value>) -> Result<(), Status> {
    let Some(old) = old.filter(|_| attributes.is_sub(GROUP, REQUESTS, "approval")) else { return Ok(()) };
    let signer = old.str_at("spec.signerName");
    match may(api, attributes, "approve", signer) {
        true => Ok(()),
        false => {
            Err(attributes
                .forbidden(&format!("user not permitted to approve requests with signerName {}", quoted(signer))))
        }
    }
}

/// CertificateSigning: a certificate or another condition needs the verb `sign` on the signer.
pub fn signing(api: &Api, attributes: &Attributes<'_>, new: Option<&Value>, old: Option<&Value>) -> Result<(), Status> {
    let (Some(new), Some(old)) = (new, old) else { return Ok(()) };
    if attributes.is_sub(GROUP, "podcertificaterequests", "status") {
        return pod_signing(api, attributes, new, old);
    }
    let changes = |path| new.at(path) != old.at(path);
    if !attributes.is_sub(GROUP, REQUESTS, "status") || !(changes("status.certificate") || changes("status.conditions"))
    {
        return Ok(());
    }
    let signer = old.str_at("spec.signerName");
    match may(api, attributes, "sign", signer) {
        true => Ok(()),
        false => {
            Err(attributes
                .forbidden(&format!("user not permitted to sign requests with signerName {}", quoted(signer))))
        }
    }
}

/// Any change of the status of a pod's request needs `sign`; upstream says so as a field's error.
fn pod_signing(api: &Api, attributes: &Attributes<'_>, new: &Value, old: &Value) -> Result<(), Status> {
    let signer = old.str_at("spec.signerName");
    if new.at("status") == old.at("status") || may(api, attributes, "sign", signer) {
        return Ok(());
    }
    let user = quoted(&attributes.context.user.name);
    let mut errors = FieldErrors::default();
    let why = format!("User {user} is not permitted to \"sign\" for signer {}", quoted(signer));
    errors.forbidden(&Path::new("spec.signerName"), why);
    Err(errors.into_status(GROUP, attributes.served.kind(), attributes.name))
}

/// ClusterTrustBundleAttest: a bundle of a signer needs the verb `attest` on it.
pub fn attest(api: &Api, attributes: &Attributes<'_>, new: Option<&Value>, old: Option<&Value>) -> Result<(), Status> {
    let Some(new) = new.filter(|_| attributes.is(GROUP, "clustertrustbundles")) else { return Ok(()) };
    let signer = new.str_at("spec.signerName");
    if signer.is_empty() || old.is_some_and(|old| changes_only_gc_fields(new, old)) {
        return Ok(());
    }
    match may(api, attributes, "attest", signer) {
        true => Ok(()),
        false => Err(attributes.forbidden(&format!("user not permitted to attest for signerName {}", quoted(signer)))),
    }
}

/// CertificateSubjectRestriction: no certificate of a client makes it an administrator.
pub fn subject(_: &Api, attributes: &Attributes<'_>, new: Option<&Value>, _: Option<&Value>) -> Result<(), Status> {
    let Some(new) = new.filter(|_| attributes.operation == Operation::Create && attributes.is(GROUP, REQUESTS)) else {
        return Ok(());
    };
    if new.str_at("spec.signerName") != CLIENT_SIGNER {
        return Ok(());
    }
    let failed = |why: &dyn std::fmt::Display| attributes.forbidden(&format!("failed to parse CSR: {why}"));
    let request = STANDARD.decode(new.str_at("spec.request")).map_err(|error| failed(&error))?;
    let request = CertificateRequest::parse(&request).map_err(|error| failed(&error))?;
    match request.organizations.iter().any(|group| group == MASTERS) {
        true => {
            Err(attributes.forbidden(&format!("use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed")))
        }
        false => Ok(()),
    }
}

/// Whether the user holds a verb on a signer, by its name or by its whole domain.
fn may(api: &Api, attributes: &Attributes<'_>, verb: &str, signer: &str) -> bool {
    let domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
    [signer, &domain].into_iter().any(|name| {
        let asked = authz::Attributes {
            name,
            version: "*",
            ..authz::Attributes::resource(&attributes.context.user, verb, GROUP, "signers")
        };
        api.authorizer.authorize(&asked).is_allow()
    })
}
