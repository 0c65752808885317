//! The mcp guest against the reference cluster, whose servers are built on the official Rust SDK.

use std::time::Duration;

use gauntlet_tests::Beside;
use gauntlet_tests::gauntlet::start_run;
use gauntlet_tests::mcp_cluster::{McpCluster, McpServers};
use serde_json::{Value, json};

use super::{Deviation, UNKNOWN, assert_sound, plan, run, run_plan};

/// What of the objects that a server acknowledged is there.
fn integrity(url: &str) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let get = reqwest::Client::new().get(format!("{url}/admin/integrity")).bearer_auth("test");
        get.send().await.unwrap().json().await.unwrap()
    })
}

/// Known deviation of rmcp 3.11.0 in 2025-03-26: a batch is refused with 415, though servers must take one
/// (`basic/index`, section "Batching").
const BATCH: &str =
    r#"{ tool = "list", name = "batch", weight = 1, batch = 4, arguments = { prefix = "user/" } },"#;
const NO_BATCHES: Deviation = ("status", "batch");

/// On a busy machine servers take their time to answer each other: none is dead.
const PATIENT: [&str; 2] = ["--peer-timeout-ms", "30000"];

/// What a storage controller offers.
const STORAGE: &str = r#"
session = { calls = 5 }
calls = [
    { tool = "put", weight = 6, arguments = { key = "user/{user}", content = "{uuid}" } },
    { tool = "list", weight = 2, generate = true },
    { tool = "get", name = "nothing there", weight = 1, arguments = { key = "nobody/{user}" }, expect = "tool-error" },
    { tool = "put", name = "wrong arguments", weight = 1, arguments = { key = 7 }, expect = "tool-error" },
    { resource = "cluster://members", weight = 1 },
    { resource = "nope://nope", weight = 1, expect = "protocol-error" },
    { list = "resource-templates", weight = 1 },
"#;

#[test]
fn a_storage_controller_in_all_revisions() {
    let dir = Beside::new();
    let cluster = McpCluster::start(dir.path(), &PATIENT);
    let url = cluster.url("us-east-1-storage_controller");
    for revision in ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28", "auto"] {
        let (batch, deviations): (_, &[Deviation]) =
            if revision == "2025-03-26" { (BATCH, &[NO_BATCHES]) } else { ("", &[]) };
        let config = format!("revision = \"{revision}\"\n{STORAGE}{UNKNOWN}{batch}]");
        let steps = [
            ("tools/list", 50),
            ("tools/call put", 50),
            ("tools/call list", 10),
            ("nothing there", 5),
            ("tools/call nope", 5),
        ];
        assert_sound(run(dir.path(), &url, &config), deviations, &steps);
    }
    // What was acknowledged meanwhile is there, on three servers.
    let report = integrity(&url);
    assert!(report["acknowledged"].as_u64().is_some_and(|count| count >= 50), "{report}");
    for wrong in ["missing", "altered", "under_copied", "beyond"] {
        assert_eq!(report[wrong], 0, "{report}");
    }
}

