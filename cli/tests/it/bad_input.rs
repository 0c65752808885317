//! Whatever is wrong is refused before anything starts.

use std::net::TcpListener;
use std::path::Path;

use crate::{PLAN, gauntlet, with_plan};

/// Nothing but what was there before.
fn nothing_left(dir: &Path) {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["guest.wasm", "plan.toml"]);
}

/// No run directory is left in `runs`.
fn no_run_left(runs: &Path) {
    let dirs: Vec<_> = std::fs::read_dir(runs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("plan.toml").exists() || path.join("history.ndjson").exists())
        .collect();
    assert_eq!(dirs, Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let _ = gauntlet(dir.path(), &["run"]).says(2, &["<PLAN>"]);
    let _ = gauntlet(dir.path(), &["run", "plan.toml", "--sede", "7"]).says(2, &["--seed"]);
    let _ = gauntlet(dir.path(), &["run", "plan.toml", "--phases", "warmup"]).says(2, &["baseline"]);
    let _ = gauntlet(dir.path(), &["walk"]).says(2, &["walk"]);
}

#[test]
fn a_session_needs_an_address_and_a_scenario_that_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let _ = gauntlet(dir.path(), &["mcp-conformance", "127.0.0.1:80"]).says(2, &["127.0.0.1:80", "http://"]);
    let url = "http://127.0.0.1:1/mcp";
    let other = ["mcp-conformance", url, "--scenario", "auth/basic-cimd"];
    let _ = gauntlet(dir.path(), &other).says(2, &["auth/basic-cimd", "tools_call"]);
    let bare = ["mcp-conformance", url, "--scenario", "http-custom-headers"];
    let _ = gauntlet(dir.path(), &bare).says(2, &["MCP_CONFORMANCE_CONTEXT", "toolCalls"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_plan_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let _ = gauntlet(dir.path(), &["run", "none.toml"]).says(2, &["none.toml", "gauntlet plan init"]);
}

#[test]
fn malformed_toml_names_line_and_column() {
    let dir = with_plan("name = \"x\"\nseed = = 3\n");
    let _ = gauntlet(dir.path(), &["run", "plan.toml"]).says(2, &["plan.toml:2:8", "not TOML"]);
    nothing_left(dir.path());
}

#[test]
fn two_errors_come_at_once() {
    let dir = with_plan(&format!("time-scale = -1\nphases.heavy.rat = 5\n{PLAN}"));
    let _ = gauntlet(dir.path(), &["run", "plan.toml"])
        .says(2, &["plan.toml:1:", "time-scale", "plan.toml:2:", "did you mean `rate`?"]);
    nothing_left(dir.path());
}

#[test]
fn overrides_are_checked_like_keys() {
    let dir = with_plan(PLAN);
    let run = |flags: &[&str]| gauntlet(dir.path(), &[&["run", "plan.toml"], flags].concat());
    let _ = run(&["--time-scale", "0"]).says(2, &["--time-scale", "over 0"]);
    let _ = run(&["--only", "shpo"]).says(2, &["--only", "did you mean \"shop\"?"]);
    let _ = run(&["--api", "0.0.0.0:80"]).says(2, &["--api", "loopback"]);
    let _ = run(&["--prometheus", "here"]).says(2, &["--prometheus", "loopback"]);
    nothing_left(dir.path());
}

#[test]
fn a_search_is_refused_before_it_begins() {
    let dir = with_plan(PLAN);
    let knee = |flags: &[&str]| gauntlet(dir.path(), &[&["knee", "plan.toml"], flags].concat());
    let _ = knee(&["--start", "fast", "--precision", "0"]).says(2, &["--start", "--precision"]);
    let _ = knee(&["--phase", "warmup"]).says(2, &["baseline"]);
    let _ = knee(&["--api", "0.0.0.0:80"]).says(2, &["thresholds", "the phase heavy", "--phase"]);
    nothing_left(dir.path());
    let dir = with_plan(&format!("thresholds.run = [\"p(99) < 1s\"]\n{PLAN}"));
    let knee = |flags: &[&str]| gauntlet(dir.path(), &[&["knee", "plan.toml"], flags].concat());
    let _ = knee(&["--phase", "idle"]).says(2, &["--phase: found idle", "--phase heavy"]);
    let _ = knee(&["--only", "shpo"]).says(2, &["--only", "did you mean \"shop\"?"]);
    let _ = knee(&["--api", "0.0.0.0:80"]).says(2, &["--api", "loopback"]);
    nothing_left(dir.path());
    let _ = knee(&[]).says(2, &["not a WebAssembly component"]);
}

#[test]
fn a_guest_of_another_digest_or_none_at_all() {
    let wanted = format!("sha256:{}", "0".repeat(64));
    let dir = with_plan(&PLAN.replace("guest.wasm", &format!("guest.wasm#{wanted}")));
    let _ =
        gauntlet(dir.path(), &["run", "plan.toml"]).says(2, &["scenarios[0].guest", "guest.wasm", &wanted]);
    nothing_left(dir.path());
    let dir = with_plan(&PLAN.replace("./guest.wasm", "nobody"));
    let _ = gauntlet(dir.path(), &["run", "plan.toml"]).says(2, &["no guest \"nobody\""]);
    nothing_left(dir.path());
}

#[test]
fn files_that_the_plan_names_are_looked_at_before_the_run() {
    let dir = with_plan(&format!(
        "targets.shop.tls.ca = \"none.pem\"\n{PLAN}config.steps = [{{ get = \"/{{id}}\", feed = \"none.csv\" }}]\n"
    ));
    let _ = gauntlet(dir.path(), &["run", "plan.toml"])
        .says(2, &["targets.shop.tls.ca", "none.pem", "scenarios[0].config.steps[0].feed", "none.csv"]);
    nothing_left(dir.path());
}

#[test]
fn what_is_no_component_says_so() {
    let dir = with_plan(PLAN);
    let _ = gauntlet(dir.path(), &["run", "plan.toml"]).says(2, &["not a WebAssembly component"]);
    let _ =
        gauntlet(dir.path(), &["plan", "check", "plan.toml"]).says(2, &["scenarios[0].guest", "guest.wasm"]);
}

#[test]
fn an_occupied_port() {
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = occupied.local_addr().unwrap().to_string();
    let dir = with_plan(&format!("control.api = \"{address}\"\n{PLAN}"));
    let _ = gauntlet(dir.path(), &["run", "plan.toml"]).says(3, &[&address, "control.api"]);
    no_run_left(&dir.path().join("runs"));
}

#[test]
fn a_run_directory_that_cannot_be_made() {
    let dir = with_plan(PLAN);
    let _ = gauntlet(dir.path(), &["run", "plan.toml", "--report-dir", "plan.toml/runs"])
        .says(3, &["plan.toml/runs", "--report-dir"]);
    nothing_left(dir.path());
}

#[test]
fn another_run_in_the_same_directory() {
    let dir = with_plan(PLAN);
    let runs = dir.path().join("runs");
    std::fs::create_dir(&runs).unwrap();
    let lock = std::fs::File::create(runs.join("store.lock")).unwrap();
    lock.lock().unwrap();
    let _ =
        gauntlet(dir.path(), &["run", "plan.toml"]).says(3, &["another run is under way", "--report-dir"]);
    no_run_left(&runs);
}

#[test]
fn a_store_that_is_none() {
    let dir = with_plan(PLAN);
    let runs = dir.path().join("runs");
    std::fs::create_dir(&runs).unwrap();
    std::fs::write(runs.join("store.db"), "x".repeat(5000)).unwrap();
    let _ = gauntlet(dir.path(), &["run", "plan.toml"]).says(3, &["store.db", "not a readable store"]);
    no_run_left(&runs);
}
