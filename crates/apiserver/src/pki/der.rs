//! Writing DER: just what certificates, keys and names need.
//!
//! Certificates are written here and not by a library so that a request's subject is taken over
//! byte for byte: groups are several `O` attributes, which the usual builders can't hold.

/// An object identifier's content, already encoded.
pub type Oid = &'static [u8];

pub const COMMON_NAME: Oid = &[0x55, 4, 3];
pub const ORGANIZATION: Oid = &[0x55, 4, 10];
pub const SUBJECT_KEY_ID: Oid = &[0x55, 0x1d, 14];
pub const KEY_USAGE: Oid = &[0x55, 0x1d, 15];
pub const SUBJECT_ALT_NAME: Oid = &[0x55, 0x1d, 17];
pub const BASIC_CONSTRAINTS: Oid = &[0x55, 0x1d, 19];
pub const AUTHORITY_KEY_ID: Oid = &[0x55, 0x1d, 35];
pub const EXTENDED_KEY_USAGE: Oid = &[0x55, 0x1d, 37];
pub const RSA_ENCRYPTION: Oid = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
pub const RSA_SHA256: Oid = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
pub const EC_PUBLIC_KEY: Oid = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
pub const P256: Oid = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
pub const P384: Oid = &[0x2b, 0x81, 4, 0, 34];
pub const ECDSA_SHA256: Oid = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
pub const ECDSA_SHA384: Oid = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];

pub const NULL: &[u8] = &[5, 0];

const INTEGER: u8 = 2;
const BIT_STRING: u8 = 3;
const OCTET_STRING: u8 = 4;
const OBJECT_ID: u8 = 6;
const UTF8_STRING: u8 = 12;
const PRINTABLE_STRING: u8 = 19;
const UTC_TIME: u8 = 23;
const GENERALIZED_TIME: u8 = 24;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// A value with its tag and length before it.
pub fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    out.push(tag);
    match content.len() {
        short @ 0..0x80 => out.push(short as u8),
        long => {
            let bytes = long.to_be_bytes();
            let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            out.push(0x80 | bytes.len() as u8);
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(content);
    out
}

pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(SEQUENCE, &parts.concat())
}

/// A SET; DER wants its elements sorted.
pub fn set(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort();
    tagged(SET, &parts.concat())
}

/// A non-negative integer from its big-endian bytes.
pub fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    match bytes.first() {
        None => tagged(INTEGER, &[0]),
        Some(first) if *first >= 0x80 => tagged(INTEGER, &[&[0], bytes].concat()),
        Some(_) => tagged(INTEGER, bytes),
    }
}

pub fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tagged(BIT_STRING, &[&[0], bytes].concat())
}

/// Flags, most significant first, without trailing zero bits.
pub fn named_bits(bits: u16) -> Vec<u8> {
    let bytes = bits.to_be_bytes();
    let used = if bits == 0 {
        0
    } else if bytes[1] == 0 {
        1
    } else {
        2
    };
    let unused = if used == 0 { 0 } else { bytes[used - 1].trailing_zeros() as u8 };
    tagged(BIT_STRING, &[&[unused], &bytes[..used]].concat())
}

pub fn octet_string(bytes: &[u8]) -> Vec<u8> {
    tagged(OCTET_STRING, bytes)
}

pub fn oid(oid: &[u8]) -> Vec<u8> {
    tagged(OBJECT_ID, oid)
}

/// Text as Go writes names: PrintableString where that can hold it.
pub fn text(text: &str) -> Vec<u8> {
    let printable = text.chars().all(|c| c.is_ascii_alphanumeric() || " '()+,-./:=?*&".contains(c));
    tagged(if printable { PRINTABLE_STRING } else { UTF8_STRING }, text.as_bytes())
}

/// Seconds since 1970 as UTCTime until 2049, as GeneralizedTime after.
pub fn time(seconds: i64) -> Vec<u8> {
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let rest = format!("{month:02}{day:02}{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60);
    match year {
        1950..2050 => tagged(UTC_TIME, format!("{:02}{rest}", year % 100).as_bytes()),
        _ => tagged(GENERALIZED_TIME, format!("{year:04}{rest}").as_bytes()),
    }
}

/// Year, month and day of a day number counted from 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// A distinguished name: the organizations in one set, then the common name, as Go writes it.
pub fn name(common_name: &str, organizations: &[&str]) -> Vec<u8> {
    let attribute = |kind, value: &str| sequence(&[&oid(kind), &text(value)]);
    let mut sets = Vec::new();
    if !organizations.is_empty() {
        sets.push(set(organizations.iter().map(|one| attribute(ORGANIZATION, one)).collect()));
    }
    if !common_name.is_empty() {
        sets.push(set(vec![attribute(COMMON_NAME, common_name)]));
    }
    let sets: Vec<&[u8]> = sets.iter().map(Vec::as_slice).collect();
    sequence(&sets)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, b"\x17\x0d700101000000Z".as_slice())]
    #[case(1_709_210_096, b"\x17\x0d240229123456Z".as_slice())]
    #[case(2_524_608_000, b"\x18\x0f20500101000000Z".as_slice())]
    fn times(#[case] seconds: i64, #[case] expected: &[u8]) {
        assert_eq!(time(seconds), expected);
    }

    #[test]
    fn lengths_integers_and_flags() {
        assert_eq!(tagged(4, &[0; 0x7f])[..2], [4, 0x7f]);
        assert_eq!(tagged(4, &[0; 0x80])[..3], [4, 0x81, 0x80]);
        assert_eq!(tagged(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!(unsigned(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[0, 0]), [2, 1, 0]);
        assert_eq!(named_bits(0b1010_0000_0000_0000), [3, 2, 5, 0b1010_0000]);
        assert_eq!(named_bits(0), [3, 1, 0]);
        assert_eq!(named_bits(1 << 7), [3, 3, 7, 0, 0x80]);
    }
}
