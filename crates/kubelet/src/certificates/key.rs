//! Key pairs of pods, and the proof that one has the private key: a certificate request that asks for nothing.

use p521::{
    ecdsa::{Signature, SigningKey, signature::RandomizedSigner},
    elliptic_curve::pkcs8::EncodePublicKey,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
use rsa::{RsaPrivateKey, pkcs8::EncodePrivateKey, rand_core::OsRng};

use crate::objects::pem;

/// A private key, and the proof that one has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// PKCS #8 in PEM.
    pub key: String,
    /// PKCS #10.
    pub proof: Vec<u8>,
}

/// What comes before the 32 bytes of an Ed25519 key in PKCS #8, without the public key: RFC 8410.
const ED25519_PREFIX: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// ecdsa-with-SHA512, RFC 5758.
const ECDSA_SHA512: [u8; 12] = *b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04";

/// A new pair of one of the types that a projection may ask for. RSA takes seconds.
///
/// # Errors
/// The type is none, or the machine has no random numbers.
pub fn generate(kind: &str) -> Result<Pair, String> {
    let made = match kind {
        "RSA3072" => rsa(3072),
        "RSA4096" => rsa(4096),
        "ECDSAP256" => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(text).and_then(|pair| proven(&pair)),
        "ECDSAP384" => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(text).and_then(|pair| proven(&pair)),
        "ECDSAP521" => p521(),
        "ED25519" => ed25519(),
        _ => return Err(format!("while generating keypair: unknown key type {kind:?}")),
    };
    made.map_err(|error| format!("while generating keypair: while generating {kind} key: {error}"))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn rsa(bits: usize) -> Result<Pair, String> {
    let key = RsaPrivateKey::new(&mut OsRng, bits).map_err(text)?.to_pkcs8_der().map_err(text)?;
    proven(&KeyPair::try_from(key.as_bytes()).map_err(text)?)
}

fn ed25519() -> Result<Pair, String> {
    let key = [ED25519_PREFIX.as_slice(), &rand::random::<[u8; 32]>()].concat();
    proven(&KeyPair::try_from(key).map_err(text)?)
}

fn proven(pair: &KeyPair) -> Result<Pair, String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let proof = params.serialize_request(pair).map_err(text)?.der().to_vec();
    Ok(Pair { key: pem::block("PRIVATE KEY", pair.serialized_der()), proof })
}

/// By hand: ring does not know this curve, so neither does rcgen.
fn p521() -> Result<Pair, String> {
    let secret = p521::SecretKey::random(&mut OsRng);
    let public = secret.public_key().to_public_key_der().map_err(text)?;
    let signing = SigningKey::from_slice(&secret.to_bytes()).map_err(text)?;
    // Version 0, no subject, no attributes.
    let asked = der(0x30, &[b"\x02\x01\x00\x30\x00", public.as_bytes(), b"\xa0\x00"].concat());
    let signature: Signature = signing.try_sign_with_rng(&mut OsRng, &asked).map_err(text)?;
    // No bits are unused.
    let signature = der(0x03, &[b"\x00", signature.to_der().as_bytes()].concat());
    let proof = der(0x30, &[asked.as_slice(), &ECDSA_SHA512, &signature].concat());
    let key = secret.to_pkcs8_der().map_err(text)?;
    Ok(Pair { key: pem::block("PRIVATE KEY", key.as_bytes()), proof })
}

/// One element; its content is shorter than 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let head: &[u8] = match (high, low) {
        (0, 0..0x80) => &[tag, low],
        (0, _) => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [head, content].concat()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

    use super::*;

    /// Algorithm of the key, and that of the signature, where the parser can check it.
    #[rstest]
    #[case("RSA3072", "1.2.840.113549.1.1.11", true)]
    #[case("ECDSAP256", "1.2.840.10045.4.3.2", true)]
    #[case("ECDSAP384", "1.2.840.10045.4.3.3", true)]
    #[case("ECDSAP521", "1.2.840.10045.4.3.4", false)]
    #[case("ED25519", "1.3.101.112", true)]
    fn pairs(#[case] kind: &str, #[case] algorithm: &str, #[case] can_be_checked: bool) {
        let pair = generate(kind).unwrap();
        let (rest, request) = X509CertificationRequest::from_der(&pair.proof).unwrap();
        assert!(rest.is_empty());
        assert_eq!(request.certification_request_info.subject.to_string(), "");
        assert_eq!(request.signature_algorithm.algorithm.to_id_string(), algorithm);
        if can_be_checked {
            request.verify_signature().unwrap();
        }
        assert!(pair.key.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(pem::contents(&pair.key).count(), 1);
        assert_ne!(generate("ED25519").unwrap(), generate("ED25519").unwrap());
    }

    #[test]
    fn the_proof_of_p521_holds() {
        use p521::{
            ecdsa::{VerifyingKey, signature::Verifier},
            pkcs8::DecodePublicKey,
        };
        let pair = generate("ECDSAP521").unwrap();
        let (_, request) = X509CertificationRequest::from_der(&pair.proof).unwrap();
        let public = p521::PublicKey::from_public_key_der(request.certification_request_info.subject_pki.raw).unwrap();
        let signature = Signature::from_der(&request.signature_value.data).unwrap();
        let asked = request.certification_request_info.raw;
        VerifyingKey::from_affine(*public.as_affine()).unwrap().verify(asked, &signature).unwrap();
    }

    #[test]
    fn unknown_types() {
        assert_eq!(generate("DSA").unwrap_err(), "while generating keypair: unknown key type \"DSA\"");
    }
}
