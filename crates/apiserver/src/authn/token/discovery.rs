//! OpenID discovery: how others verify this cluster's tokens.
//!
//! Upstream: pkg/serviceaccount/openidmetadata.go; served at [`CONFIGURATION_PATH`] and [`KEYS_PATH`].

use api::codec::json;
use api::value::{Map, Value};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::jwt::algorithm;
use super::keys::KeySet;
use crate::pki::key::{Kind, PublicKey};

pub const CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";
pub const KEYS_PATH: &str = "/openid/v1/jwks";
/// `Content-Type` of the key set; the configuration is `application/json`.
pub const KEYS_TYPE: &str = "application/jwk-set+json";
/// `Cache-Control` of both.
pub const CACHE_CONTROL: &str = "public, max-age=3600";

/// The configuration document; `keys_uri` is `https://ADDRESS/openid/v1/jwks` unless configured.
///
/// # Errors
/// The issuer is no URL that OpenID allows: both documents are then not served.
pub fn configuration(issuer: &str, keys_uri: &str, keys: &KeySet) -> Result<Vec<u8>, String> {
    if !issuer.starts_with("https://") {
        return Err(format!("issuer URL must use https scheme, got: {issuer}"));
    }
    for (mark, what) in [('?', "a query"), ('#', "a fragment")] {
        if issuer.contains(mark) {
            return Err(format!("issuer URL may not include {what}, got: {issuer}"));
        }
    }
    if !keys_uri.starts_with("https://") {
        return Err(format!("jwksURI requires https scheme, parsed as: {keys_uri}"));
    }
    let mut algorithms: Vec<&str> = keys.iter().map(|(_, key)| algorithm(key.kind)).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    let mut document = Map::new();
    document.insert("issuer", issuer);
    document.insert("jwks_uri", keys_uri);
    document.insert("response_types_supported", vec!["id_token"]);
    document.insert("subject_types_supported", vec!["public"]);
    document.insert("id_token_signing_alg_values_supported", algorithms);
    Ok(json::to_vec(&Value::Object(document)))
}

/// The key set document.
pub fn key_set(keys: &KeySet) -> Vec<u8> {
    let keys: Vec<Value> = keys.iter().map(|(id, key)| Value::Object(json_web_key(id, key))).collect();
    let mut document = Value::object();
    document.set("keys", keys);
    json::to_vec(&document)
}

fn json_web_key(id: &str, key: &PublicKey) -> Map {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (kty, curve) = match key.kind {
        Kind::P256 => ("EC", "P-256"),
        Kind::P384 => ("EC", "P-384"),
        Kind::Rsa => ("RSA", ""),
    };
    let mut map = Map::new();
    map.insert("use", "sig");
    map.insert("kty", kty);
    map.insert("kid", id);
    if !curve.is_empty() {
        map.insert("crv", curve);
    }
    map.insert("alg", algorithm(key.kind));
    if key.kind == Kind::Rsa {
        let (modulus, exponent) = rsa_numbers(&key.raw);
        map.insert("n", encode(modulus));
        map.insert("e", encode(exponent));
    } else {
        // An uncompressed point: 4, x, y.
        let point = key.raw.get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        map.insert("x", encode(x));
        map.insert("y", encode(y));
    }
    map
}

/// Modulus and exponent of a PKCS#1 RSAPublicKey, without leading zeros.
fn rsa_numbers(key: &[u8]) -> (&[u8], &[u8]) {
    use x509_parser::prelude::FromDer;
    match x509_parser::public_key::RSAPublicKey::from_der(key) {
        Ok((_, parsed)) => (without_zeros(parsed.modulus), without_zeros(parsed.exponent)),
        Err(_) => (&[], &[]),
    }
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]
}

#[cfg(test)]
mod tests;
