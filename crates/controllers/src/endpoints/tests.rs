use client::View;
use rstest::rstest;

use super::*;

fn service(ports: &str, more: &str) -> Object<Service> {
    let json = format!(
        r#"{{"metadata":{{"name":"web","namespace":"ns"}},"spec":{{"selector":{{"a":"b"}},"clusterIP":"None","ipFamilies":["IPv4"],"ports":[{ports}]{more}}}}}"#
    );
    Object::decode(json.into()).unwrap()
}

fn pod(number: u8, ready: bool, named: &str) -> Pod {
    let json = format!(
        r#"{{"metadata":{{"name":"p{number}","namespace":"ns","uid":"u{number}"}},"spec":{{"nodeName":"n","containers":[{{"name":"c","ports":[{{"name":"{named}","containerPort":{number}}}]}}]}},"status":{{"podIP":"10.0.0.{number}","podIPs":[{{"ip":"10.0.0.{number}"}}],"conditions":[{{"type":"Ready","status":"{}"}}]}}}}"#,
        if ready { "True" } else { "False" }
    );
    Pod::decode(json.as_bytes()).unwrap()
}

/// Subsets in short: `ready/not ready:ports`.
fn short(subsets: &[EndpointSubset]) -> Vec<String> {
    let ips = |list: &Option<Vec<k8s_openapi::api::core::v1::EndpointAddress>>| {
        list.iter().flatten().map(|one| one.ip.trim_start_matches("10.0.0.").to_owned()).collect::<Vec<_>>().join(",")
    };
    let ports = |subset: &EndpointSubset| {
        subset.ports.iter().flatten().map(|port| port.port.to_string()).collect::<Vec<_>>().join(",")
    };
    let one = |subset: &EndpointSubset| {
        format!("{}/{}:{}", ips(&subset.addresses), ips(&subset.not_ready_addresses), ports(subset))
    };
    subsets.iter().map(one).collect()
}

const TWO: &str = r#"{"name":"a","port":80},{"name":"b","port":81,"targetPort":9}"#;
const NAMED: &str = r#"{"port":80,"targetPort":"x"}"#;

#[rstest]
#[case::one_subset_for_the_same_ports(TWO, "", &[pod(2, true, "x"), pod(1, true, "x")], &["1,2/:80,9"])]
#[case::not_ready(TWO, "", &[pod(1, true, "x"), pod(2, false, "x")], &["1/2:80,9"])]
#[case::published_all_the_same(TWO, r#","publishNotReadyAddresses":true"#, &[pod(1, false, "x")], &["1/:80,9"])]
#[case::named_ports_differ(NAMED, "", &[pod(1, true, "x"), pod(2, true, "x"), pod(3, true, "y")], &["1/:1", "2/:2"])]
#[case::headless_without_ports("", "", &[pod(1, true, "x")], &["1/:"])]
fn subsets_of_pods(#[case] ports: &str, #[case] more: &str, #[case] pods: &[Pod], #[case] expected: &[&str]) {
    let subsets = plan::subsets(&service(ports, more), pods);
    assert_eq!(short(&subsets), expected);
    assert_eq!(plan::repack(&subsets), subsets);
}

#[test]
fn what_is_as_it_should_be_is_not_written() {
    let service = service(TWO, "");
    let subsets = plan::subsets(&service, &[pod(1, true, "x")]);
    let fresh = tree(&service, None, subsets.clone()).unwrap().unwrap();
    assert_eq!(fresh.at("metadata.labels").get(HEADLESS).as_str(), Some(""));
    let there: Object<Endpoints> = Object::decode(json::write(&fresh)).unwrap();
    assert_eq!(tree(&service, Some(&there), subsets).unwrap(), None);
    let changed = tree(&service, Some(&there), Vec::new()).unwrap().unwrap();
    assert!(changed.get("subsets").is_null());
}

#[test]
fn too_many_are_cut_ready_ones_last() {
    let service = service(TWO, "");
    let pods: Vec<Pod> = (0..1100u32)
        .map(|number| {
            let mut pod = pod(1, number < 900, "x");
            pod.metadata.uid = Some(format!("{number:05}"));
            pod
        })
        .collect();
    let mut subsets = plan::subsets(&service, &pods);
    assert!(plan::truncate(&mut subsets));
    let count = |list: &Option<Vec<_>>| list.as_ref().map_or(0, Vec::len);
    assert_eq!((count(&subsets[0].addresses), count(&subsets[0].not_ready_addresses)), (900, 100));
}
