//! What a key may be used for, by the names of the certificates API.

use super::PkiError;
use super::der::Oid;

/// Key usages and extended key usages of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usages {
    /// RFC 5280's KeyUsage, `digitalSignature` being the highest bit.
    bits: u16,
    extended: Vec<usize>,
}

const KEY_USAGES: [(&str, u16); 10] = [
    ("signing", 1 << 15),
    ("digital signature", 1 << 15),
    ("content commitment", 1 << 14),
    ("key encipherment", 1 << 13),
    ("data encipherment", 1 << 12),
    ("key agreement", 1 << 11),
    ("cert sign", 1 << 10),
    ("crl sign", 1 << 9),
    ("encipher only", 1 << 8),
    ("decipher only", 1 << 7),
];

/// In the order of Go's constants, which is the order in certificates.
const EXTENDED_USAGES: [(&[&str], Oid); 12] = [
    (&["any"], &[0x55, 0x1d, 0x25, 0]),
    (&["server auth"], &[0x2b, 6, 1, 5, 5, 7, 3, 1]),
    (&["client auth"], &[0x2b, 6, 1, 5, 5, 7, 3, 2]),
    (&["code signing"], &[0x2b, 6, 1, 5, 5, 7, 3, 3]),
    (&["email protection", "s/mime"], &[0x2b, 6, 1, 5, 5, 7, 3, 4]),
    (&["ipsec end system"], &[0x2b, 6, 1, 5, 5, 7, 3, 5]),
    (&["ipsec tunnel"], &[0x2b, 6, 1, 5, 5, 7, 3, 6]),
    (&["ipsec user"], &[0x2b, 6, 1, 5, 5, 7, 3, 7]),
    (&["timestamping"], &[0x2b, 6, 1, 5, 5, 7, 3, 8]),
    (&["ocsp signing"], &[0x2b, 6, 1, 5, 5, 7, 3, 9]),
    (&["microsoft sgc"], &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 10, 3, 3]),
    (&["netscape sgc"], &[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 4, 1]),
];

// === impl Usages ===

impl Usages {
    /// From `spec.usages` of a CertificateSigningRequest.
    ///
    /// # Errors
    /// Names that the API does not know.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Usages, PkiError> {
        let (mut usages, mut unknown) = (Usages::default(), Vec::new());
        for name in names {
            let bit = KEY_USAGES.iter().find(|(usage, _)| *usage == name);
            let extended = EXTENDED_USAGES.iter().position(|(usages, _)| usages.contains(&name));
            match (bit, extended) {
                (Some((_, bit)), _) => usages.bits |= bit,
                (None, Some(at)) => usages.extended.push(at),
                (None, None) => unknown.push(name),
            }
        }
        usages.extended.sort_unstable();
        usages.extended.dedup();
        if unknown.is_empty() { Ok(usages) } else { Err(PkiError::Usage(crate::authz::quoted_list(&unknown))) }
    }

    fn known(names: &[&str]) -> Usages {
        // A test holds the names against the tables.
        Usages::parse(names.iter().copied()).unwrap_or_default()
    }

    /// Of a certificate authority.
    pub fn authority() -> Usages {
        Usages::known(&["digital signature", "key encipherment", "cert sign"])
    }

    /// Of a server that clients verify.
    pub fn server() -> Usages {
        Usages::known(&["digital signature", "key encipherment", "server auth"])
    }

    /// Of a client that servers verify.
    pub fn client() -> Usages {
        Usages::known(&["digital signature", "key encipherment", "client auth"])
    }

    pub(super) fn key_usage(&self) -> u16 {
        self.bits
    }

    pub(super) fn extended(&self) -> impl Iterator<Item = Oid> {
        self.extended.iter().map(|at| EXTENDED_USAGES[*at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_api() {
        let usages = Usages::parse(["client auth", "key encipherment", "digital signature", "server auth"]).unwrap();
        assert_eq!(usages.key_usage(), 0xa000);
        assert_eq!(usages.extended().map(|oid| oid[7]).collect::<Vec<_>>(), [1, 2]);
        for preset in [Usages::authority(), Usages::server(), Usages::client()] {
            assert_ne!(preset, Usages::default());
        }
        let error = Usages::parse(["sign everything"]).unwrap_err();
        assert_eq!(error.to_string(), "unrecognized usage values: [\"sign everything\"]");
    }
}
