//! Turns of native generators against servers in this process.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::id::{RunId, WorkerId};
use sandbox::{Fault, abi};
use serde_json::{Value, json};

use super::spy::Asked;
use super::*;
use crate::engine::tests::rig::{empty, endpoint, scenario, target, thread};
use crate::engine::{Generator, Source};
use crate::spec::Endpoint;

/// Answers every request with a status and this type; counts them. A status of 0 is no answer at all.
fn server(status: u16, kind: &'static str) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, requests) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, count) = (stream.unwrap(), Arc::clone(&count));
            std::thread::spawn(move || {
                let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    seen.extend_from_slice(&buffer[..read]);
                    while let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
                        seen.drain(..end + 4);
                        count.fetch_add(1, Ordering::SeqCst);
                        let head = format!(
                            "HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: 2\r\n\r\nok"
                        );
                        if status != 0 && stream.write_all(head.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    (addr, requests)
}

/// Sends one request a turn, and fails `status: is 200` when it is another; `strange` configurations are refused.
#[derive(Default)]
struct Script {
    configs: Mutex<Vec<String>>,
}

struct Instance(abi::Setup);

impl Source for Script {
    fn instantiate(&self, config: &str, _: u64, _: u32) -> Result<Box<dyn Generator>, String> {
        if config.contains("strange") {
            return Err("a strange configuration".to_owned());
        }
        self.configs.lock().unwrap().push(config.to_owned());
        Ok(Box::new(Instance(abi::Setup {
            steps: vec!["other".into(), "ask".into()],
            checks: vec!["other: never fails".into(), "status: is 200".into()],
            metrics: vec![],
            methods: vec!["GET".into()],
            feeds: vec![],
            expectations: vec![],
            body_limit: 64,
            stateless: false,
        })))
    }
}

impl Generator for Instance {
    fn setup(&self) -> &abi::Setup {
        &self.0
    }

    fn step(
        &mut self,
        _: u64,
        starts: &[abi::Start],
        done: &[abi::Completion],
        _: &[u8],
    ) -> Result<abi::Output, Fault> {
        let (mut output, none) = (empty(), abi::Slice { off: 0, len: 0 });
        for start in starts {
            output.arena.extend_from_slice(b"/ask?key=secret");
            output.requests.push(abi::Request {
                user: start.user,
                seq: 7,
                operation: 0,
                step: 1,
                endpoint: 0,
                method: 0,
                delay_us: 0,
                timeout_us: 0,
                attempt: 0,
                connection: abi::Connection::Any,
                interest: abi::Interest::END | abi::Interest::HEAD,
                target: abi::Slice { off: 0, len: 15 },
                headers: none,
                body: none,
            });
        }
        for done in done.iter().filter(|done| done.kind == abi::CompletionKind::End) {
            let (user, seq) = (done.user, done.seq);
            let pass = done.status == 200;
            output.verdicts.push(abi::Verdict { user, seq, check: 0, pass: true });
            output.verdicts.push(abi::Verdict { user, seq, check: 1, pass });
            output.finished.push(abi::Finish { user, think_us: 0 });
        }
        Ok(output)
    }

    fn take_warnings(&mut self) -> Vec<String> {
        vec!["the guest's own words".to_owned()]
    }
}

/// A turn against `addr` of a guest that declares this.
fn turn(addr: SocketAddr, guest: &Arc<Script>, declared: &Value, dir: &Path) -> Turn {
    let endpoint = Endpoint { url: format!("http://{addr}/"), ..endpoint(addr) };
    let target = TargetSpec { name: "tools".into(), ..target(vec![endpoint]) };
    Turn {
        declared: Trial::read(&json!({ "x-gauntlet-trial": declared }).to_string()).unwrap(),
        config: r#"{"a":{"b":1,"c":2}}"#.to_owned(),
        scenario: ScenarioSpec { name: "users".into(), ..scenario(Arc::clone(guest) as Arc<dyn Source>) },
        thread: thread(Vec::new(), vec![target]),
        phase: 3,
        connections: 2,
        patience: Patience { begin: Duration::from_secs(30), turn: Duration::from_secs(30) },
        owner: Owner { run: RunId::new(), worker: WorkerId::new(), incarnation: IncarnationId::new() },
        dir: dir.to_owned(),
    }
}

fn denied() -> Value {
    json!({ "mistakes": [{ "check": "status", "statuses": [401], "mend": "give a token" }] })
}

#[test]
fn a_mistake_is_told_with_what_was_asked_and_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (addr, requests) = server(401, "Application/JSON; charset=utf-8");
    let guest = Arc::new(Script::default());
    let problems = turn(addr, &guest, &denied(), dir.path()).problems();
    let [problem] = problems.as_slice() else { panic!("one problem: {problems:?}") };
    assert_eq!(
        problem.message,
        format!(
            "scenario users: in a turn before the load, target tools (http://{addr}/ask) answered \"ask\" with 401 and \
             application/json, which fails \"status: is 200\"; the guest's own words"
        )
    );
    assert!(problem.mend.starts_with("give a token; "), "{problem:?}");
    assert_eq!(problem.kind, "plan");
    assert_eq!(requests.load(Ordering::SeqCst), 1, "one turn, once");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "its numbers go nowhere");
}

#[test]
fn what_is_declared_for_no_mistake_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let guest = Arc::new(Script::default());
    for status in [200, 404, 429, 503] {
        let (addr, requests) = server(status, "text/plain");
        assert_eq!(turn(addr, &guest, &denied(), dir.path()).problems(), [], "{status}");
        assert_eq!(requests.load(Ordering::SeqCst), 1, "{status}");
    }
}

