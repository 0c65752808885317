//! Live control from CLI and API, and thresholds that end a run.

use std::time::Duration;

use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet;
use gauntlet_tests::setting::Setting;

use crate::plans::{OnePhase, assert_closes, count, phase};

gauntlet_tests::on_both_suites! {
    beside
    pause_resume_rate_skip_and_stop_from_the_command_line,
    the_same_by_the_http_api,
    an_abort_threshold_ends_the_run_with_99_after_ramp_down_and_collection,
}

const LONG: &str = "rate = 200\nduration = \"60s\"\nconnections = 20";
const FAST_END: &str = "[control]\nramp-down = \"500ms\"";

fn post(url: &str, body: &str) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let answer = reqwest::Client::new()
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    })
}

fn get(url: &str) -> serde_json::Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { reqwest::get(url).await.unwrap().json().await.unwrap() })
}

fn pause_resume_rate_skip_and_stop_from_the_command_line(setting: &Setting) {
    let core = Core::start(setting.path(), "{}");
    let mut plan = OnePhase::new(&core.url(), LONG);
    plan.end = FAST_END.to_owned();
    let text = plan.text().replace("[\"baseline\"]", "[\"baseline\", \"light\"]")
        + "\n[phases.light]\nrate = 100\nduration = \"60s\"\nconnections = 20\n";
    let running = setting.start_run(&text);
    running.until_history_has("phase-started");
    let api = setting.api(&running);
    let control = |arguments: &[&str]| {
        let mut all = vec!["control"];
        all.extend(arguments);
        all.extend(["--api", &api]);
        let scratch = tempfile::tempdir().unwrap();
        gauntlet::command(scratch.path(), &all)
    };
    let _ = control(&["pause"]).expect(0);
    running.until_history_has("\"change\":\"pause\"");
    let again = control(&["pause"]);
    assert_ne!(again.code, Some(0), "a second pause is refused: {again:?}");
    let _ = control(&["resume"]).expect(0);
    running.until_history_has("\"change\":\"resume\"");
    let _ = control(&["rate", "50"]).expect(0);
    running.until_history_has("\"change\":\"rate 50");
    let _ = control(&["skip"]).expect(0);
    running.until_history_has("\"name\":\"light\"");
    let _ = control(&["stop"]).expect(0);
    let summary = running.wait(Duration::from_secs(30)).expect(96).summary();
    assert_eq!(summary["verdict"], "aborted");
    for phase in summary["phases"].as_array().unwrap() {
        assert_closes(phase);
    }
    let started: u64 = summary["phases"].as_array().unwrap().iter().map(|p| count(p, "started")).sum();
    assert_eq!(core.stop().len() as u64, started);
}

fn the_same_by_the_http_api(setting: &Setting) {
    let core = Core::start(setting.path(), "{}");
    let mut plan = OnePhase::new(&core.url(), LONG);
    plan.end = FAST_END.to_owned();
    let running = setting.start_run(&plan.text());
    running.until_history_has("phase-started");
    let api = setting.api(&running);
    let runs = get(&format!("{api}/v1/runs"));
    let run =
        runs["runs"][0]["id"].as_str().or_else(|| runs[0]["id"].as_str()).unwrap_or_else(|| panic!("{runs}"));
    let action = |body: &str| post(&format!("{api}/v1/runs/{run}/control"), body);
    for body in [r#"{"action": "pause"}"#, r#"{"action": "resume"}"#, r#"{"action": "rate", "rate": 100}"#] {
        let (status, text) = action(body);
        assert!(status < 300, "{body}: {status} {text}");
    }
    let (status, text) = action(r#"{"action": "resume"}"#);
    assert_eq!(status, 409, "resume of a run that is not paused: {text}");
    assert!(text.contains("\"title\"") && text.contains("\"detail\""), "a problem document: {text}");
    let openapi = get(&format!("{api}/openapi.json"));
    assert!(openapi["paths"].as_object().unwrap().len() >= 5, "{openapi}");
    let (status, text) = action(r#"{"action": "stop"}"#);
    assert!(status < 300, "{text}");
    let summary = running.wait(Duration::from_secs(30)).expect(96).summary();
    assert_closes(phase(&summary));
}

fn an_abort_threshold_ends_the_run_with_99_after_ramp_down_and_collection(setting: &Setting) {
    let core = Core::start(setting.path(), r#"{"error_rate": 0.5}"#);
    let mut plan = OnePhase::new(&core.url(), LONG);
    plan.step = r#"{ name = "item", get = "/items/1", check = { status = 200 } }"#.to_owned();
    plan.end = format!(
        "{FAST_END}\n[thresholds]\nrun = [{{ check = \"error_rate < 1%\", over = \"2s\", abort = true, delay = \"1s\" }}]"
    );
    let running = setting.start_run(&plan.text());
    let summary = running.wait(Duration::from_secs(40)).expect(99).summary();
    let phase = phase(&summary);
    assert_closes(phase);
    assert!(phase["lasted_ms"].as_u64().unwrap() < 30_000, "ended early: {}", phase["lasted_ms"]);
    let history = serde_json::to_string(&summary["reasons"]).unwrap();
    assert!(history.contains("error_rate < 1%"), "{history}");
    assert_eq!(core.stop().len() as u64, count(phase, "started"));
}
