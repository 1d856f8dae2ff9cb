//! Which certificate requests are recognized, and what their signers demand.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};

/// Signs clients of the API server.
pub const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Signs kubelets as clients of the API server.
pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Signs kubelets as servers.
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// Signs whatever the oldest version of the API let through.
pub const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// `--cluster-signing-duration`, which nobody gets more than.
const TTL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Less than this is not given: certificates begin five minutes before now.
const TTL_MIN: Duration = Duration::from_secs(10 * 60);

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The subject's common name.
    pub common_name: String,
    /// The subject's organizations.
    pub organizations: Vec<String>,
    /// Alternative names: DNS names.
    pub dns: usize,
    /// Alternative names: IP addresses.
    pub ips: usize,
    /// Alternative names: mail addresses.
    pub emails: usize,
    /// Alternative names: URIs.
    pub uris: usize,
}

/// One condition of a request is true.
pub fn has(csr: &CertificateSigningRequest, kind: &str) -> bool {
    let conditions = csr.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

/// Whether a certificate was issued.
pub fn is_issued(csr: &CertificateSigningRequest) -> bool {
    csr.status.as_ref().and_then(|status| status.certificate.as_ref()).is_some_and(|bytes| !bytes.0.is_empty())
}

/// The permissions of which one approves the request (subresource, and what is said then); none if it is nothing that
/// is approved automatically.
pub fn recognizers(spec: &CertificateSigningRequestSpec, request: &Request) -> Vec<(&'static str, &'static str)> {
    if spec.signer_name != KUBELET_CLIENT || check(spec, request).is_err() {
        return Vec::new();
    }
    let itself = ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.");
    let any = ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.");
    if spec.username.as_deref() == Some(&request.common_name) { vec![itself, any] } else { vec![any] }
}

/// Whether this program signs for the signer.
pub fn is_signer(name: &str) -> bool {
    [CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY].contains(&name)
}

/// What the signer demands of its requests.
///
/// # Errors
/// What is wrong, in upstream's words.
pub fn check(spec: &CertificateSigningRequestSpec, request: &Request) -> Result<(), String> {
    let usages: BTreeSet<&str> = spec.usages.iter().flatten().map(String::as_str).collect();
    match spec.signer_name.as_str() {
        CLIENT => check_client(spec),
        KUBELET_CLIENT => {
            check_node(request)?;
            let kinds = [("DNS", request.dns), ("Email", request.emails), ("IP", request.ips), ("URI", request.uris)];
            if let Some((kind, _)) = kinds.into_iter().find(|(_, count)| *count > 0) {
                return Err(format!("{kind} subjectAltNames are not allowed"));
            }
            check_usages(&usages, "client auth")?;
            check_name(request)
        }
        KUBELET_SERVING => {
            check_node(request)?;
            if request.dns + request.ips == 0 {
                return Err("DNS or IP subjectAltName is required".to_owned());
            }
            let kinds = [("Email", request.emails), ("URI", request.uris)];
            if let Some((kind, _)) = kinds.into_iter().find(|(_, count)| *count > 0) {
                return Err(format!("{kind} subjectAltNames are not allowed"));
            }
            check_usages(&usages, "server auth")?;
            check_name(request)
        }
        _ => Ok(()),
    }
}

fn check_client(spec: &CertificateSigningRequestSpec) -> Result<(), String> {
    let allowed = ["digital signature", "key encipherment", "client auth"];
    let mut usages = spec.usages.iter().flatten();
    if let Some(usage) = usages.find(|usage| !allowed.contains(&usage.as_str())) {
        return Err(format!("invalid usage for client certificate: {usage}"));
    }
    match spec.usages.iter().flatten().any(|usage| usage == "client auth") {
        true => Ok(()),
        false => Err("missing required usage for client certificate: client auth".to_owned()),
    }
}

fn check_node(request: &Request) -> Result<(), String> {
    let is_node = request.organizations == ["system:nodes"];
    if is_node { Ok(()) } else { Err("subject organization is not system:nodes".to_owned()) }
}

fn check_name(request: &Request) -> Result<(), String> {
    let is_node = request.common_name.starts_with("system:node:");
    if is_node { Ok(()) } else { Err("subject common name does not begin with system:node:".to_owned()) }
}

/// Exactly the usages for the purpose; keys other than RSA encipher nothing.
fn check_usages(usages: &BTreeSet<&str>, purpose: &str) -> Result<(), String> {
    let all = BTreeSet::from(["digital signature", "key encipherment", purpose]);
    let no_rsa = BTreeSet::from(["digital signature", purpose]);
    if *usages == all || *usages == no_rsa {
        return Ok(());
    }
    let mut all: Vec<&str> = all.into_iter().collect();
    all.sort_unstable();
    Err(format!("usages did not match [{}]", all.join(" ")))
}

/// How long the certificate is to be valid.
pub fn ttl(spec: &CertificateSigningRequestSpec) -> Duration {
    let asked = spec.expiration_seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    asked.unwrap_or(TTL_MAX).clamp(TTL_MIN, TTL_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn spec(signer: &str, usages: &[&str]) -> CertificateSigningRequestSpec {
        CertificateSigningRequestSpec {
            signer_name: signer.to_owned(),
            usages: Some(usages.iter().map(|one| (*one).to_owned()).collect()),
            username: Some("system:node:n1".to_owned()),
            ..CertificateSigningRequestSpec::default()
        }
    }

    fn request(name: &str, organization: &str, ips: usize) -> Request {
        Request { common_name: name.into(), organizations: vec![organization.into()], ips, ..Request::default() }
    }

    const AS_CLIENT: &[&str] = &["client auth", "digital signature"];
    const AS_SERVER: &[&str] = &["server auth", "digital signature", "key encipherment"];
    const NODE: (&str, &str) = ("system:node:n1", "system:nodes");

    #[rstest]
    #[case(KUBELET_CLIENT, AS_CLIENT, NODE, 0, "")]
    #[case(KUBELET_CLIENT, AS_CLIENT, NODE, 1, "IP subjectAltNames are not allowed")]
    #[case(KUBELET_CLIENT, AS_CLIENT, ("system:node:n1", "x"), 0, "subject organization is not system:nodes")]
    #[case(KUBELET_CLIENT, AS_CLIENT, ("n1", "system:nodes"), 0, "subject common name does not begin with system:node:")]
    #[case(KUBELET_CLIENT, AS_SERVER, NODE, 0, "usages did not match [client auth digital signature key encipherment]")]
    #[case(KUBELET_SERVING, AS_SERVER, NODE, 1, "")]
    #[case(KUBELET_SERVING, AS_SERVER, NODE, 0, "DNS or IP subjectAltName is required")]
    #[case(CLIENT, AS_CLIENT, ("me", "us"), 0, "")]
    #[case(CLIENT, AS_SERVER, ("me", "us"), 0, "invalid usage for client certificate: server auth")]
    #[case(CLIENT, &["digital signature"], ("me", "us"), 0, "missing required usage for client certificate: client auth")]
    #[case(LEGACY, AS_SERVER, ("me", "us"), 0, "")]
    fn demands(
        #[case] signer: &str,
        #[case] usages: &[&str],
        #[case] (name, organization): (&str, &str),
        #[case] ips: usize,
        #[case] expected: &str,
    ) {
        let checked = check(&spec(signer, usages), &request(name, organization, ips));
        assert_eq!(checked.err().unwrap_or_default(), expected);
    }

    #[test]
    fn kubelets_are_recognized() {
        let names = |request: &Request| {
            let found = recognizers(&spec(KUBELET_CLIENT, AS_CLIENT), request);
            found.into_iter().map(|(permission, _)| permission).collect::<Vec<_>>()
        };
        assert_eq!(names(&request("system:node:n1", "system:nodes", 0)), ["selfnodeclient", "nodeclient"]);
        assert_eq!(names(&request("system:node:n2", "system:nodes", 0)), ["nodeclient"]);
        assert!(names(&request("system:node:n1", "x", 0)).is_empty());
    }

    #[rstest]
    #[case(None, 365 * 24 * 3600)]
    #[case(Some(3600), 3600)]
    #[case(Some(60), 600)]
    #[case(Some(i32::MAX), 365 * 24 * 3600)]
    fn lives(#[case] asked: Option<i32>, #[case] expected: u64) {
        let spec = CertificateSigningRequestSpec { expiration_seconds: asked, ..Default::default() };
        assert_eq!(ttl(&spec).as_secs(), expected);
    }
}