/// What a scanner offers.
const SCANNER: &str = r#"
session = { calls = 5 }
calls = [
    { tool = "scan", weight = 4, progress = true, arguments = { repository = "shop", files = 3 } },
    { tool = "scan_text", weight = 3, arguments = { text = "let password = \"{uuid}\"" } },
    { resource = "source://shop-{user}/1", name = "source", weight = 1 },
    { prompt = "review", weight = 1, arguments = { repository = "shop" } },
    { prompt = "nope", weight = 1, expect = "protocol-error" },
    { list = "prompts", weight = 1 },
    { list = "resources", weight = 1 },
"#;

/// What a commander offers.
const COMMANDER: &str = r#"
session = { calls = 5 }
calls = [
    { tool = "roll_out", name = "progress", weight = 3, progress = true, arguments = { steps = 4, step_ms = 50 } },
    { tool = "roll_out", name = "given up", weight = 1, progress = true, cancel-after = "300ms", arguments = { steps = 100, step_ms = 1000 } },
    { tool = "order", weight = 3, arguments = { services = [{ name = "web", after = ["api"] }, { name = "api" }] } },
]"#;

#[test]
fn scanners_and_commanders_with_a_token() {
    let dir = Beside::new();
    let cluster = McpCluster::start(dir.path(), &["--bearer-token", "good", PATIENT[0], PATIENT[1]]);
    for revision in ["2025-06-18", "2025-11-25", "2026-07-28"] {
        let head = |token: &str| format!("revision = \"{revision}\"\nauth = {{ bearer = \"{token}\" }}\n");
        let url = cluster.url("eu-west-1-security_scanner");
        let config = format!("{}{SCANNER}{UNKNOWN}]", head("good"));
        let steps =
            [("tools/list", 50), ("tools/call scan", 30), ("tools/call scan_text", 20), ("source", 5)];
        assert_sound(run(dir.path(), &url, &config), &[], &steps);
        let commander = cluster.url("ap-southeast-1-infrastructure_commander");
        let config = format!("{}{COMMANDER}", head("good"));
        assert_sound(run(dir.path(), &commander, &config), &[], &[("progress", 30), ("given up", 10)]);
        let summary = run(dir.path(), &url, &format!("{}{SCANNER}]", head("bad"))).expect(0).summary();
        assert_eq!(super::broken(&summary), ["valid", "401"], "{revision}");
    }
}

#[test]
fn a_scanner_over_tls() {
    let dir = Beside::new();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("certificate.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let cluster = McpCluster::start(dir.path(), &["--tls-certificate", &certificate, "--tls-key", &key]);
    let url = cluster.url("us-east-1-security_scanner");
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    for revision in ["2025-11-25", "2026-07-28"] {
        let config = format!("revision = \"{revision}\"\n{SCANNER}{UNKNOWN}]");
        let load = "users = 50\nthink = \"200ms\"\nconnections = 120\nduration = \"4s\"";
        let plain = plan(&url, &config, load);
        let trusting = plain
            .replace("\n\n[[scenarios]]", &format!("\ntls = {{ ca = \"{certificate}\" }}\n\n[[scenarios]]"));
        assert_ne!(plain, trusting);
        let steps = [("tools/list", 20), ("tools/call scan", 10), ("tools/call scan_text", 10)];
        assert_sound(run_plan(dir.path(), &trusting), &[], &steps);
    }
}

/// Puts an object on the server, which answers with its three holders.
fn put(url: &str, key: &str, content: &str) -> Vec<String> {
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {
            "name": "put", "arguments": { "key": key, "content": content },
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = runtime.block_on(async {
        let post = reqwest::Client::new()
            .post(format!("{url}/mcp"))
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", "put");
        post.json(&body).send().await.unwrap().text().await.unwrap()
    });
    // The answer is JSON, or a stream of events whose last one has it.
    let last = text.lines().filter_map(|line| line.strip_prefix("data:")).next_back().unwrap_or(&text);
    let answer: Value = serde_json::from_str(last).unwrap();
    let holders = &answer["result"]["structuredContent"]["holders"];
    holders.as_array().unwrap_or_else(|| panic!("{text}")).iter().map(name).collect()
}

fn name(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn two_holders_of_an_object_are_killed_under_load_and_no_client_misses_it() {
    let dir = Beside::new();
    let mut servers = McpServers::start(dir.path(), 5);
    let url = servers.url(0);
    let config = |call: &str| format!("revision = \"2026-07-28\"\ncalls = [{call}]");
    let store = r#"{ tool = "put", arguments = { key = "user/{user}", content = "of {user}" } }"#;
    assert_sound(run(dir.path(), &url, &config(store)), &[], &[("tools/call put", 50)]);
    // Once more the object of one user, for this answer is read: two of its holders, but not the server that the load is on.
    let holders = put(&url, "user/7", "of 7");
    let killed: Vec<_> = holders.iter().filter(|name| *name != "s0").take(2).collect();
    assert_eq!((holders.len(), killed.len()), (3, 2), "{holders:?}");

    let get = r#"{ tool = "get", arguments = { key = "user/{user}" } }"#;
    let load = "users = 50\nthink = \"200ms\"\nconnections = 120\nduration = \"6s\"";
    let running = start_run(dir.path(), &plan(&url, &config(get), load), &[]);
    running.until_history_has("phase-started");
    for name in &killed {
        servers.kill(name);
    }
    assert_sound(running.wait(Duration::from_secs(180)), &[], &[("tools/call get", 100)]);

    // Of what they held there are fewer copies now, and none is made elsewhere: it is their servers' place.
    let report = integrity(&url);
    assert_eq!((&report["missing"], &report["altered"]), (&json!(0), &json!(0)), "{report}");
    let under_copied: Vec<_> = report["under_copied_keys"].as_array().unwrap().iter().map(name).collect();
    assert!(under_copied.iter().any(|key| key == "user/7"), "{report}");
    let mut unanswered: Vec<_> = report["unanswered"].as_array().unwrap().iter().map(name).collect();
    let mut killed: Vec<_> = killed.into_iter().cloned().collect();
    unanswered.sort_unstable();
    killed.sort_unstable();
    assert_eq!(unanswered, killed, "{report}");
}
