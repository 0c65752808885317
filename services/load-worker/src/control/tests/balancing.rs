//! Endpoints that the worker's own checks put out of use.

use std::sync::atomic::AtomicBool;

use super::*;

/// Answers 200, but 503 to `/health` while it is sick; counts the requests of load.
fn patient() -> (u16, Arc<AtomicBool>, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sick, load) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (is_sick, count) = (Arc::clone(&sick), Arc::clone(&load));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, sick, count) = (stream.unwrap(), Arc::clone(&is_sick), Arc::clone(&count));
            std::thread::spawn(move || {
                let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    seen.extend_from_slice(&buffer[..read]);
                    while let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
                        let head: Vec<u8> = seen.drain(..end + 4).collect();
                        let check = head.starts_with(b"GET /health ");
                        count.fetch_add(u64::from(!check), Ordering::SeqCst);
                        let status = if check && sick.load(Ordering::SeqCst) { "503 Sick" } else { "200 OK" };
                        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
                        stream.write_all(answer.as_bytes()).unwrap();
                    }
                }
            });
        }
    });
    (port, sick, load)
}

/// Waits for the n-th change of an endpoint, from 0.
async fn change(rig: &Rig, n: usize) -> v1::EndpointNews {
    let told = async {
        loop {
            let records = rig.store.read_records("load.endpoints", 0, 1_000).await.unwrap();
            if let Some(record) = records.get(n) {
                return v1::EndpointNews::decode(record.payload.as_slice()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, told).await.expect("a change of an endpoint is told")
}

async fn until_more(count: &AtomicU64, more: u64) {
    let before = count.load(Ordering::SeqCst);
    let reached = async {
        while count.load(Ordering::SeqCst) < before + more {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, reached).await.expect("load comes");
}

#[tokio::test(flavor = "multi_thread")]
async fn load_keeps_away_from_an_endpoint_that_fails_its_checks() {
    let ((one, _, well), (other, sick, ill)) = (patient(), patient());
    let rig = Rig::new(2, store::Options::default()).await;
    let guest = http();
    let url = format!("url = \"http://127.0.0.1:{one}\"");
    let urls = format!(
        "url = [\"http://127.0.0.1:{one}\", \"http://127.0.0.1:{other}/base\"]\n\
         health-check = {{ path = \"/health\", interval = \"50ms\", unhealthy-threshold = 2, healthy-threshold = 2 }}"
    );
    let plan = plan(one, PHASES, STEP).replace(&url, &urls);
    assert_eq!(rig.prepare(&plan, &[("guest:0", &guest)]).await.problems, []);
    rig.start(0, Duration::from_secs(600)).await;
    until_more(&well, 20).await;
    until_more(&ill, 20).await;

    sick.store(true, Ordering::SeqCst);
    let told = change(&rig, 0).await;
    assert_eq!((told.target.as_str(), told.out, told.cause.as_str()), ("web", true, "health-check"));
    assert_eq!(told.endpoint, format!("http://127.0.0.1:{other}/base"));
    assert_eq!(told.detail, "2 checks in a row failed: answered 503, expected 2xx or 3xx");
    assert_eq!((told.run, told.worker), (rig.run.to_bytes(), rig.worker.to_bytes()));
    // The threads hear of it at once; what was under way ends.
    until_more(&well, 50).await;
    let before = ill.load(Ordering::SeqCst);
    until_more(&well, 100).await;
    assert_eq!(ill.load(Ordering::SeqCst), before);

    sick.store(false, Ordering::SeqCst);
    let told = change(&rig, 1).await;
    assert_eq!((told.out, told.detail.as_str()), (false, "2 checks in a row passed"));
    until_more(&ill, 20).await;
    rig.end(0).await;
    rig.ask(&v1::EndRun { run: rig.run.to_bytes() }).await.unwrap();
    rig.close().await;
}
