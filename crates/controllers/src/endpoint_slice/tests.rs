use client::View;
use rstest::rstest;

use super::plan::ENDPOINTS_MAX;
use super::*;

fn service() -> Object<Service> {
    service_with("")
}

fn service_with(more: &str) -> Object<Service> {
    let json = format!(
        r#"{{"metadata":{{"name":"web","namespace":"ns","uid":"s1"}},"spec":{{"selector":{{"app":"web"}},"clusterIP":"10.96.0.5","ports":[{{"name":"http","port":80,"targetPort":"web"}}]{more}}}}}"#
    );
    Object::decode(json.into()).unwrap()
}

fn pod(name: &str, more: &str) -> Object<Pod> {
    let json = format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"ns","uid":"u-{name}"{more}}},"spec":{{"nodeName":"n1","hostname":"h","subdomain":"web","containers":[{{"name":"c","ports":[{{"name":"web","containerPort":8080}}]}}]}},"status":{{"podIP":"10.0.0.1","podIPs":[{{"ip":"10.0.0.1"}},{{"ip":"fd00::1"}}],"conditions":[{{"type":"Ready","status":"True"}}]}}}}"#
    );
    Object::decode(json.into()).unwrap()
}

#[rstest]
#[case::ready("", "", (true, true, false))]
#[case::ends("", r#","deletionTimestamp":"2026-01-01T00:00:00Z""#, (false, true, true))]
#[case::ends_but_published(
    r#","publishNotReadyAddresses":true"#,
    r#","deletionTimestamp":"2026-01-01T00:00:00Z""#,
    (true, true, true)
)]
fn conditions(#[case] spec: &str, #[case] pod_more: &str, #[case] expected: (bool, bool, bool)) {
    let endpoint = endpoint::endpoint(&pod("a", pod_more), None, &service_with(spec), false).unwrap();
    let got = endpoint.conditions.unwrap();
    assert_eq!((got.ready.unwrap(), got.serving.unwrap(), got.terminating.unwrap()), expected);
}

#[test]
fn an_endpoint_knows_its_pod_and_node_and_named_port() {
    let node = Node::decode(br#"{"metadata":{"name":"n1","labels":{"topology.kubernetes.io/zone":"z"}}}"#).unwrap();
    let service = service_with(r#","trafficDistribution":"PreferSameNode""#);
    let endpoint = endpoint::endpoint(&pod("a", ""), Some(&node), &service, true).unwrap();
    assert_eq!(endpoint.addresses, ["fd00::1"]);
    assert_eq!((endpoint.node_name.as_deref(), endpoint.zone.as_deref()), (Some("n1"), Some("z")));
    assert_eq!(endpoint.hostname.as_deref(), Some("h"));
    assert_eq!(endpoint.target_ref.unwrap().uid.as_deref(), Some("u-a"));
    let hints = endpoint.hints.unwrap();
    assert_eq!((hints.for_zones.unwrap()[0].name.as_str(), hints.for_nodes.unwrap()[0].name.as_str()), ("z", "n1"));
    assert_eq!(endpoint::ports(&pod("a", ""), &service)[0].port, Some(8080));
}

/// Endpoints of a group with these numbers.
fn group(numbers: impl IntoIterator<Item = usize>) -> Group {
    let endpoints = numbers.into_iter().map(|number| {
        let pod = pod(&format!("p{number:04}"), "");
        endpoint::endpoint(&pod, None, &service(), false).unwrap()
    });
    Group { ports: endpoint::ports(&pod("a", ""), &service()), endpoints: endpoints.collect() }
}

/// A stored slice with these endpoints, of the service with this UID.
fn stored(name: &str, owner: &str, numbers: impl IntoIterator<Item = usize>) -> Arc<Object<EndpointSlice>> {
    let Group { ports, endpoints } = group(numbers);
    let service = service();
    let draft = Draft { stored: None, ports: if endpoints.is_empty() { Vec::new() } else { ports }, endpoints };
    let mut tree = fresh(&service, "IPv4", &labels(&service), &draft).unwrap();
    tree.set("metadata.name", name);
    let owner_json = format!(r#"[{{"apiVersion":"v1","kind":"Service","name":"web","uid":"{owner}"}}]"#);
    tree.set("metadata.ownerReferences", json::parse(owner_json.as_bytes()).unwrap());
    Arc::new(Object::decode(json::write(&tree)).unwrap())
}

/// A plan in short: sizes of new slices; names and sizes of changed ones; names of deleted ones.
type Short = (Vec<usize>, Vec<(String, usize)>, Vec<String>);

#[rstest]
#[case::first(vec![], vec![group(0..3)], (vec![3], vec![], vec![]))]
#[case::settled(vec![stored("a", "s1", 0..3)], vec![group(0..3)], (vec![], vec![], vec![]))]
#[case::one_more(vec![stored("a", "s1", 0..3)], vec![group(0..4)], (vec![], vec![("a".into(), 4)], vec![]))]
#[case::one_less(vec![stored("a", "s1", 0..3)], vec![group(1..3)], (vec![], vec![("a".into(), 2)], vec![]))]
#[case::more_than_fits(vec![], vec![group(0..250)], (vec![100, 100, 50], vec![], vec![]))]
#[case::a_full_slice_stays_as_it_is(
    vec![stored("a", "s1", 0..ENDPOINTS_MAX)],
    vec![group(0..ENDPOINTS_MAX + 1)],
    (vec![1], vec![], vec![])
)]
#[case::the_fullest_with_room(
    vec![stored("a", "s1", 0..10), stored("b", "s1", 10..60), stored("c", "s1", 60..160)],
    vec![group(0..165)],
    (vec![], vec![("b".into(), 55)], vec![])
)]
#[case::none_left(vec![stored("a", "s1", 0..3)], vec![], (vec![], vec![("a".into(), 0)], vec![]))]
#[case::placeholder(vec![], vec![], (vec![0], vec![], vec![]))]
#[case::placeholder_stays(vec![stored("a", "s1", 0..0)], vec![], (vec![], vec![], vec![]))]
#[case::placeholder_is_used(vec![stored("a", "s1", 0..0)], vec![group(0..2)], (vec![], vec![("a".into(), 2)], vec![]))]
#[case::of_a_service_before(vec![stored("a", "s0", 0..3)], vec![group(0..3)], (vec![3], vec![], vec!["a".into()]))]
#[case::an_emptied_slice_goes(
    vec![stored("a", "s1", 0..3), stored("b", "s1", 3..6)],
    vec![group(0..3)],
    (vec![], vec![], vec!["b".into()])
)]
fn plans(#[case] there: Vec<Arc<Object<EndpointSlice>>>, #[case] groups: Vec<Group>, #[case] expected: Short) {
    let plan = plan(&service(), &labels(&service()), &there, groups);
    let name = |draft: &Draft| draft.stored.as_ref().unwrap().name().to_owned();
    let got = (
        plan.create.iter().map(|draft| draft.endpoints.len()).collect(),
        plan.update.iter().map(|draft| (name(draft), draft.endpoints.len())).collect(),
        plan.delete,
    );
    assert_eq!(got, expected);
}
