//! Certificate requests: of kubelets for themselves, and for pods on their node.

use api::status::Status;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::pods::is_mirror;
use super::{Context, Operation, quoted};
use crate::pki::csr::CertificateRequest;

const KUBELET_SIGNERS: [&str; 2] = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

/// A request to a kubelet's signer must be for the node itself.
pub(super) fn signing_request(context: &Context<'_>) -> Result<(), Status> {
    let request = context.written();
    let concerns = KUBELET_SIGNERS.contains(&request.str_at("spec.signerName"));
    if context.request.operation != Operation::Create || !concerns {
        return Ok(());
    }
    let parsed = STANDARD
        .decode(request.str_at("spec.request"))
        .map_err(|error| error.to_string())
        .and_then(|pem| CertificateRequest::parse(&pem).map_err(|error| error.to_string()));
    let expected = format!("system:node:{}", context.node);
    match parsed {
        Err(error) => context.deny(format!("unable to parse csr: {error}")),
        Ok(parsed) => {
            context.require(parsed.common_name == expected, || format!("can only create a node CSR with CN={expected}"))
        }
    }
}

/// A pod's certificate: node, pod and service account must be as they are in the cluster. What
/// may be a stale cache is an error that the kubelet tries again.
pub(super) fn pod_request(context: &Context<'_>) -> Result<(), Status> {
    let (request, spec) = (context.request, context.written().at("spec"));
    context.require(request.operation == Operation::Create, || {
        format!("unexpected operation {}", request.operation.name())
    })?;
    context.require(request.subresource.is_empty(), || format!("unexpected subresource {}", request.subresource))?;
    let node_name = spec.str_at("nodeName");
    context.require(node_name == context.node, || {
        format!(
            "PodCertificateRequest.Spec.NodeName={}, which is not the requesting node {}",
            quoted(node_name),
            quoted(context.node)
        )
    })?;
    let pod_name = quoted(&format!("{}/{}", request.namespace, spec.str_at("podName")));
    let node = context.get("", "nodes", "", node_name).map_err(|status| {
        retry(format!("while retrieving node {} named in the PodCertificateRequest: {status}", quoted(node_name)))
    })?;
    let (given, running) = (spec.str_at("nodeUID"), node.str_at("metadata.uid"));
    if given != running {
        return Err(retry(format!(
            "PodCertificateRequest for pod {pod_name} names node UID {}, inconsistent with the running node ({})",
            quoted(given),
            quoted(running)
        )));
    }
    pod_of_request(context, node_name, &pod_name)
}

fn pod_of_request(context: &Context<'_>, node_name: &str, pod_name: &str) -> Result<(), Status> {
    let (request, spec) = (context.request, context.written().at("spec"));
    let pod = context.get("", "pods", request.namespace, spec.str_at("podName")).map_err(|status| {
        retry(format!("while retrieving pod {pod_name} named in the PodCertificateRequest: {status}"))
    })?;
    let (given, running) = (spec.str_at("podUID"), pod.str_at("metadata.uid"));
    if given != running {
        return Err(retry(format!(
            "PodCertificateRequest for pod {pod_name} contains pod UID ({}) which differs from running pod {}",
            quoted(given),
            quoted(running)
        )));
    }
    context.require(pod.str_at("spec.nodeName") == node_name, || {
        format!("pod {pod_name} is not running on node {} named in the PodCertificateRequest", quoted(node_name))
    })?;
    context.require(!is_mirror(&pod), || format!("pod {pod_name} is a mirror pod"))?;
    let (account, own) = (spec.str_at("serviceAccountName"), pod.str_at("spec.serviceAccountName"));
    context.require(account == own, || {
        format!(
            "PodCertificateRequest for pod {pod_name} contains serviceAccountName ({}) that differs from running pod \
             ({})",
            quoted(account),
            quoted(own)
        )
    })?;
    let full = quoted(&format!("{}/{account}", request.namespace));
    let stored = context.get("", "serviceaccounts", request.namespace, account).map_err(|status| {
        retry(format!("while retrieving service account {full} named in the PodCertificateRequest: {status}"))
    })?;
    let (given, running) = (spec.str_at("serviceAccountUID"), stored.str_at("metadata.uid"));
    if given != running {
        return Err(retry(format!(
            "PodCertificateRequest for pod {pod_name} names service account UID {}, which differs from the running \
             service account ({})",
            quoted(given),
            quoted(running)
        )));
    }
    let signer = spec.str_at("signerName");
    let mounts = pod.array_at("spec.volumes").iter().flat_map(|volume| volume.array_at("projected.sources"));
    let mounted = mounts
        .filter_map(|source| source.field("podCertificate"))
        .any(|certificate| certificate.str_at("signerName") == signer);
    // RBAC has no resources with slashes in their names.
    let may = || context.may("request-serviceaccounts-podcertificate-signer", &signer.replace('/', ":"), account);
    context.require(mounted || may(), || {
        format!("pod {pod_name} does not mount a podCertificate projected volume for signer {}", quoted(signer))
    })
}

/// An error without a reason: clients try again.
fn retry(message: String) -> Status {
    Status::new(500, "", message)
}
