//! Issuing certificates: an [`Authority`] signs a [`Template`].
//!
//! Free of API types, so that the controllers' signers use it as it is.

use std::net::IpAddr;

use ring::rand::{SecureRandom, SystemRandom};
use x509_parser::certificate::X509Certificate;

use super::key::PrivateKey;
use super::usage::Usages;
use super::{PkiError, der, pem};

/// A certificate authority: its certificate and key.
pub struct Authority {
    certificate: Vec<u8>,
    /// The subject as it stands in the certificate.
    subject: Vec<u8>,
    key_id: Vec<u8>,
    /// Seconds since 1970.
    not_after: i64,
    key: PrivateKey,
}

/// What a certificate is to say.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// A DER name, see [`der::name`].
    pub subject: Vec<u8>,
    /// A SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    pub usages: Usages,
    pub is_ca: bool,
    pub names: AltNames,
}

/// Subject alternative names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AltNames {
    pub dns: Vec<String>,
    pub ips: Vec<IpAddr>,
    pub emails: Vec<String>,
    pub uris: Vec<String>,
}

/// Random bits of a serial number (CA/Browser forum: at least 64; RFC 5280: at most 20 bytes, positive).
const SERIAL_BYTES: usize = 16;

// === impl Authority ===

impl Authority {
    /// A new self-signed authority.
    pub fn generate(common_name: &str, not_before: i64, not_after: i64) -> Result<Authority, PkiError> {
        let key = PrivateKey::generate()?;
        let template = Template {
            subject: der::name(common_name, &[]),
            spki: key.public().spki(),
            not_before,
            not_after,
            usages: Usages::authority(),
            is_ca: true,
            // kubeadm puts the name there as well.
            names: AltNames { dns: vec![common_name.to_owned()], ..AltNames::default() },
        };
        let key_id = key_id(&template.spki);
        let certificate = sign(&template, &template.subject, &key_id, &key)?;
        Ok(Authority { certificate, subject: template.subject, key_id, not_after, key })
    }

    /// An authority from its certificate (the first of the text) and key.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Authority, PkiError> {
        let key = PrivateKey::from_pem(key)?;
        let first = pem::certificates(certificate)?.into_iter().next();
        let certificate = first.ok_or_else(|| PkiError::malformed("no certificate found in PEM"))?;
        let parsed = parse(&certificate)?;
        let subject_key_id = parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        if parsed.public_key().raw != key.public().spki() {
            return Err(PkiError::malformed("the private key is not the certificate's"));
        }
        let subject = parsed.subject().as_raw().to_vec();
        let not_after = parsed.validity().not_after.timestamp();
        let key_id = subject_key_id.unwrap_or_else(|| self::key_id(&key.public().spki()));
        Ok(Authority { subject, key_id, not_after, key, certificate })
    }

    pub fn der(&self) -> &[u8] {
        &self.certificate
    }

    pub fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.certificate)
    }

    pub fn key_pem(&self) -> String {
        self.key.to_pem()
    }

    /// Seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Signs a certificate; it gives the DER.
    pub fn issue(&self, template: &Template) -> Result<Vec<u8>, PkiError> {
        sign(template, &self.subject, &self.key_id, &self.key)
    }
}

/// The certificate in parsed form.
pub fn parse(certificate: &[u8]) -> Result<X509Certificate<'_>, PkiError> {
    match x509_parser::parse_x509_certificate(certificate) {
        Ok((_, parsed)) => Ok(parsed),
        Err(error) => Err(PkiError::malformed(format!("certificate: {error}"))),
    }
}

fn sign(template: &Template, issuer: &[u8], issuer_key_id: &[u8], key: &PrivateKey) -> Result<Vec<u8>, PkiError> {
    let mut serial = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut serial).map_err(|error| PkiError::Crypto(error.to_string()))?;
    // Positive, and of full length.
    serial[0] = serial[0] & 0x7f | 0x40;
    let algorithm = key.signature_algorithm();
    let body = der::sequence(&[
        &der::tagged(0xa0, &der::unsigned(&[2])),
        &der::unsigned(&serial),
        &algorithm,
        issuer,
        &der::sequence(&[&der::time(template.not_before), &der::time(template.not_after)]),
        &template.subject,
        &template.spki,
        &der::tagged(0xa3, &extensions(template, issuer_key_id)),
    ]);
    let signature = key.sign(&body)?;
    Ok(der::sequence(&[&body, &algorithm, &der::bit_string(&signature)]))
}

fn extensions(template: &Template, issuer_key_id: &[u8]) -> Vec<u8> {
    const TRUE: &[u8] = &[1, 1, 0xff];
    let mut all = Vec::new();
    let mut add = |oid, critical: bool, content: Vec<u8>| {
        let critical = if critical { TRUE } else { &[] };
        all.push(der::sequence(&[&der::oid(oid), critical, &der::octet_string(&content)]));
    };
    if template.usages.key_usage() != 0 {
        add(der::KEY_USAGE, true, der::named_bits(template.usages.key_usage()));
    }
    let extended: Vec<Vec<u8>> = template.usages.extended().map(der::oid).collect();
    if !extended.is_empty() {
        let extended: Vec<&[u8]> = extended.iter().map(Vec::as_slice).collect();
        add(der::EXTENDED_KEY_USAGE, false, der::sequence(&extended));
    }
    add(der::BASIC_CONSTRAINTS, true, der::sequence(&[if template.is_ca { TRUE } else { &[] }]));
    if template.is_ca {
        add(der::SUBJECT_KEY_ID, false, der::octet_string(&key_id(&template.spki)));
    } else {
        add(der::AUTHORITY_KEY_ID, false, der::sequence(&[&der::tagged(0x80, issuer_key_id)]));
    }
    let names = template.names.to_der();
    if !names.is_empty() {
        // Critical where it is the only name.
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        add(der::SUBJECT_ALT_NAME, template.subject == der::sequence(&[]), der::sequence(&names));
    }
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    der::sequence(&all)
}

