use super::*;
use crate::dns::run::{Config, new_server};
use crate::proxy::testing::{ready, service, slice};
use serde_json::json;

fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

async fn started() -> (Arc<Server>, SocketAddr, CancellationToken) {
    let config = Config {
        domain: "cluster.local".to_string(),
        cluster_ip: "10.96.0.10".parse().unwrap(),
        listen: "127.0.0.1:0".parse().unwrap(),
        node: "n".to_string(),
        resolv_conf: "/nonexistent".into(),
        ttl_seconds: 5,
    };
    let server = Arc::new(new_server(&config));
    let headless = service("db", "None", json!({"clusterIP": "None", "clusterIPs": ["None"]}));
    let endpoints: Vec<_> = (1..=100).map(|n| ready(&format!("10.1.0.{n}"), "n")).collect();
    let slice = slice("db", "a", json!(endpoints));
    server.index.write().service(headless.object_name(), Some(&headless));
    server.index.write().slice(slice.object_name(), Some(&slice));
    let stop = CancellationToken::new();
    let address = server.listen(config.listen, &stop).await.unwrap();
    (server, address, stop)
}

async fn ask_udp(server: SocketAddr, question: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(question, server).await.unwrap();
    let mut buffer = [0; 4096];
    let length = timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.unwrap().unwrap();
    buffer[..length].to_vec()
}

async fn ask_tcp(server: SocketAddr, questions: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let mut answers = Vec::new();
    for question in questions {
        stream.write_u16(question.len() as u16).await.unwrap();
        stream.write_all(question).await.unwrap();
        let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut answer).await.unwrap();
        answers.push(answer);
    }
    answers
}

fn count(answer: &[u8]) -> u16 {
    u16::from_be_bytes([answer[6], answer[7]])
}

#[tokio::test]
async fn a_long_answer_is_cut_over_udp_and_whole_over_tcp() {
    let (_server, address, _stop) = started().await;
    let question = question("db.ns.svc.cluster.local", kind::A);
    let cut = ask_udp(address, &question).await;
    assert!(cut.len() <= 512 && cut[2] & 0x02 != 0 && count(&cut) > 0);
    let whole = ask_tcp(address, &[question.clone(), question]).await;
    assert!(whole.iter().all(|answer| count(answer) == 100 && answer[2] & 0x02 == 0));
}

#[tokio::test]
async fn addresses_come_in_another_order_each_time() {
    let (_server, address, _stop) = started().await;
    let question = question("db.ns.svc.cluster.local", kind::A);
    let first = ask_tcp(address, std::slice::from_ref(&question)).await;
    let mut differs = false;
    for _ in 0..20 {
        differs |= ask_tcp(address, std::slice::from_ref(&question)).await != first;
    }
    assert!(differs);
}

#[tokio::test]
async fn other_names_do_not_exist_where_nobody_can_be_asked() {
    let (_server, address, _stop) = started().await;
    let answer = ask_udp(address, &question("example.com", kind::A)).await;
    assert_eq!(answer[3] & 0xf, Code::NameError as u8);
}

#[tokio::test]
async fn external_names_have_their_cname_even_so() {
    let (server, address, _stop) = started().await;
    let external = service("out", "", json!({"type": "ExternalName", "externalName": "example.com"}));
    server.index.write().service(external.object_name(), Some(&external));
    let answer = ask_udp(address, &question("out.ns.svc.cluster.local", kind::A)).await;
    assert_eq!((answer[3] & 0xf, count(&answer)), (Code::NoError as u8, 1));
}

#[tokio::test]
async fn nonsense_gets_a_format_error_and_silence_for_answers() {
    let (_server, address, _stop) = started().await;
    let answer = ask_udp(address, &[0, 7, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0]).await;
    assert_eq!((answer[1], answer[3] & 0xf), (7, Code::FormatError as u8));
}
