//! The whole cycle, small: all seven phases, all 21 checks, all files.

use gauntlet_tests::core::Core;
use gauntlet_tests::setting::Setting;

use crate::plans::assert_closes;

gauntlet_tests::on_both_suites! {
    seven_phases_end_with_a_verdict_and_all_files,
}

fn seven_phases_end_with_a_verdict_and_all_files(setting: &Setting) {
    let core = Core::start(setting.path(), "{}");
    let plan = format!(
        r#"
name = "seven"
seed = 7
time-scale = 0.001
load-scale = 0.01
validity.judge = false

[targets.core]
url = "{0}"
resources = {{ pid = {1} }}
metrics-url = "{0}/metrics"

[[scenarios]]
guest = "http"
target = "core"
config.steps = [{{ name = "item", get = "/items/1", check = {{ status = 200 }} }}]
"#,
        core.url(),
        core.pid()
    );
    let ended = setting.run(&plan).expect(0);
    let summary = ended.summary();
    let phases = summary["phases"].as_array().unwrap();
    let names: Vec<&str> = phases.iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["idle", "baseline", "light", "medium", "heavy", "extreme", "chaos"]);
    let mut objectives = 0;
    for phase in phases {
        assert_closes(phase);
        for objective in phase["objectives"].as_array().unwrap() {
            objectives += 1;
            match objective["result"].as_str().unwrap() {
                "pass" | "fail" => assert_ne!(objective["seen"], "", "{objective}"),
                "not-evaluable" => assert_ne!(objective["reason"], "", "{objective}"),
                other => panic!("{other}: {objective}"),
            }
        }
    }
    assert_eq!(objectives, 21);
    let run_dir = ended.run_dir.clone().unwrap();
    for file in
        ["plan.toml", "history.ndjson", "summary.json", "summary.schema.json", "junit.xml", "report.html"]
    {
        assert!(run_dir.join(file).metadata().unwrap().len() > 0, "{file}");
    }
    assert!(!run_dir.join("api.json").exists(), "the API's address outlived the run");
    let chaos = &phases[6];
    assert!(chaos["planned_ms"].as_u64().unwrap() >= 30_000, "R1.4: at least 30 s of real time");
    assert!(ended.stdout.contains("passed") || ended.stderr.contains("passed"), "{ended:?}");
}