#[test]
fn where_nobody_answers_nothing_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let guest = Arc::new(Script::default());
    // A port that was free a moment ago: nobody listens.
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let patience = Patience { begin: Duration::from_millis(100), turn: Duration::from_secs(30) };
    let down = Turn { patience, ..turn(addr, &guest, &denied(), dir.path()) };
    assert_eq!(down.problems(), []);
    // One that is silent has so long, and is cut off.
    let (addr, requests) = server(0, "");
    let patience = Patience { begin: Duration::from_secs(30), turn: Duration::from_secs(2) };
    let silent = Turn { patience, ..turn(addr, &guest, &denied(), dir.path()) };
    assert_eq!(silent.problems(), []);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[test]
fn a_guest_may_have_its_turn_configured_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let (addr, _) = server(200, "text/plain");
    let made_with = |config: Value| {
        let guest = Arc::new(Script::default());
        let declared = json!({ "config": config, "mistakes": [] });
        assert_eq!(turn(addr, &guest, &declared, dir.path()).problems(), []);
        let made = guest.configs.lock().unwrap().clone();
        assert!(made.iter().all(|config| config == made.last().unwrap()), "{made:?}");
        serde_json::from_str::<Value>(made.last().unwrap()).unwrap()
    };
    assert_eq!(made_with(json!({ "a": { "b": 3 } })), json!({ "a": { "b": 3, "c": 2 } }));
    // One that it does not take is left alone.
    assert_eq!(made_with(json!({ "strange": 1 })), json!({ "a": { "b": 1, "c": 2 } }));
}

#[test]
fn signs_are_found_by_check_step_status_and_type() {
    let failed = |check: &str, asked: Option<(&str, u32, &str)>| Failed {
        check: check.to_owned(),
        asked: asked.map(|(step, status, kind)| Asked {
            step: step.to_owned(),
            status,
            content_type: kind.to_owned(),
            ..Asked::default()
        }),
        warnings: Vec::new(),
    };
    let found = |sign: Value, failed: &Failed| {
        let mut sign = sign;
        sign["mend"] = json!("mend it");
        let trial = json!({ "x-gauntlet-trial": { "mistakes": [sign] } }).to_string();
        let found = Trial::read(&trial).unwrap();
        let count = found.mistakes(&[failed.clone(), failed.clone()]).len();
        assert!(count < 2, "each is told once");
        count == 1
    };
    let denied = failed("401: the server takes the credentials", Some(("open", 401, "text/html")));
    for (sign, is_one) in [
        (json!({ "check": "401" }), true),
        (json!({ "check": "401: the server takes the credentials" }), true),
        (json!({ "check": "the server takes the credentials" }), true),
        (json!({ "check": "40" }), false),
        (json!({ "check": "credentials" }), false),
        (json!({ "check": "401", "steps": ["open", "list"] }), true),
        (json!({ "check": "401", "steps": ["list"] }), false),
        (json!({ "check": "401", "statuses": [400, 401] }), true),
        (json!({ "check": "401", "statuses": [403] }), false),
        (json!({ "check": "401", "content-type": "text/html" }), true),
        (json!({ "check": "401", "content-type": "text/plain" }), false),
    ] {
        assert_eq!(found(sign.clone(), &denied), is_one, "{sign}");
    }
    // What is about no request has no step, no status and no type.
    let alone = failed("arguments: can be drawn", None);
    assert!(found(json!({ "check": "arguments" }), &alone));
    assert!(!found(json!({ "check": "arguments", "steps": ["open"] }), &alone));
    assert!(!found(json!({ "check": "arguments", "statuses": [0] }), &alone));
    assert!(!found(json!({ "check": "arguments", "content-type": "" }), &alone));
}

#[test]
fn only_a_declaration_that_is_understood_counts() {
    let read = |schema: &str| Trial::read(schema).is_some();
    assert!(read(r#"{ "type": "object", "x-gauntlet-trial": { "mistakes": [] } }"#));
    for schema in [
        "",
        "no schema",
        "{}",
        r#"{ "x-gauntlet-trial": 7 }"#,
        r#"{ "x-gauntlet-trial": { "mistakes": [{ "check": "401" }] } }"#,
        r#"{ "x-gauntlet-trial": { "mistakes": [{ "check": "401", "mend": "x", "unless": 7 }] } }"#,
    ] {
        assert!(!read(schema), "{schema}");
    }
}
