//! The turn before the load: a plan that its first answers show to be wrong ends there, and no load is sent.

use gauntlet_tests::Beside;
use gauntlet_tests::gauntlet::Ended;
use gauntlet_tests::mcp_servers::McpServer;
use gauntlet_tests::setting::Setting;

use crate::expert::model::{Model, Reply};
use crate::mcp::faulty::{Faulty, UNDRAWABLE};
use crate::plans::{assert_closes, count, phase};

gauntlet_tests::on_both_suites! {
    beside
    an_expert_whose_key_is_not_taken,
}

/// A run of 20 turns; `scenario` are further lines of the scenario.
fn plan(guest: &str, url: &str, scenario: &str, config: &str) -> String {
    format!(
        r#"name = "trial"
seed = 7
run-phases = ["baseline"]

[targets.server]
url = "{url}"

[[scenarios]]
name = "clients"
guest = "{guest}"
{scenario}

[scenarios.config]
{config}

[phases.baseline]
rate = 20
duration = "1s"
connections = 20

[validity]
judge = false
"#
    )
}

/// The run ended with exit code 2 and these words, before its load.
#[track_caller]
fn refused(ended: Ended, says: &[&str]) {
    let ended = ended.expect(2);
    for text in ["scenario clients", "a turn before the load", "trial = false"].iter().chain(says) {
        assert!(ended.stderr.contains(text), "{text:?} is missing in:\n{}", ended.stderr);
    }
    let dir = ended.run_dir.as_ref().expect("a run directory");
    let history = std::fs::read_to_string(dir.join("history.ndjson")).unwrap();
    assert!(!history.contains("phase-started"), "{history}");
}

fn mcp(dir: &std::path::Path, url: &str, config: &str) -> Ended {
    gauntlet_tests::gauntlet::run(dir, &plan("mcp", url, "", config))
}

const ADD: &str = r#"calls = [{ tool = "add", arguments = { a = 1, b = 2 } }]"#;

#[test]
fn a_server_that_does_not_take_the_token() {
    let dir = Beside::new();
    let server = McpServer::fast(dir.path(), Some("good"));
    for revision in ["auto", "2025-06-18", "2026-07-28"] {
        for auth in ["", "auth = { bearer = \"bad\" }"] {
            let config = format!("revision = \"{revision}\"\n{auth}\n{ADD}");
            let says = ["target server", "/mcp", "with 401", "the server takes the credentials", "auth = "];
            refused(mcp(dir.path(), &server.url(), &config), &says);
        }
    }
    // Where that is what the run is for.
    let wrong = format!("auth = {{ bearer = \"bad\" }}\n{ADD}");
    let on_purpose = plan("mcp", &server.url(), "trial = false", &wrong);
    let ended = gauntlet_tests::gauntlet::run(dir.path(), &on_purpose).expect(0);
    assert_eq!(count(phase(&ended.summary()), "scheduled"), 20);
    // A good one goes through, with its trial.
    let good = format!("auth = {{ bearer = \"good\" }}\n{ADD}");
    let summary = mcp(dir.path(), &server.url(), &good).expect(0).summary();
    assert_eq!(count(phase(&summary), "failed"), 0, "{}", phase(&summary));
}

#[test]
fn a_path_where_no_server_is() {
    let dir = Beside::new();
    let server = McpServer::fast(dir.path(), None);
    for revision in ["auto", "2024-11-05", "2025-11-25", "2026-07-28"] {
        let config = format!("revision = \"{revision}\"\nendpoint = \"/nothing\"\n{ADD}");
        refused(mcp(dir.path(), &server.url(), &config), &["/nothing", "with 404", "`endpoint`"]);
    }
}

#[test]
fn a_revision_that_the_server_does_not_speak() {
    let dir = Beside::new();
    // It agrees on its one revision, whatever is asked for.
    let server = McpServer::aimock(dir.path());
    let config = r#"calls = [{ tool = "echo", arguments = { message = "hello" } }]"#;
    for revision in ["2025-06-18", "2025-11-25"] {
        let config = format!("revision = \"{revision}\"\n{config}");
        refused(
            mcp(dir.path(), &server.url(), &config),
            &["the server speaks the revision asked for", "auto"],
        );
    }
    // These have another transport.
    for revision in ["2024-11-05", "2026-07-28"] {
        let config = format!("revision = \"{revision}\"\n{config}");
        refused(mcp(dir.path(), &server.url(), &config), &["`revision`"]);
    }
    let config = format!("revision = \"auto\"\n{config}");
    let _ = mcp(dir.path(), &server.url(), &config).expect(0);
}