/// The first 160 bits of the key's SHA-256 (RFC 7093, method 1), as Go does it.
fn key_id(spki: &[u8]) -> Vec<u8> {
    use x509_parser::prelude::FromDer;
    let bits = x509_parser::x509::SubjectPublicKeyInfo::from_der(spki)
        .map(|(_, parsed)| parsed.subject_public_key.data.to_vec())
        .unwrap_or_else(|_| spki.to_vec());
    ring::digest::digest(&ring::digest::SHA256, &bits).as_ref()[..20].to_vec()
}

// === impl AltNames ===

impl AltNames {
    fn to_der(&self) -> Vec<Vec<u8>> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        names.extend(self.dns.iter().map(|name| der::tagged(0x82, name.as_bytes())));
        names.extend(self.emails.iter().map(|name| der::tagged(0x81, name.as_bytes())));
        names.extend(self.ips.iter().map(|ip| match ip {
            IpAddr::V4(ip) => der::tagged(0x87, &ip.octets()),
            IpAddr::V6(ip) => der::tagged(0x87, &ip.octets()),
        }));
        names.extend(self.uris.iter().map(|name| der::tagged(0x86, name.as_bytes())));
        names
    }

    /// The names in a parsed extension.
    pub(super) fn read(names: &[x509_parser::extensions::GeneralName<'_>]) -> AltNames {
        use x509_parser::extensions::GeneralName;
        let mut all = AltNames::default();
        for name in names {
            match name {
                GeneralName::DNSName(name) => all.dns.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => all.emails.push((*name).to_owned()),
                GeneralName::URI(name) => all.uris.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => all.ips.extend(ip(bytes)),
                _ => {}
            }
        }
        all
    }

    /// The names in a certificate.
    pub fn of(certificate: &X509Certificate<'_>) -> AltNames {
        match certificate.subject_alternative_name() {
            Ok(Some(extension)) => AltNames::read(&extension.value.general_names),
            _ => AltNames::default(),
        }
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_signs_what_parsers_accept() {
        let authority = Authority::generate("kubernetes", 0, 4_000_000_000).unwrap();
        let again = Authority::from_pem(authority.to_pem().as_bytes(), authority.key_pem().as_bytes()).unwrap();
        assert_eq!(again.not_after(), 4_000_000_000);
        let key = PrivateKey::generate().unwrap();
        let names = AltNames {
            dns: vec!["kubernetes.default".into()],
            ips: vec!["::1".parse().unwrap()],
            ..AltNames::default()
        };
        let template = Template {
            subject: der::name("bob", &["ops", "dev"]),
            spki: key.public().spki(),
            not_before: 1_000,
            not_after: 2_000_000_000,
            usages: Usages::client(),
            is_ca: false,
            names: names.clone(),
        };
        let issued = again.issue(&template).unwrap();
        let parsed = parse(&issued).unwrap();
        parsed.verify_signature(Some(parse(authority.der()).unwrap().public_key())).unwrap();
        assert_eq!(AltNames::of(&parsed), names);
        assert_eq!(parsed.subject().iter_organization().count(), 2);
        assert!(parsed.extended_key_usage().unwrap().unwrap().value.client_auth);
        assert!(parsed.validity().not_after.timestamp() == 2_000_000_000 && !parsed.is_ca());
        assert!(parse(authority.der()).unwrap().is_ca());
    }

    /// kubeadm's authorities have RSA keys unless told otherwise.
    #[test]
    fn an_rsa_authority_signs_too() {
        let key = PrivateKey::from_pem(include_bytes!("../../tests/data/sa-rsa.key")).unwrap();
        let subject = der::name("kubernetes", &[]);
        let spki = key.public().spki();
        let own = Template {
            subject,
            spki,
            not_after: 2_000_000_000,
            usages: Usages::authority(),
            is_ca: true,
            ..Template::default()
        };
        let certificate = sign(&own, &own.subject, &key_id(&own.spki), &key).unwrap();
        let authority =
            Authority::from_pem(pem::encode("CERTIFICATE", &certificate).as_bytes(), key.to_pem().as_bytes()).unwrap();
        let spki = PrivateKey::generate().unwrap().public().spki();
        let leaf = Template {
            subject: der::name("bob", &[]),
            spki,
            not_after: 1_900_000_000,
            usages: Usages::client(),
            ..Template::default()
        };
        let issued = authority.issue(&leaf).unwrap();
        let parsed = parse(&issued).unwrap();
        parsed.verify_signature(Some(parse(authority.der()).unwrap().public_key())).unwrap();
        assert_eq!(parsed.issuer().as_raw(), own.subject);
    }

    #[test]
    fn a_foreign_key_is_no_authority() {
        let (a, b) = (Authority::generate("a", 0, 1).unwrap(), Authority::generate("b", 0, 1).unwrap());
        assert!(Authority::from_pem(a.to_pem().as_bytes(), b.key_pem().as_bytes()).is_err());
    }
}
