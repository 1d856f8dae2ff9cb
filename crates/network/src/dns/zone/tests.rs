use super::*;
use crate::proxy::testing::{ready, service, slice, slice_of, terminating};
use crate::views::ObjectName;
use rstest::rstest;
use serde_json::json;

fn zone() -> Zone {
    Zone { domain: "cluster.local.".to_string(), ttl_seconds: 5, server_ips: vec!["10.96.0.10".parse().unwrap()] }
}

fn index() -> Index {
    let mut index = Index::default();
    let headless = json!({"clusterIP": "None", "clusterIPs": ["None"]});
    let services = [
        service("web", "10.96.0.1", json!({})),
        service("dual", "10.96.0.2", json!({"clusterIPs": ["10.96.0.2", "fd00::2"]})),
        service("db", "None", headless.clone()),
        service("bare", "None", json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": []})),
        service("empty", "None", headless),
        service("out", "", json!({"type": "ExternalName", "externalName": "example.com"})),
        service("in", "", json!({"type": "ExternalName", "externalName": "web.ns.svc.cluster.local"})),
        service("loop1", "", json!({"type": "ExternalName", "externalName": "loop2.ns.svc.cluster.local"})),
        service("loop2", "", json!({"type": "ExternalName", "externalName": "loop1.ns.svc.cluster.local."})),
        service("ip", "", json!({"type": "ExternalName", "externalName": "1.2.3.4"})),
    ];
    for service in &services {
        index.service(service.object_name(), Some(service));
    }
    let mut named = ready("10.1.0.1", "n");
    named["hostname"] = json!("db-0");
    let mut bare = slice_of("bare", "x", "TCP", 1, json!([ready("10.1.0.9", "n")]));
    bare.ports.clear();
    let slices = [
        slice("db", "a", json!([named, ready("10.1.0.2", "n"), terminating("10.1.0.3", "n", true)])),
        slice("db", "b", json!([ready("fd00:1::2", "n")])),
        slice("web", "a", json!([ready("10.1.0.2", "n")])),
        bare,
    ];
    for slice in &slices {
        index.slice(slice.object_name(), Some(slice));
    }
    index
}

/// An answer in short: `CODE` or records, then `+` additional ones.
fn short(outcome: Outcome) -> String {
    let line = |record: &Record| match &record.data {
        Data::A(ip) => format!("{} A {ip}", record.name),
        Data::Aaaa(ip) => format!("{} AAAA {ip}", record.name),
        Data::Cname(name) => format!("{} CNAME {name}", record.name),
        Data::Ns(name) => format!("{} NS {name}", record.name),
        Data::Ptr(name) => format!("{} PTR {name}", record.name),
        Data::Txt(text) => format!("{} TXT {text}", record.name),
        Data::Srv { priority, weight, port, target } => format!("SRV {priority} {weight} {port} {target}"),
        Data::Soa { .. } => format!("{} SOA", record.name),
        Data::Other { kind, .. } => format!("type {kind}"),
    };
    match outcome {
        Outcome::NotOurs => "not ours".to_string(),
        Outcome::Outside(records, target) => {
            format!("{} → {target}", records.iter().map(line).collect::<Vec<_>>().join(", "))
        }
        Outcome::Answer(answer) if answer.answers.is_empty() => {
            assert_eq!(answer.authority.len(), 1, "a no comes with the SOA");
            format!("{:?}", answer.code)
        }
        Outcome::Answer(answer) => {
            let mut lines: Vec<_> = answer.answers.iter().map(line).collect();
            lines.extend(answer.additional.iter().map(|record| format!("+ {}", line(record))));
            lines.join(", ")
        }
    }
}

const A: u16 = kind::A;
const AAAA: u16 = kind::AAAA;
const SRV: u16 = kind::SRV;

#[rstest]
#[case::cluster_ip("web.ns.svc", A, "web.ns.svc.cluster.local. A 10.96.0.1")]
#[case::other_family_is_no_data("web.ns.svc", AAAA, "NoError")]
#[case::dual_stack("dual.ns.svc", AAAA, "dual.ns.svc.cluster.local. AAAA fd00::2")]
#[case::other_type_is_no_data("web.ns.svc", 15, "NoError")]
#[case::no_such_service("nope.ns.svc", A, "NameError")]
#[case::no_such_namespace("web.other.svc", A, "NameError")]
#[case::search_path_noise("example.com.ns.svc", A, "NameError")]
#[case::namespace_alone("ns.svc", A, "NoError")]
#[case::svc_alone("svc", A, "NoError")]
#[case::apex("", A, "NoError")]
#[case::unknown_class("web.ns.foo", A, "NameError")]
#[case::soa("", kind::SOA, "cluster.local. SOA")]
#[case::ns("", kind::NS, "cluster.local. NS ns.dns.cluster.local., + ns.dns.cluster.local. A 10.96.0.10")]
#[case::ns_address("ns.dns", A, "ns.dns.cluster.local. A 10.96.0.10")]
#[case::version("dns-version", kind::TXT, "dns-version.cluster.local. TXT 1.1.0")]
#[case::headless("db.ns.svc", A, "db.ns.svc.cluster.local. A 10.1.0.1, db.ns.svc.cluster.local. A 10.1.0.2")]
#[case::headless_v6("db.ns.svc", AAAA, "db.ns.svc.cluster.local. AAAA fd00:1::2")]
#[case::headless_without_ports("bare.ns.svc", A, "bare.ns.svc.cluster.local. A 10.1.0.9")]
#[case::headless_without_endpoints("empty.ns.svc", A, "NameError")]
#[case::endpoint_by_hostname("db-0.db.ns.svc", A, "db-0.db.ns.svc.cluster.local. A 10.1.0.1")]
#[case::endpoint_by_address("10-1-0-2.db.ns.svc", A, "10-1-0-2.db.ns.svc.cluster.local. A 10.1.0.2")]
#[case::endpoint_of_a_cluster_ip_service("10-1-0-2.web.ns.svc", A, "10-1-0-2.web.ns.svc.cluster.local. A 10.1.0.2")]
#[case::endpoint_not_ready("10-1-0-3.db.ns.svc", A, "NameError")]
#[case::srv(
    "_http._tcp.web.ns.svc",
    SRV,
    "SRV 0 100 80 web.ns.svc.cluster.local., + web.ns.svc.cluster.local. A 10.96.0.1"
)]
#[case::srv_other_protocol("_http._udp.web.ns.svc", SRV, "NameError")]
#[case::srv_other_port("_https._tcp.web.ns.svc", SRV, "NameError")]
#[case::srv_headless(
    "_http._tcp.db.ns.svc",
    SRV,
    "SRV 0 33 8080 db-0.db.ns.svc.cluster.local., SRV 0 33 8080 10-1-0-2.db.ns.svc.cluster.local., SRV 0 33 8080 fd00-1--2.db.ns.svc.cluster.local., + db-0.db.ns.svc.cluster.local. A 10.1.0.1, + 10-1-0-2.db.ns.svc.cluster.local. A 10.1.0.2, + fd00-1--2.db.ns.svc.cluster.local. AAAA fd00:1::2"
)]
#[case::srv_without_ports("bare.ns.svc", SRV, "NoError")]
#[case::pod("10-2-3-4.any.pod", A, "10-2-3-4.any.pod.cluster.local. A 10.2.3.4")]
#[case::pod_v6("fd00--7.any.pod", AAAA, "fd00--7.any.pod.cluster.local. AAAA fd00::7")]
#[case::no_address("web.any.pod", A, "NameError")]
#[case::external_name("out.ns.svc", A, "out.ns.svc.cluster.local. CNAME example.com. → example.com.")]
#[case::external_name_asked_for_cname("out.ns.svc", kind::CNAME, "out.ns.svc.cluster.local. CNAME example.com.")]
#[case::external_name_inside(
    "in.ns.svc",
    A,
    "in.ns.svc.cluster.local. CNAME web.ns.svc.cluster.local., web.ns.svc.cluster.local. A 10.96.0.1"
)]
#[case::external_name_inside_other_family("in.ns.svc", AAAA, "NoError")]
#[case::external_name_in_circles("loop1.ns.svc", A, "NoError")]
#[case::external_name_that_is_an_address("ip.ns.svc", A, "NameError")]
#[case::endpoint_of_external_name("x.out.ns.svc", A, "NameError")]
fn in_the_zone(#[case] base: &str, #[case] asked: u16, #[case] expected: &str) {
    let name = if base.is_empty() { "cluster.local.".to_string() } else { format!("{base}.cluster.local.") };
    assert_eq!(short(zone().answer(&index(), &name, asked)), expected);
}

