//! Keys from the environment of the load-worker: they reach the target, and stand nowhere else.

use std::path::Path;
use std::time::Duration;

use gauntlet_tests::Beside;
use gauntlet_tests::core::Core;
use gauntlet_tests::gauntlet::{command, run, start_with_variables};

use crate::plans::{OnePhase, assert_closes, count, phase};

/// What the reference target's admin API asks for; a word that no file of a run has by chance.
const TOKEN: &str = "hush-91c7";
const VARIABLE: &str = "GAUNTLET_TEST_TARGET_TOKEN";

fn plan(url: &str) -> String {
    let mut plan = OnePhase::new(url, "rate = 50\nduration = \"1s\"\nconnections = 5");
    plan.step = format!(
        r#"{{ name = "knobs", get = "/admin/knobs", headers = {{ authorization = {{ from-environment = "{VARIABLE}" }} }}, check = {{ status = 200 }} }}"#
    );
    plan.text()
}

fn files_with(dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_with(&entry.path(), text));
        } else if std::fs::read(entry.path()).unwrap().windows(text.len()).any(|part| part == text.as_bytes())
        {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[test]
fn a_key_from_the_environment_reaches_the_target_and_no_file() {
    let dir = Beside::new();
    let core = Core::start_with_token(dir.path(), "{}", TOKEN);
    std::fs::write(dir.path().join("plan.toml"), plan(&core.url())).unwrap();
    assert!(command(dir.path(), &["plan", "check", "plan.toml"]).expect(0).stdout.contains("good"));
    let bearer = format!("Bearer {TOKEN}");
    let variables = [(VARIABLE, bearer.as_str())];
    let running = start_with_variables(dir.path(), &["run", "plan.toml"], &variables);
    let summary = running.wait(Duration::from_secs(60)).expect(0).summary();
    assert_closes(phase(&summary));
    assert_eq!(count(phase(&summary), "answered"), 50);
    assert_eq!(phase(&summary)["checks"][0]["passed"], 50, "{}", phase(&summary)["checks"]);
    assert_eq!(files_with(dir.path(), TOKEN), [""; 0]);
}

#[test]
fn a_variable_that_is_not_set_is_named_before_anything_is_sent() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let ended = run(dir.path(), &plan(&core.url())).expect(3);
    assert!(ended.stderr.contains(VARIABLE) && ended.stderr.contains("load-worker"), "{}", ended.stderr);
    assert_eq!(core.stop().len(), 0, "requests");
}
