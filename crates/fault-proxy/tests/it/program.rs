//! The program, started for a test and ended with it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fault_proxy::client::Client;
use reqwest::{Method, Response};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Held by tests that need more open files than a process has for two of them.
pub(crate) static MANY_FILES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A running fault proxy.
pub(crate) struct Program {
    child: Child,
    /// Of its API, without a slash at the end.
    pub(crate) url: String,
    http: reqwest::Client,
}

impl Program {
    /// Starts it with these arguments, its API on a free port.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gauntlet-fault-proxy"));
        command.args(["--listen", "127.0.0.1:0", "--log", "warn"]).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("listening on ").map(str::to_owned);
        let mut program = Self { child, url: String::new(), http: reqwest::Client::new() };
        program.url = url.unwrap_or_else(|| panic!("it said {line:?}"));
        program
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Who drives it as services do.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url, None).unwrap()
    }

    /// A request, with a body where there is one.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Response {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        request.send().await.unwrap()
    }

    /// Status and body of a request.
    pub(crate) async fn answer(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let response = self.ask(method, path, body).await;
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Posts what must succeed.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.answer(Method::POST, path, Some(&body)).await;
        assert!((200..300).contains(&status), "POST {path} {body}: {status} {answer}");
        answer
    }

    /// Makes a proxy to an upstream; the address that it listens on.
    pub(crate) async fn proxy(&self, name: &str, upstream: &str) -> String {
        let made =
            self.post("/proxies", json!({"name": name, "listen": "127.0.0.1:0", "upstream": upstream})).await;
        made["listen"].as_str().unwrap().to_owned()
    }

    /// Adds a toxic to a proxy.
    pub(crate) async fn toxic(&self, proxy: &str, type_name: &str, stream: &str, attributes: Value) {
        let toxic = json!({"type": type_name, "stream": stream, "attributes": attributes});
        self.post(&format!("/proxies/{proxy}/toxics"), toxic).await;
    }

    /// Waits until a figure of `/counters`, by its JSON pointer, is as wanted.
    pub(crate) async fn wait_for(&self, pointer: &str, wanted: impl Fn(u64) -> bool) {
        let start = Instant::now();
        loop {
            let (_, counters) = self.answer(Method::GET, "/counters", None).await;
            if counters.pointer(pointer).and_then(Value::as_u64).is_some_and(&wanted) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "waited for {pointer} in {counters}");
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it with arguments that it refuses; its exit code and what it says.
pub(crate) fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_gauntlet-fault-proxy")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}
