//! Servers that the services cannot work with, and addresses on which they must not listen: each refuses, says what it found,
//! what it expected and what mends it, and ends with the code of its kind.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use gauntlet_tests::core::Core;
use gauntlet_tests::suite::Suite;
use gauntlet_tests::{Beside, gauntlet, wait};
use rustix::process::Signal;
use test_servers::nats::Nats;
use test_servers::postgres::Postgres;

use crate::deployed::numbered;

const SERVICES: [&str; 3] = ["gauntlet-metrics", "gauntlet-scheduler", "gauntlet-load-worker"];

/// A service that is to refuse: its exit code and its last line.
fn refused(program: &str, dir: &Path, nats: &str, postgres: &str, more: &[&str]) -> (Option<i32>, String) {
    let log = dir.join("refused.log");
    let mut command = Command::new(gauntlet_tests::program(program));
    command.arg("--state-dir").arg(dir.join("state")).arg("--nats-url").arg(nats);
    if program != "gauntlet-load-worker" {
        command.arg("--postgres-url").arg(postgres);
    }
    if program == "gauntlet-scheduler" && !more.contains(&"--api") {
        command.args(["--api", "127.0.0.1:0"]);
    }
    let file = std::fs::File::create(&log).unwrap();
    let mut child = command.args(more).stdin(Stdio::null()).stderr(file).spawn().unwrap();
    let read = || std::fs::read_to_string(&log).unwrap();
    // A failed test leaves nothing running: it is awaited for so long, and then ended.
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait::until("the service to refuse", Duration::from_secs(20), || child.try_wait().unwrap(), read)
    }));
    if ended.is_err() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let code = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).code();
    (code, read().lines().last().unwrap_or_default().to_owned())
}

fn assert_says((code, line): (Option<i32>, String), wanted: i32, words: &[&str], of: &str) {
    assert_eq!(code, Some(wanted), "{of}: {line}");
    for word in words {
        assert!(line.contains(word), "{of}: {word:?} is not in: {line}");
    }
}

#[test]
fn a_nats_without_jetstream_or_with_small_messages_is_refused_by_all() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let postgres = Postgres::shared().database();
    let plan = numbered(&core.url(), "rate = 10\nduration = \"1s\"\nconnections = 1").text();
    let without = Nats::with(|_| String::new());
    let small = Nats::with(|home| {
        format!("max_payload: 65536\njetstream {{ store_dir: \"{}/jetstream\" }}\n", home.display())
    });
    let cases: [(&Nats, &[&str]); 2] = [
        (&without, &["JetStream cannot be used", "nats-server -js"]),
        (&small, &["65536 bytes", "266240 are needed", "raise its `max_payload`"]),
    ];
    for (nats, words) in cases {
        let url = nats.url();
        for program in SERVICES {
            assert_says(refused(program, dir.path(), &url, &postgres, &[]), 3, words, program);
        }
        let ended = gauntlet::start_run(dir.path(), &plan, &["--nats", &url]).wait(Duration::from_secs(20));
        assert_says((ended.code, ended.stderr.replace('\n', " ")), 3, words, "gauntlet run");
    }
    assert_eq!(core.stop().len(), 0, "nothing was sent");
}

#[test]
fn a_postgres_with_a_newer_schema_is_refused_and_left_as_it_is() {
    let dir = Beside::new();
    let mut suite = Suite::start(dir.path(), 1);
    let database = suite.database().to_owned();
    let name = database.rsplit('/').next().unwrap();
    for service in ["metrics", "scheduler"] {
        suite.signal(service, Signal::TERM);
    }
    let server = Postgres::shared();
    server.execute(name, "UPDATE schema_version SET version = 99");
    let nats = suite.nats.url();
    for program in ["gauntlet-metrics", "gauntlet-scheduler"] {
        let words = ["schema version 99", "knows versions up to 1", "use the newer program", name];
        assert_says(refused(program, dir.path(), &nats, &database, &[]), 3, &words, program);
    }
    assert_eq!(server.execute(name, "SELECT version FROM schema_version"), ["99"]);
}

#[test]
fn nothing_listens_where_others_reach_it_without_a_token() {
    let dir = Beside::new();
    let (nats, postgres) = (Nats::start(), Postgres::shared().database());
    let refuse = |program: &str, more: &[&str]| refused(program, dir.path(), &nats.url(), &postgres, more);
    for open in ["0.0.0.0:0", "[::]:0"] {
        for program in SERVICES {
            let words = ["health", open, "expected a loopback address"];
            assert_says(refuse(program, &["--health", open]), 2, &words, program);
        }
        let words = [open, "not loopback", "token"];
        assert_says(refuse("gauntlet-scheduler", &["--api", open]), 2, &words, "the API");
        let words = [open, "loopback"];
        assert_says(refuse("gauntlet-metrics", &["--prometheus", open]), 2, &words, "the exposition");
    }
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    let flags = ["--api", "0.0.0.0:0", "--api-token-file", empty.to_str().unwrap()];
    assert_says(refuse("gauntlet-scheduler", &flags), 2, &["api-token-file", "is empty"], "an empty token");
    // What `gauntlet run` listens on, by flag and by plan.
    let plan = numbered("http://127.0.0.1:1", "rate = 10\nduration = \"1s\"\nconnections = 1");
    for flag in ["--api", "--prometheus"] {
        let ended = gauntlet::start_run(dir.path(), &plan.text(), &[flag, "0.0.0.0:0"]);
        let ended = ended.wait(Duration::from_secs(20));
        assert_says((ended.code, ended.stderr), 2, &[flag, "loopback"], flag);
    }
    let mut open = plan;
    open.end = "[control]\napi = \"0.0.0.0:0\"".to_owned();
    let ended = gauntlet::run(dir.path(), &open.text());
    assert_says((ended.code, ended.stderr), 2, &["api", "loopback"], "the plan's control.api");
}
