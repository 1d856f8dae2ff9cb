use super::*;
use proptest::prelude::*;
use rstest::rstest;

/// A query for a name, with EDNS where `udp_bytes` says so.
fn query(name: &str, kind: u16, udp_bytes: Option<u16>) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(udp_bytes.is_some())];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    if let Some(udp_bytes) = udp_bytes {
        bytes.extend([0, 0, 41]);
        bytes.extend(udp_bytes.to_be_bytes());
        bytes.extend([0, 0, 0x80, 0, 0, 0]);
    }
    bytes
}

#[test]
fn reads_a_query() {
    let query = Query::parse(&query("Web.NS.svc.cluster.local", kind::A, Some(1232))).unwrap();
    assert_eq!(query.name.as_deref(), Some("web.ns.svc.cluster.local."));
    assert_eq!((query.id, query.kind, query.recursion_desired), (0x1234, kind::A, true));
    assert_eq!(query.edns, Some(Edns { udp_bytes: 1232, version: 0, dnssec_ok: true }));
    assert_eq!(query.udp_bytes(), 1232);
}

#[rstest]
#[case::cut_short(&[0, 1, 1, 0, 0, 1], None)]
#[case::an_answer_is_ignored(&[0, 1, 0x81, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1], None)]
#[case::no_question(&[0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], Some(1))]
#[case::label_without_end(&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 5, b'a'], Some(1))]
#[case::pointer_to_itself(&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1], Some(1))]
#[case::pointer_ahead(&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 20, 0, 1, 0, 1], Some(1))]
fn malformed(#[case] bytes: &[u8], #[case] id: Option<u16>) {
    assert_eq!(Query::parse(bytes), Err(Malformed { id }));
}

#[test]
fn a_label_with_a_dot_is_no_name_here() {
    let mut bytes = query("ab", kind::A, None);
    bytes[14] = b'.';
    assert_eq!(Query::parse(&bytes).unwrap().name, None);
}

fn answer(count: u8) -> Answer {
    let record = |n: u8| Record {
        name: "db.ns.svc.cluster.local.".to_string(),
        ttl_seconds: 5,
        data: Data::A(Ipv4Addr::new(10, 0, 0, n)),
    };
    Answer { authoritative: true, answers: (0..count).map(record).collect(), ..Answer::code(Code::NoError) }
}

#[test]
fn names_are_compressed_against_the_question() {
    let query = Query::parse(&query("db.ns.svc.cluster.local", kind::A, None)).unwrap();
    let bytes = answer(1).encode(&query, UDP_BYTES_MIN);
    // Header, question, then pointer, type, class, time to live, length and address.
    assert_eq!(bytes.len(), HEADER_BYTES + query.question.len() + 16);
    assert_eq!(bytes[bytes.len() - 16..bytes.len() - 14], [0xc0, 12]);
    assert_eq!(bytes[2..4], [0x85, 0x80], "answer, authoritative, recursion desired and available");
}

#[rstest]
#[case::fits_without_edns(20, None, 20, false)]
#[case::cut_without_edns(60, None, 29, true)]
#[case::fits_with_edns(60, Some(1232), 60, false)]
fn truncation(#[case] records: u8, #[case] udp_bytes: Option<u16>, #[case] kept: u16, #[case] truncated: bool) {
    let query = Query::parse(&query("db.ns.svc.cluster.local", kind::A, udp_bytes)).unwrap();
    let bytes = answer(records).encode(&query, query.udp_bytes());
    assert!(bytes.len() <= query.udp_bytes());
    assert_eq!(u16::from_be_bytes([bytes[6], bytes[7]]), kept);
    assert_eq!(bytes[2] & 0x02 != 0, truncated);
}

#[test]
fn additional_records_go_silently() {
    let query = Query::parse(&query("db.ns.svc.cluster.local", kind::SRV, None)).unwrap();
    let mut answer = answer(2);
    answer.additional = self::answer(60).answers;
    let bytes = answer.encode(&query, query.udp_bytes());
    assert_eq!((u16::from_be_bytes([bytes[6], bytes[7]]), bytes[2] & 0x02), (2, 0));
}

/// Reads what was written, with the reader that other servers' answers are read with.
#[test]
fn what_is_written_can_be_read() {
    let query = Query::parse(&query("_http._tcp.web.ns.svc.cluster.local", kind::SRV, Some(4096))).unwrap();
    let name = "web.ns.svc.cluster.local.".to_string();
    let record = |data| Record { name: name.clone(), ttl_seconds: 5, data };
    let answer = Answer {
        answers: vec![
            record(Data::Srv { priority: 0, weight: 100, port: 80, target: name.clone() }),
            record(Data::Cname("other.example.com.".to_string())),
            record(Data::Txt("x".repeat(300))),
        ],
        authority: vec![record(Data::Soa {
            server: "ns.dns.cluster.local.".to_string(),
            mailbox: "hostmaster.cluster.local.".to_string(),
            serial: 1,
            refresh: 2,
            retry: 3,
            expire: 4,
            minimum: 5,
        })],
        additional: vec![record(Data::Aaaa(Ipv6Addr::LOCALHOST))],
        ..Answer::code(Code::NoError)
    };
    let bytes = answer.encode(&query, TCP_BYTES_MAX);
    let mut reader = Reader { bytes: &bytes, at: HEADER_BYTES + query.question.len() };
    let mut kinds = Vec::new();
    while reader.at < bytes.len() {
        let record = reader.record().unwrap();
        if record.kind == kind::CNAME {
            let target = Reader { bytes: &bytes, at: record.data_at }.name().unwrap().text();
            assert_eq!(target.as_deref(), Some("other.example.com."));
        }
        if record.kind != 41 {
            assert_eq!(record.name.text().as_deref(), Some(name.as_str()));
        }
        kinds.push(record.kind);
    }
    assert_eq!(kinds, [kind::SRV, kind::CNAME, kind::TXT, kind::SOA, kind::AAAA, 41]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(query) = Query::parse(&bytes) {
            answer(3).encode(&query, query.udp_bytes());
        }
        let mut reader = Reader { bytes: &bytes, at: 0 };
        while reader.record().is_some() {}
    }
}
