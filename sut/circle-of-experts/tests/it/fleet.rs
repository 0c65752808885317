//! The program that is a whole circle.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::orchestrator::process::Process;

fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_circle-of-experts"));
    command.args(flags);
    command
}

/// The names and addresses that it announces, so many of them.
fn announced(child: &mut Child, count: usize) -> Vec<(String, String)> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(count);
    let announced = lines.map(|line| {
        let line = line.unwrap();
        let (name, url) = line.split_once(" listening on ").unwrap();
        (name.to_owned(), url.to_owned())
    });
    announced.collect()
}

#[tokio::test]
async fn without_options_it_is_three_orchestrators_over_ten_experts() {
    let mut process = Process(command(&[]).stdout(Stdio::piped()).spawn().unwrap());
    let announced = announced(&mut process.0, 4);
    let names: Vec<&str> = announced.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["experts", "orchestrator-1", "orchestrator-2", "orchestrator-3"]);

    let client = reqwest::Client::new();
    let listed = client.get(format!("{}/experts", announced[0].1)).send().await.unwrap();
    let listed: Value = listed.json().await.unwrap();
    assert_eq!(listed["experts"].as_array().unwrap().len(), 10);
    let begin = Instant::now();
    for (name, url) in &announced[1..] {
        while client.get(format!("{url}/ready")).send().await.unwrap().status() != 200 {
            assert!(begin.elapsed() < Duration::from_secs(60), "{name} is never ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let ask = client.post(format!("{url}/v1/consensus")).json(&json!({ "question": "Which?" }));
        let verdict: Value = ask.send().await.unwrap().json().await.unwrap();
        assert_eq!(verdict["experts"].as_array().unwrap().len(), 10, "{name}: {verdict}");
    }
    kill_process(Pid::from_raw(i32::try_from(process.0.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
    assert!(process.0.wait().unwrap().success());
}

#[test]
fn ports_that_there_are_not_are_refused_before_anything_is_bound() {
    let output = command(&["--port", "65534"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{told}");
    assert!(told.contains("the 3 ports behind it"), "{told}");
}