#[test]
fn a_listed_schema_that_cannot_be_drawn_from() {
    let dir = Beside::new();
    let server = Faulty::start();
    let config = |calls: &str| {
        format!(
            "revision = \"2025-11-25\"\nendpoint = \"/2025-11-25\"\ncalls = [{calls}, {{ tool = \"lf\" }}]"
        )
    };
    let drawn = format!("{{ tool = \"{UNDRAWABLE}\", generate = true }}");
    let says = ["tools/list", "arguments can be generated", UNDRAWABLE, "pattern", "`schema`"];
    refused(mcp(dir.path(), &server.url(), &config(&drawn)), &says);
    // Nothing was called but what the turn may have: what cannot be drawn is not.
    assert!(server.calls().values().sum::<u64>() <= 1 && !server.calls().contains_key(UNDRAWABLE));
    let given = format!("{{ tool = \"{UNDRAWABLE}\", arguments = {{ a = \"x\" }} }}");
    let _ = mcp(dir.path(), &server.url(), &config(&given)).expect(0);
}

#[test]
fn a_good_server_is_called_once_more_than_the_run_counts() {
    let dir = Beside::new();
    let server = Faulty::start();
    let config = "revision = \"2025-11-25\"\nendpoint = \"/2025-11-25\"\ncalls = [{ tool = \"lf\" }]";
    let run = |more: &str| {
        let text = plan("mcp", &server.url(), more, config);
        let summary = gauntlet_tests::gauntlet::run(dir.path(), &text).expect(0).summary();
        let phase = phase(&summary);
        assert_closes(phase);
        let steps = phase["steps"].as_array().unwrap();
        let step = |name: &str| steps.iter().find(|step| step["step"] == name).map(|step| &step["started"]);
        assert_eq!(step("tools/call lf").unwrap(), 20, "{phase}");
    };
    run("trial = false");
    assert_eq!((server.calls()["lf"], server.ends()), (20, 0));
    run("");
    // Its session is ended, though those of the run have no end.
    assert_eq!((server.calls()["lf"], server.ends()), (41, 1));
}

fn expert(url: &str, path: &str) -> String {
    let config = format!(
        "prompt = \"Query {{arrival}}.\"\nretries = 0\n\
         experts = [{{ name = \"one\", api = \"anthropic\", model = \"m\", key = \"wrong\", path = \"{path}\" }}]"
    );
    plan("expert", url, "", &config)
}

fn an_expert_whose_key_is_not_taken(setting: &Setting) {
    let model = Model::start(|_| Reply::Status(401, "Content-Type: application/json\r\n"));
    refused(
        setting.run(&expert(&model.url(), "/e0/v1/messages")),
        &["target server", "with 401", "denied", "`key`"],
    );
    // Each load-worker tried it once.
    let tried = model.entries().len();
    assert!(tried == 1 || tried == 3, "{tried} queries");
}

#[test]
fn a_model_that_there_is_none_of() {
    let setting = Setting::embedded_beside();
    let model = Model::start(|_| Reply::Status(404, ""));
    refused(setting.run(&expert(&model.url(), "/e0/v1/messages")), &["with 404", "bad request", "`model`"]);
    assert_eq!(model.entries().len(), 1);
}

#[test]
fn a_target_that_fails_in_the_trial_is_for_the_run() {
    let setting = Setting::embedded_beside();
    for status in [429, 500, 503] {
        let model = Model::start(move |_| Reply::Status(status, ""));
        let summary = setting.run(&expert(&model.url(), "/e0/v1/messages")).expect(0).summary();
        let phase = phase(&summary);
        assert_closes(phase);
        assert_eq!(phase["requests"], 20, "{phase}");
        assert_eq!(model.entries().len(), 21, "the turn before the load, and the load");
    }
}
