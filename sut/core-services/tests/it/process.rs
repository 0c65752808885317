use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use core_services::access_log::Line;
use rustix::process::{Pid, Signal, kill_process};

/// Kills what a failed test leaves behind.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it, and gives its URL once it listens.
pub(crate) fn listening(command: &mut Command) -> (Process, String) {
    let mut process = Process(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (process, line.trim_end().strip_prefix("listening on ").unwrap().to_owned())
}

#[tokio::test]
async fn it_announces_its_address_and_finishes_requests_on_sigterm() {
    let directory = tempfile::tempdir().unwrap();
    let (port_file, log) = (directory.path().join("port"), directory.path().join("access.log"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_core-services"));
    command.args(["--port", "0", "--knobs", r#"{"latency":{"kind":"fixed","ms":700}}"#]);
    command.arg("--port-file").arg(&port_file).arg("--access-log").arg(&log);
    let (mut process, url) = listening(&mut command);
    let port = std::fs::read_to_string(&port_file).unwrap();
    assert_eq!(url, format!("http://127.0.0.1:{}", port.trim_end()));

    let check = |port: &str| {
        let mut check = Command::new(env!("CARGO_BIN_EXE_core-services"));
        check.args(["--check-health", "--port", port]).output().unwrap()
    };
    let answers = check(port.trim_end());
    assert!(answers.status.success(), "{answers:?}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = check(&free.to_string());
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");

    // Send one request; when it is in flight, ask the target to stop: the answer must still come.
    let request = reqwest::get(format!("{url}/items/1"));
    let terminate = async {
        let client = reqwest::Client::new();
        loop {
            let text = client.get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
            if text.lines().any(|line| line == "http_requests_in_flight 1") {
                break;
            }
        }
        let pid = Pid::from_raw(i32::try_from(process.0.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    };
    let (answer, ()) = tokio::join!(request, terminate);
    assert_eq!(answer.unwrap().status(), 200);
    assert!(process.0.wait().unwrap().success());
    assert_eq!(Line::read_all(&log).unwrap().len(), 1);
}

#[test]
fn it_listens_where_it_is_told() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_core-services"));
    // Loopback has more addresses than one: nothing of this test is reachable from outside.
    let (_process, url) = listening(command.args(["--host", "127.0.0.2"]));
    let address = url.strip_prefix("http://").unwrap();
    assert!(address.starts_with("127.0.0.2:"), "{address}");
    core_services::check::health(address.parse().unwrap()).unwrap();
}

#[test]
fn wrong_knobs_are_refused_before_anything_is_bound() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_core-services"));
    let output = command.args(["--knobs", r#"{"error_rate":3}"#]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("error_rate: 3"));
    assert!(output.stdout.is_empty());
}

#[test]
fn flags_that_do_not_go_together_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (flags, why) in [
        (&["--sqlite", "items.db", "--primary", "postgres://localhost"][..], "cannot be used with"),
        (&["--replica", "postgres://localhost", "--sqlite", "items.db"][..], "cannot be used with"),
        (&["--replica", "postgres://localhost"][..], "--primary <URL>"),
        (&["--cache-nats", "nats://localhost"][..], "--primary <URL>|--sqlite <PATH>"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_core-services"));
        // Accepted by mistake, they would end for the log, which cannot be.
        command.args(flags).args(["--access-log", "none/access.log"]).current_dir(&directory);
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {error}");
        assert!(error.contains(why), "{flags:?}: {error}");
    }
}
