use rstest::rstest;

use super::*;
use crate::pki::key::PrivateKey;
use crate::testing::parse;

fn keys() -> KeySet {
    let rsa = PrivateKey::from_pem(include_bytes!("../../../../tests/data/sa-rsa.key")).unwrap();
    KeySet::new([PrivateKey::generate().unwrap().public(), rsa.public()])
}

#[test]
fn documents_as_upstream_serves_them() {
    let keys = keys();
    let configuration =
        configuration("https://my-fake-issuer.com", "https://10.0.0.1:6443/openid/v1/jwks", &keys).unwrap();
    let expected = r#"{"issuer":"https://my-fake-issuer.com","jwks_uri":"https://10.0.0.1:6443/openid/v1/jwks",
        "response_types_supported":["id_token"],"subject_types_supported":["public"],
        "id_token_signing_alg_values_supported":["ES256","RS256"]}"#;
    assert_eq!(parse(&String::from_utf8(configuration).unwrap()).unwrap(), parse(expected).unwrap());
    let set = parse(&String::from_utf8(key_set(&keys)).unwrap()).unwrap();
    let [ec, rsa] = set.array_at("keys") else { panic!("two keys") };
    assert_eq!((ec.str_at("kty"), ec.str_at("crv"), ec.str_at("alg")), ("EC", "P-256", "ES256"));
    assert_eq!((ec.str_at("x").len(), ec.str_at("y").len()), (43, 43));
    assert_eq!((rsa.str_at("kty"), rsa.str_at("alg"), rsa.str_at("e")), ("RSA", "RS256", "AQAB"));
    // Made by openssl and sha256sum from the same key.
    assert_eq!(rsa.str_at("kid"), include_str!("../../../../tests/data/sa-rsa.kid").trim());
    assert_eq!(rsa.str_at("n").len(), 342);
}

#[rstest]
#[case("http://issuer", "issuer URL must use https scheme, got: http://issuer")]
#[case("https://issuer?x", "issuer URL may not include a query, got: https://issuer?x")]
#[case("https://issuer#x", "issuer URL may not include a fragment, got: https://issuer#x")]
fn issuers_that_openid_does_not_allow(#[case] issuer: &str, #[case] why: &str) {
    assert_eq!(configuration(issuer, "https://a", &keys()).unwrap_err(), why);
}
