use super::*;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// A name server that answers everything with one address, and counts.
async fn upstream() -> (SocketAddr, Arc<AtomicU32>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (socket.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
    let counter = count.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            counter.fetch_add(1, Ordering::SeqCst);
            let query = Query::parse(&buffer[..length]).unwrap();
            let name = query.name.clone().unwrap();
            let record = Record { name, ttl_seconds: 60, data: Data::A(Ipv4Addr::new(1, 2, 3, 4)) };
            let answer = Answer { answers: vec![record], ..Answer::code(Code::NoError) };
            // A forged answer with another number comes first.
            let bytes = answer.encode(&query, 512);
            let _ = socket.send_to(&with_id(&bytes, query.id.wrapping_add(1)), client).await;
            let _ = socket.send_to(&bytes, client).await;
        }
    });
    (address, count)
}

fn query(name: &str) -> (Query, Vec<u8>) {
    let bytes = question(name, kind::A).unwrap();
    (Query::parse(&bytes).unwrap(), bytes)
}

#[tokio::test]
async fn asks_once_and_keeps_the_answer() {
    let (server, count) = upstream().await;
    let forwarder = Forwarder::new(vec![server]);
    for (id, name) in [(7u16, "example.com"), (8, "EXAMPLE.com")] {
        let (mut query, bytes) = query(name);
        query.id = id;
        let answer = forwarder.answer(&query, &bytes, false).await;
        assert_eq!(answer[..2], id.to_be_bytes());
        assert_eq!(answer[12..12 + query.question.len()], query.question[..], "in the letters of the question");
        assert_eq!(records(&answer).len(), 1);
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_dead_server_is_passed_over() {
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (alive, _) = upstream().await;
    let forwarder = Forwarder::new(vec![dead, alive]);
    let (query, bytes) = query("example.com");
    assert_eq!(forwarder.answer(&query, &bytes, false).await[3] & 0xf, Code::NoError as u8);
    assert_eq!(forwarder.preferred.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn without_servers_there_is_no_such_name_at_once() {
    let (query, bytes) = query("example.com");
    let answer = Forwarder::new(Vec::new()).answer(&query, &bytes, false).await;
    assert_eq!(answer[3] & 0xf, Code::NameError as u8);
}

#[tokio::test(start_paused = true)]
async fn kept_answers_age_and_end() {
    let (query, _) = query("example.com");
    let record = Record { name: "example.com.".to_string(), ttl_seconds: 20, data: Data::A(Ipv4Addr::LOCALHOST) };
    let answer = Answer { answers: vec![record], ..Answer::code(Code::NoError) }.encode(&query, 512);
    let key = Key::of(&query).unwrap();
    let mut cache = Cache::default();
    let start = Instant::now();
    cache.put(key.clone(), &answer, start);
    let kept = cache.get(&key, start + Duration::from_secs(7)).unwrap();
    assert_eq!(records(&kept)[0].ttl_seconds, 13);
    assert!(cache.get(&key, start + Duration::from_secs(20)).is_none());
}

#[test]
fn failures_and_cut_answers_are_not_kept() {
    let (query, _) = query("example.com");
    let key = Key::of(&query).unwrap();
    let mut cache = Cache::default();
    let failure = Answer::code(Code::ServerFailure).encode(&query, 512);
    cache.put(key.clone(), &failure, Instant::now());
    assert!(cache.get(&key, Instant::now()).is_none());
}
