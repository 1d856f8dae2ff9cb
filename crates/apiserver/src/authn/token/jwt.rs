//! JWTs in compact form.

use api::codec::json;
use api::value::Value;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::pki::PkiError;
use crate::pki::key::{Kind, PrivateKey};

/// A token taken apart; its signature is not yet verified.
#[derive(Debug)]
pub struct Jwt<'a> {
    pub algorithm: String,
    /// Empty without a `kid`.
    pub key_id: String,
    pub claims: Value,
    /// What the signature is over.
    pub signed: &'a str,
    pub signature: Vec<u8>,
}

/// A longer token is none of ours; nobody has to decode it.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// The name of a key's algorithm in tokens and key sets.
pub fn algorithm(kind: Kind) -> &'static str {
    match kind {
        Kind::P256 => "ES256",
        Kind::P384 => "ES384",
        Kind::Rsa => "RS256",
    }
}

/// Takes a token apart; `None` if it is no JWT.
pub fn parse(token: &str) -> Option<Jwt<'_>> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.').filter(|(_, payload)| !payload.contains('.'))?;
    let decode = |part: &str| json::parse(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let header = decode(header)?;
    // Extensions that must be understood are not.
    if header.field("crit").is_some() {
        return None;
    }
    Some(Jwt {
        algorithm: header.str_at("alg").to_owned(),
        key_id: header.str_at("kid").to_owned(),
        claims: decode(payload)?,
        signed,
        signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
    })
}

/// Signs claims, which are written in the order they have.
pub fn sign(claims: &Value, key: &PrivateKey, key_id: &str) -> Result<String, PkiError> {
    let mut header = Value::object();
    header.set("alg", algorithm(key.public().kind));
    header.set("kid", key_id);
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(json::to_vec(value));
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = key.sign_jws(signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
