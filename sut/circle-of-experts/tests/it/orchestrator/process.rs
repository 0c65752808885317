//! The program.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use circle_of_experts::model::Model;
use rustix::process::{Pid, Signal, kill_process};

use super::{agreeing, ask, circle, experts};

/// Kills what a failed test leaves behind.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_orchestrator"))
}

#[tokio::test]
async fn it_announces_its_address_and_finishes_questions_on_sigterm() {
    let directory = tempfile::tempdir().unwrap();
    let port_file = directory.path().join("port");
    let late = Model { first_token_ms: [4_000.0, 4_000.0], ..agreeing() };
    let experts = experts(circle(late, &[]), 4);
    let mut command = command();
    command.args(["--experts", &experts.url()]).arg("--port-file").arg(&port_file).stdout(Stdio::piped());
    let mut process = Process(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim_end().strip_prefix("listening on ").unwrap().to_owned();
    let port = std::fs::read_to_string(&port_file).unwrap();
    assert_eq!(url, format!("http://127.0.0.1:{}", port.trim_end()));

    let client = reqwest::Client::new();
    let begin = std::time::Instant::now();
    while client.get(format!("{url}/ready")).send().await.unwrap().status() != 200 {
        assert!(begin.elapsed() < super::PATIENCE, "never ready");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // When the question is in progress it is told to stop: the answer must still come.
    let terminate = async {
        while !super::text(&client, &format!("{url}/metrics"))
            .await
            .lines()
            .any(|line| line == "orchestrator_questions_in_progress 1")
        {
            assert!(begin.elapsed() < super::PATIENCE, "it was never asked");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let pid = Pid::from_raw(i32::try_from(process.0.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    };
    let ((status, verdict), ()) = tokio::join!(ask(&client, &url, "Still there?"), terminate);
    assert_eq!((status, &verdict["outcome"]), (200, &serde_json::json!("winner")), "{verdict}");
    assert!(process.0.wait().unwrap().success());
}

#[test]
fn wrong_options_are_refused_before_anything_is_bound() {
    let here = "http://127.0.0.1:9";
    for (arguments, expected) in [
        (&[][..], "--experts <URL>"),
        (&["--experts", "h:1"], "is not http://"),
        (&["--experts", here, "--settings", r#"{"support":3}"#], "support: 3"),
        (&["--expert", r#"{"type":"claude_expert","url":"h"}"#], "is not http://"),
        (&["--expert", r#"{"type":"oracle","url":"http://h"}"#], "unknown variant `oracle`"),
    ] {
        let output = command().args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(expected), "{told}");
        assert!(output.stdout.is_empty());
    }
}
