//! Commands that only look: help, plans, past runs.

use crate::{PLAN, gauntlet, with_plan};

#[test]
fn help_documents_the_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&["--help"][..], &["run", "--help"]] {
        let ended = gauntlet(dir.path(), arguments).says(0, &[]);
        for code in ["0", "1", "2", "3", "96", "97", "98", "99", "130", "143"] {
            assert!(ended.out.contains(&format!("\n  {code} ")), "{code}: {}", ended.out);
        }
    }
}

#[test]
fn a_first_plan_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let ended = gauntlet(dir.path(), &["plan", "init"]).says(0, &[]);
    assert!(ended.out.contains("gauntlet run plan.toml"), "{ended:?}");
    let _ = gauntlet(dir.path(), &["plan", "init"]).says(2, &["plan.toml exists already"]);
    let shown = gauntlet(dir.path(), &["plan", "show", "plan.toml"]).says(0, &[]).out;
    std::fs::write(dir.path().join("shown.toml"), &shown).unwrap();
    let again = gauntlet(dir.path(), &["plan", "show", "shown.toml"]).says(0, &[]).out;
    assert_eq!(shown, again, "what is shown is a plan");
}

#[test]
fn show_applies_overrides() {
    let dir = with_plan(PLAN);
    let shown = gauntlet(dir.path(), &["plan", "show", "plan.toml", "--seed", "9", "--phases", "idle,heavy"])
        .says(0, &[]);
    assert!(
        shown.out.contains("seed = 9") && shown.out.contains("run-phases = [\"idle\", \"heavy\"]"),
        "{shown:?}"
    );
}

#[test]
fn the_schema_is_json() {
    let dir = tempfile::tempdir().unwrap();
    let ended = gauntlet(dir.path(), &["plan", "schema"]).says(0, &[]);
    let schema: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert!(schema["properties"]["targets"].is_object());
}

#[test]
fn check_names_all_problems() {
    let dir = with_plan("seed = \"x\"\n");
    let _ = gauntlet(dir.path(), &["plan", "check", "plan.toml"])
        .says(2, &["plan.toml:1:8: seed", "targets: missing", "scenarios: missing"]);
}

#[test]
fn past_runs_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let _ = gauntlet(dir.path(), &["runs", "list"]).says(2, &["runs", "--report-dir"]);
    std::fs::create_dir(dir.path().join("runs")).unwrap();
    assert!(gauntlet(dir.path(), &["runs", "list"]).says(0, &[]).out.contains("no runs"));
    let _ = gauntlet(dir.path(), &["runs", "show"]).says(2, &["there is no run"]);
    let _ = gauntlet(dir.path(), &["runs", "show", "x"]).says(2, &["gauntlet runs list"]);
    let _ = gauntlet(dir.path(), &["report", "runs"]).says(2, &["not a run directory"]);
}

#[test]
fn control_without_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let _ = gauntlet(dir.path(), &["control", "pause"]).says(2, &["no run is under way", "--api"]);
    let _ = gauntlet(dir.path(), &["control", "stop", "--api", "http://127.0.0.1:1"])
        .says(3, &["does not answer"]);
}

#[test]
fn completions() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(gauntlet(dir.path(), &["completions", shell]).says(0, &[]).out.contains("gauntlet"));
    }
}

#[test]
fn plan_and_scheduler_know_the_same_parameters_of_objectives() {
    for name in plan::model::PhaseName::ALL {
        let mut judged: Vec<(&str, f64)> = scheduler::objectives::table()
            .into_iter()
            .filter(|objective| objective.phase == name)
            .flat_map(|objective| objective.parameters)
            .map(|parameter| (parameter.key, parameter.default))
            .collect();
        judged.sort_by(|a, b| a.0.cmp(b.0));
        judged.dedup();
        let mut planned = plan::presets::objectives(name).to_vec();
        planned.sort_by(|a, b| a.0.cmp(b.0));
        assert_eq!(planned, judged, "{}", name.name());
    }
}
