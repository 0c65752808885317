//! aimock, a server of model APIs that others wrote: all four shapes, in one piece and streamed.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gauntlet_tests::setting::Setting;
use gauntlet_tests::wait;
use serde_json::json;
use test_servers::ports;

use super::{APIS, check, metric, plan};
use crate::plans::{assert_closes, count, phase};

const TEXT: &str = "Paris is the capital of France.";
/// What it counts: 8 tokens. Pieces of 4 characters make as many contents.
const TOKENS: u32 = 8;

pub(crate) struct Aimock {
    child: Child,
    pub(crate) port: u16,
}

impl Aimock {
    /// Starts one whose streams begin after so many milliseconds and have so many tokens a second; `cargo xtask test`
    /// installs it.
    pub(super) fn start(dir: &Path, first_ms: u32, per_second: u32) -> Self {
        let usage = json!({
            "input_tokens": 11, "output_tokens": TOKENS, "prompt_tokens": 11, "completion_tokens": TOKENS,
            "promptTokenCount": 11, "candidatesTokenCount": TOKENS,
        });
        let good = json!({
            "match": {}, "response": { "content": TEXT, "usage": usage }, "chunkSize": 4,
            "streamingProfile": { "ttft": first_ms, "tps": per_second, "jitter": 0 },
        });
        let error = json!({ "message": "Overloaded", "type": "overloaded_error" });
        // Every tenth query is overloaded, always.
        let busy = json!({ "match": { "userMessage": "0." }, "response": { "error": error, "status": 529 } });
        let fixtures = dir.join("fixtures.json");
        std::fs::write(&fixtures, json!({ "fixtures": [busy, good] }).to_string()).unwrap();
        Self::with_fixtures(&fixtures)
    }

    /// Starts one that answers as a file says.
    pub(crate) fn with_fixtures(fixtures: &Path) -> Self {
        let modules =
            std::env::var_os("GAUNTLET_TEST_AIMOCK").expect("GAUNTLET_TEST_AIMOCK: run cargo xtask test");
        let program = PathBuf::from(modules).join("@copilotkit/aimock/dist/cli.js");
        let port = ports::free();
        let child = Command::new("node")
            .arg(program)
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-f"])
            .arg(fixtures)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("node");
        let aimock = Self { child, port };
        wait::until(
            "aimock to listen",
            Duration::from_secs(60),
            || TcpStream::connect(("127.0.0.1", port)).ok(),
            || String::from("nobody listens"),
        );
        aimock
    }
}

impl Drop for Aimock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One of each API, at its own path.
pub(super) fn experts() -> String {
    let experts =
        APIS.map(|api| format!(r#"{{ name = "{api}", api = "{api}", model = "some/model", key = "k" }}"#));
    // Gemini's model stands in the path.
    experts.join(", ").replace("\"gemini\", model = \"some/model\"", "\"gemini\", model = \"model\"")
}

#[test]
fn aimock_is_understood_in_all_four_shapes() {
    let setting = Setting::embedded();
    let aimock = Aimock::start(setting.path(), 20, 200);
    let experts = experts();
    for stream in [false, true] {
        let config = format!(
            "stream = {stream}\nretries = 1\nbackoff = \"1ms\"\nretry-budget = false\nexperts = [{experts}]"
        );
        let phase_lines = "rate = 40\nduration = \"3s\"\nconnections = 40";
        let url = format!("http://127.0.0.1:{}", aimock.port);
        let summary = setting.run(&plan(&url, phase_lines, &config)).summary();
        let phase = phase(&summary);
        assert_closes(phase);
        assert_eq!((count(phase, "scheduled"), count(phase, "answered")), (120, 120), "{phase}");
        assert_eq!(phase["retries"], 12, "the tenth that is overloaded: {phase}");
        let mut all = (0, 0);
        for api in APIS {
            let (good, bad) = check(phase, &format!("{api}: answers"));
            all = (all.0 + good, all.1 + bad);
            assert!(good > 0, "{api}: {phase}");
            // Both attempts of a query that failed.
            assert_eq!(check(phase, &format!("{api}: cause: overloaded")), (0, 2 * bad), "{api}: {phase}");
            for name in ["token counts", "known reason to stop"] {
                assert_eq!(check(phase, &format!("{api}: {name}")), (good, 0), "{api}: {name}: {phase}");
            }
            let output = metric(phase, api, "output tokens,");
            assert_eq!(output["count"], good, "{api}");
            assert!((output["mean"].as_f64().unwrap() - f64::from(TOKENS)).abs() < 0.01, "{api}: {output}");
            if stream {
                assert_eq!(metric(phase, api, "TTFT")["count"], good, "{api}");
                assert_eq!(metric(phase, api, "ITL")["count"], good * 7, "{api}: eight contents each");
            }
        }
        assert_eq!(all, (108, 12));
    }
}
