//! Private and public keys: ECDSA P-256 (what is made here), P-384 and RSA (what others bring).

use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};

use super::PkiError;
use super::der;
use super::pem::{self, Block};

/// A private key, kept as PKCS#8, which all of client-go, OpenSSL and rustls read. Cheap to clone.
#[derive(Clone)]
pub struct PrivateKey {
    kind: Kind,
    pkcs8: Arc<[u8]>,
    /// The raw public key: an uncompressed point, or a PKCS#1 RSAPublicKey.
    public: Vec<u8>,
    pair: Arc<Pair>,
}

/// A public key, as SubjectPublicKeyInfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub kind: Kind,
    /// See [`PrivateKey`].
    pub raw: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    P256,
    P384,
    Rsa,
}

enum Pair {
    /// Signs certificates, and JWTs: the two encode signatures differently.
    Ecdsa {
        asn1: Box<EcdsaKeyPair>,
        fixed: Box<EcdsaKeyPair>,
    },
    Rsa(Box<RsaKeyPair>),
}

// === impl PrivateKey ===

impl PrivateKey {
    /// A new P-256 key.
    pub fn generate() -> Result<PrivateKey, PkiError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map_err(|error| PkiError::Crypto(error.to_string()))?;
        PrivateKey::from_pkcs8(document.as_ref().to_vec())
    }

    /// The first private key of a PEM text: `PRIVATE KEY`, `EC PRIVATE KEY` or `RSA PRIVATE KEY`.
    pub fn from_pem(text: &[u8]) -> Result<PrivateKey, PkiError> {
        let blocks = pem::blocks(text)?;
        let key = blocks.into_iter().find(|block| block.label.ends_with("PRIVATE KEY"));
        let Block { label, der } = key.ok_or_else(|| PkiError::malformed("no private key found in PEM"))?;
        match label.as_str() {
            "PRIVATE KEY" => PrivateKey::from_pkcs8(der),
            "RSA PRIVATE KEY" => {
                let algorithm = der::sequence(&[&der::oid(der::RSA_ENCRYPTION), der::NULL]);
                PrivateKey::from_pkcs8(wrap(&algorithm, &der))
            }
            "EC PRIVATE KEY" => [der::P256, der::P384]
                .into_iter()
                .find_map(|curve| {
                    let algorithm = der::sequence(&[&der::oid(der::EC_PUBLIC_KEY), &der::oid(curve)]);
                    PrivateKey::from_pkcs8(wrap(&algorithm, &der)).ok()
                })
                .ok_or_else(|| PkiError::malformed("EC private key is not of curve P-256 or P-384")),
            other => Err(PkiError::malformed(format!("unsupported key type {other}"))),
        }
    }

    fn from_pkcs8(pkcs8: Vec<u8>) -> Result<PrivateKey, PkiError> {
        let random = SystemRandom::new();
        let ecdsa = |asn1, fixed| -> Option<Pair> {
            let pair = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random).ok().map(Box::new);
            Some(Pair::Ecdsa { asn1: pair(asn1)?, fixed: pair(fixed)? })
        };
        let p256 =
            ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_FIXED_SIGNING).map(|pair| (Kind::P256, pair));
        let p384 =
            || ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_FIXED_SIGNING).map(|pair| (Kind::P384, pair));
        let rsa = || RsaKeyPair::from_pkcs8(&pkcs8).ok().map(|pair| (Kind::Rsa, Pair::Rsa(Box::new(pair))));
        let Some((kind, pair)) = p256.or_else(p384).or_else(rsa) else {
            return Err(PkiError::malformed(
                "private key is none of ECDSA P-256, ECDSA P-384, RSA (2048 bits or more)",
            ));
        };
        let public = match &pair {
            Pair::Ecdsa { asn1, .. } => asn1.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        };
        Ok(PrivateKey { kind, pkcs8: pkcs8.into(), public, pair: Arc::new(pair) })
    }

    pub fn to_pem(&self) -> String {
        pem::encode("PRIVATE KEY", &self.pkcs8)
    }

    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub fn public(&self) -> PublicKey {
        PublicKey { kind: self.kind, raw: self.public.clone() }
    }

    /// The AlgorithmIdentifier of signatures in certificates.
    pub(super) fn signature_algorithm(&self) -> Vec<u8> {
        match self.kind {
            Kind::P256 => der::sequence(&[&der::oid(der::ECDSA_SHA256)]),
            Kind::P384 => der::sequence(&[&der::oid(der::ECDSA_SHA384)]),
            Kind::Rsa => der::sequence(&[&der::oid(der::RSA_SHA256), der::NULL]),
        }
    }

    /// A signature as certificates hold it.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        match &*self.pair {
            Pair::Ecdsa { asn1, .. } => sign_ecdsa(asn1, message),
            Pair::Rsa(pair) => sign_rsa(pair, message),
        }
    }

    /// A signature as JWTs hold it.
    pub fn sign_jws(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        match &*self.pair {
            Pair::Ecdsa { fixed, .. } => sign_ecdsa(fixed, message),
            Pair::Rsa(pair) => sign_rsa(pair, message),
        }
    }
}

