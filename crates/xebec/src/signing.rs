//! The cluster's authority, as the controllers of certificate requests need it.

use std::sync::Arc;
use std::time::Duration;

use apiserver::pki::csr::{BACKDATE_SECONDS, CertificateRequest, Profile};
use apiserver::pki::usage::Usages;
use apiserver::pki::{PkiError, pem, sign_csr};
use client::{Clock, SystemClock};
use controllers::certificates::Authority;
use controllers::certificates::plan::Request;

/// Signs with an authority's key.
pub struct Signing(pub Arc<apiserver::pki::Authority>);

impl Authority for Signing {
    fn read(&self, request: &[u8]) -> Result<Request, String> {
        let read = CertificateRequest::parse(request).map_err(|error| error.to_string())?;
        Ok(Request {
            common_name: read.common_name,
            organizations: read.organizations,
            dns: read.names.dns.len(),
            ips: read.names.ips.len(),
            emails: read.names.emails.len(),
            uris: read.names.uris.len(),
        })
    }

    fn sign(&self, request: &[u8], usages: &[String], ttl: Duration) -> Result<String, String> {
        let sign = || -> Result<String, PkiError> {
            let block = pem::blocks(request)?.into_iter().next();
            let der = block.map(|block| block.der).unwrap_or_default();
            let profile = Profile {
                usages: Usages::parse(usages.iter().map(String::as_str))?,
                ttl_seconds: i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX),
                backdate_seconds: BACKDATE_SECONDS,
            };
            let now = SystemClock.now().as_second();
            Ok(pem::encode("CERTIFICATE", &sign_csr(&der, &self.0, &profile, now)?))
        };
        sign().map_err(|error| error.to_string())
    }
}
