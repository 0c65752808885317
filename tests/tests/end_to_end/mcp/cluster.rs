//! The mcp guest against the reference cluster, whose servers are built on the official Rust SDK.

use std::time::Duration;

use gauntlet_tests::Alone;
use gauntlet_tests::gauntlet::start_run;
use gauntlet_tests::mcp_cluster::{McpCluster, McpServers};
use serde_json::Value;

use super::{Deviation, UNKNOWN, assert_sound, plan, run};

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
    let dir = Alone::new();
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
    let dir = Alone::new();
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
fn two_servers_are_killed_under_load_and_no_client_misses_an_object() {
    let dir = Alone::new();
    let mut servers = McpServers::start(dir.path(), 5);
    let url = servers.url(0);
    let config = |call: &str| format!("revision = \"2026-07-28\"\ncalls = [{call}]");
    let put = r#"{ tool = "put", arguments = { key = "user/{user}", content = "of {user}" } }"#;
    assert_sound(run(dir.path(), &url, &config(put)), &[], &[("tools/call put", 50)]);

    let get = r#"{ tool = "get", arguments = { key = "user/{user}" } }"#;
    let load = "users = 50\nthink = \"200ms\"\nconnections = 120\nduration = \"6s\"";
    let running = start_run(dir.path(), &plan(&url, &config(get), load), &[]);
    running.until_history_has("phase-started");
    servers.kill("s1");
    servers.kill("s2");
    assert_sound(running.wait(Duration::from_secs(180)), &[], &[("tools/call get", 100)]);

    // s2 is alone in its region, so each object had a copy there; s1 is one of two in its own.
    let report = integrity(&url);
    let count = |key: &str| report[key].as_u64().unwrap();
    assert_eq!((count("missing"), count("altered"), count("under_copied")), (0, 0, count("acknowledged")));
    assert_eq!(report["unanswered"], serde_json::json!(["s1", "s2"]), "{report}");
}