fn sign_ecdsa(pair: &EcdsaKeyPair, message: &[u8]) -> Result<Vec<u8>, PkiError> {
    let signature = pair.sign(&SystemRandom::new(), message).map_err(|error| PkiError::Crypto(error.to_string()))?;
    Ok(signature.as_ref().to_vec())
}

fn sign_rsa(pair: &RsaKeyPair, message: &[u8]) -> Result<Vec<u8>, PkiError> {
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
        .map_err(|error| PkiError::Crypto(error.to_string()))?;
    Ok(signature)
}

/// PKCS#8 around a key in its algorithm's own form.
fn wrap(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::unsigned(&[0]), algorithm, &der::octet_string(key)])
}

// === impl PublicKey ===

impl PublicKey {
    /// All keys of a PEM text: public keys, certificates, and the public halves of private keys.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<PublicKey>, PkiError> {
        let mut keys = Vec::new();
        for block in pem::blocks(text)? {
            match block.label.as_str() {
                "PUBLIC KEY" => keys.push(PublicKey::from_spki(&block.der)?),
                "RSA PUBLIC KEY" => keys.push(PublicKey { kind: Kind::Rsa, raw: block.der }),
                "CERTIFICATE" => {
                    let (_, certificate) = x509_parser::parse_x509_certificate(&block.der)
                        .map_err(|error| PkiError::malformed(format!("certificate: {error}")))?;
                    keys.push(PublicKey::from_spki(certificate.public_key().raw)?);
                }
                label if label.ends_with("PRIVATE KEY") => {
                    keys.push(PrivateKey::from_pem(pem::encode(label, &block.der).as_bytes())?.public());
                }
                _ => {}
            }
        }
        if keys.is_empty() {
            return Err(PkiError::malformed("data does not contain any valid RSA or ECDSA public keys"));
        }
        Ok(keys)
    }

    /// From a SubjectPublicKeyInfo.
    pub fn from_spki(spki: &[u8]) -> Result<PublicKey, PkiError> {
        use x509_parser::prelude::FromDer;
        let (_, parsed) = x509_parser::x509::SubjectPublicKeyInfo::from_der(spki)
            .map_err(|error| PkiError::malformed(format!("public key: {error}")))?;
        let raw = parsed.subject_public_key.data.to_vec();
        [Kind::P256, Kind::P384, Kind::Rsa]
            .into_iter()
            .map(|kind| PublicKey { kind, raw: raw.clone() })
            .find(|key| key.spki() == spki)
            .ok_or_else(|| PkiError::malformed("public key is none of ECDSA P-256, ECDSA P-384, RSA"))
    }

    /// The SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        let ec = |curve| der::sequence(&[&der::oid(der::EC_PUBLIC_KEY), &der::oid(curve)]);
        let algorithm = match self.kind {
            Kind::P256 => ec(der::P256),
            Kind::P384 => ec(der::P384),
            Kind::Rsa => der::sequence(&[&der::oid(der::RSA_ENCRYPTION), der::NULL]),
        };
        der::sequence(&[&algorithm, &der::bit_string(&self.raw)])
    }

    pub fn to_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &self.spki())
    }

    /// Whether a JWT's signature over `message` is by this key.
    pub fn verifies_jws(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn ring::signature::VerificationAlgorithm = match self.kind {
            Kind::P256 => &ring::signature::ECDSA_P256_SHA256_FIXED,
            Kind::P384 => &ring::signature::ECDSA_P384_SHA384_FIXED,
            Kind::Rsa => &ring::signature::RSA_PKCS1_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, &self.raw).verify(message, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_pem() {
        let key = PrivateKey::generate().unwrap();
        let back = PrivateKey::from_pem(key.to_pem().as_bytes()).unwrap();
        assert_eq!(back.public(), key.public());
        assert_eq!(PublicKey::all_from_pem(key.public().to_pem().as_bytes()).unwrap(), [key.public()]);
        assert_eq!(PublicKey::all_from_pem(key.to_pem().as_bytes()).unwrap(), [key.public()]);
        let signature = back.sign_jws(b"text").unwrap();
        assert!(key.public().verifies_jws(b"text", &signature));
        assert!(!key.public().verifies_jws(b"other", &signature));
    }

    #[test]
    fn keys_of_openssl_and_kubeadm_are_read() {
        let rsa = PrivateKey::from_pem(include_bytes!("../../tests/data/sa-rsa.key")).unwrap();
        let p256 = PrivateKey::from_pem(include_bytes!("../../tests/data/ec-sec1.key")).unwrap();
        let p384 = PrivateKey::from_pem(include_bytes!("../../tests/data/ec384-sec1.key")).unwrap();
        for (key, kind) in [(rsa, Kind::Rsa), (p256, Kind::P256), (p384, Kind::P384)] {
            assert_eq!(key.public().kind, kind);
            let again = PrivateKey::from_pem(key.to_pem().as_bytes()).unwrap();
            assert!(key.public().verifies_jws(b"text", &again.sign_jws(b"text").unwrap()));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(PrivateKey::from_pem(b"").is_err());
        assert!(PrivateKey::from_pem(pem::encode("PRIVATE KEY", b"no key").as_bytes()).is_err());
        assert!(PrivateKey::from_pem(pem::encode("EC PRIVATE KEY", b"no key").as_bytes()).is_err());
        assert!(PublicKey::all_from_pem(b"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n").is_err());
    }
}