#[rstest]
#[case::service("1.0.96.10.in-addr.arpa.", "1.0.96.10.in-addr.arpa. PTR web.ns.svc.cluster.local.")]
#[case::endpoint("1.0.1.10.in-addr.arpa.", "1.0.1.10.in-addr.arpa. PTR db-0.db.ns.svc.cluster.local.")]
#[case::endpoint_of_two(
    "2.0.1.10.in-addr.arpa.",
    "2.0.1.10.in-addr.arpa. PTR 10-1-0-2.db.ns.svc.cluster.local., 2.0.1.10.in-addr.arpa. PTR 10-1-0-2.web.ns.svc.cluster.local."
)]
#[case::unknown("9.9.9.9.in-addr.arpa.", "not ours")]
#[case::outside("example.com.", "not ours")]
#[case::same_ending_is_not_inside("mycluster.local.", "not ours")]
fn pointers_and_others(#[case] name: &str, #[case] expected: &str) {
    assert_eq!(short(zone().answer(&index(), name, kind::PTR)), expected);
}

#[test]
fn reverse_names() {
    assert_eq!(reverse_ip("4.3.2.1.in-addr.arpa."), Some("1.2.3.4".parse().unwrap()));
    let v6 = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa.";
    assert_eq!(reverse_ip(v6), Some("fd00:1::2".parse().unwrap()));
    assert_eq!(reverse_ip("3.2.1.in-addr.arpa."), None);
}

#[test]
fn what_went_is_not_found() {
    let mut index = index();
    index.service(ObjectName::new("ns", "web"), None);
    index.slice(ObjectName::new("ns", "db-a"), None);
    assert_eq!(short(zone().answer(&index, "web.ns.svc.cluster.local.", A)), "NameError");
    assert_eq!(short(zone().answer(&index, "1.0.96.10.in-addr.arpa.", kind::PTR)), "not ours");
    assert_eq!(short(zone().answer(&index, "1.0.1.10.in-addr.arpa.", kind::PTR)), "not ours");
    assert_eq!(
        short(zone().answer(&index, "2.0.1.10.in-addr.arpa.", kind::PTR)),
        "2.0.1.10.in-addr.arpa. PTR 10-1-0-2.web.ns.svc.cluster.local."
    );
}
