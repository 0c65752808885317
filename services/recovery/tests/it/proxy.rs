//! The fault proxy as a process of its own.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use fault_proxy::client::Client;

/// By this a process knows that it is to be a proxy.
const IS_PROXY: &str = "GAUNTLET_TEST_PROXY";

/// A proxy, which ends with it.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) url: String,
    /// The harness around it has more to say after a minute, and would die of a pipe that nobody holds.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Proxy {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "proxy::run", "--ignored", "--nocapture"])
            .env(IS_PROXY, "yes")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The test harness has its own to say before.
        let url = loop {
            let line = lines.next().unwrap().unwrap();
            if let Some((_, url)) = line.split_once("listening on ") {
                break url.to_owned();
            }
        };
        Self { child, url, _output: lines }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url, None).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: what [`Proxy`] runs.
#[test]
#[ignore = "it is a program that tests start"]
fn run() {
    if std::env::var_os(IS_PROXY).is_none() {
        return;
    }
    // It ends by itself when the test is gone: nobody calls it any more.
    let arguments = ["gauntlet-fault-proxy", "--listen", "127.0.0.1:0", "--lease", "60000", "--log", "off"];
    let _ = fault_proxy::main(arguments.map(OsString::from));
}
