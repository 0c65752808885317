//! Plans as users write them.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{and, overridden, parse};
use crate::model::{GuestRef, Most, PhaseName, PlatformRef, Resources};
use crate::threshold::{Check, Threshold};
use crate::{BundleFile, Overrides};

const EXAMPLE: &str = r#"
name = "shop under stress"
seed = 7
time-scale = 0.01

[processes.shop]
command = ["./shop", "--port", "8080"]
ready = "http://127.0.0.1:8080/health"

[targets.shop]
url = "http://127.0.0.1:8080"
platform = { process = "shop" }
chaos = true
resources = { process = "shop" }

[[scenarios]]
guest = "http"
target = "shop"
weight = 3
config.steps = [{ name = "item", get = "/items/{id}", feed = "items.csv", check = { status = 200, json = "$.price" } }]

[phases.heavy]
rate = 8000

[thresholds]
run = ["p(99) < 300ms", { check = "error_rate < 1%", over = "30s", abort = true }]
baseline = ["p(95) < 50ms"]
"#;

#[test]
fn the_example_of_the_design() {
    let plan = parse(EXAMPLE).unwrap();
    assert_eq!((plan.name.as_str(), plan.seed, plan.time_scale), ("shop under stress", 7, 0.01));
    assert_eq!(plan.processes["shop"].ready.as_deref(), Some("http://127.0.0.1:8080/health"));
    let target = &plan.targets[0];
    assert_eq!(target.platform, Some(PlatformRef::Processes(vec!["shop".to_owned()])));
    assert_eq!(target.resources, Resources::Processes(vec!["shop".to_owned()]));
    assert_eq!(target.chaos, Some(Most::All));
    let scenario = &plan.scenarios[0];
    assert_eq!((scenario.name.as_str(), scenario.weight), ("http", 3.0));
    assert_eq!(scenario.config["steps"][0]["check"], json!({ "status": 200, "json": "$.price" }));
    let check = |text: &str| Threshold::from(text.parse::<Check>().unwrap());
    assert_eq!(
        plan.thresholds,
        [
            check("p(99) < 300ms"),
            Threshold { over: Some(Duration::from_secs(30)), abort: true, ..check("error_rate < 1%") }
        ]
    );
    assert_eq!(plan.phases[1].thresholds, [check("p(95) < 50ms")]);
    assert_eq!(
        plan.bundle_files(),
        [BundleFile {
            name: "feed:items.csv".to_owned(),
            path: PathBuf::from("items.csv"),
            key: "scenarios[0].config.steps[0].feed".to_owned(),
        }]
    );
}

#[test]
fn the_template_is_a_plan() {
    let plan = parse(crate::init_template()).unwrap();
    assert_eq!(plan.phases.len(), 1);
    assert_eq!(plan.phases[0].duration, Duration::from_secs(30));
}

#[test]
fn what_the_template_has_commented_out_is_a_plan_too() {
    let (before, commented) = crate::init_template().split_once("\n# To break it").unwrap();
    let chaos: String =
        commented.lines().skip(1).map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect();
    let text = format!("{before}\n{chaos}").replace("[\"baseline\"]", "[\"baseline\", \"chaos\"]");
    let plan = parse(&text).unwrap();
    assert_eq!(plan.chaos[0].recipe.describe(), "latency 200ms from the target");
    assert!(plan.recovery.contains_key("app"));
}

#[test]
fn guests() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let guest = |text: &str| {
        parse(&format!("targets.a.url = \"http://a\"\n[[scenarios]]\nguest = \"{text}\""))
            .unwrap()
            .scenarios
            .remove(0)
    };
    let path = |path: &str, digest: Option<&String>| GuestRef::Path {
        path: PathBuf::from(path),
        digest: digest.cloned(),
    };
    assert_eq!(
        guest("http@0.1.0").guest,
        GuestRef::Name { name: "http".into(), version: Some("0.1.0".into()) }
    );
    assert_eq!(guest(&digest).guest, GuestRef::Digest(digest.clone()));
    assert_eq!(guest("./a/b.wasm").guest, path("./a/b.wasm", None));
    assert_eq!(guest(&format!("b.wasm#{digest}")).guest, path("b.wasm", Some(&digest)));
    assert_eq!(guest("./a/b.wasm").name, "b");
    assert_eq!(guest(&digest).name, "0a".repeat(6));
}

#[test]
fn resources_default_to_the_process_of_the_platform() {
    let text = "processes.p.command = [\"p\"]\ntargets.a.url = \"http://a\"\ntargets.a.platform.process = \"p\"\n\
                targets.b.url = \"http://b\"\n[[scenarios]]\nguest = \"http\"\ntarget = [\"a\", \"b\"]\n";
    let plan = parse(text).unwrap();
    assert_eq!(plan.targets[0].resources, Resources::Processes(vec!["p".to_owned()]));
    assert_eq!(plan.targets[1].resources, Resources::Absent);
    assert_eq!(plan.scenarios[0].targets, ["a", "b"]);
}

#[test]
fn a_phase_changes_the_configuration_of_a_scenario() {
    let plan = and("[phases.light.scenarios.http]\nretries = 5").unwrap();
    assert_eq!(plan.phases[2].scenario_config["http"], json!({ "retries": 5 }));
}

const TWO: &str = r#"
targets.shop.url = "http://127.0.0.1:1"
targets.pay.url = "http://127.0.0.1:2"
thresholds.run = ["p(99) < 1s", { check = "avg < 1s", target = "shop" }, { check = "avg < 1s", target = "pay" }]
phases.light.scenarios.a.x = 1
phases.light.scenarios.b.x = 1
scenarios = [
  { name = "a", guest = "http", target = "shop" },
  { name = "b", guest = "http", target = "pay" },
  { name = "both", guest = "http", target = ["shop", "pay"] },
]
"#;

#[test]
fn only_keeps_what_stresses_one_target_alone() {
    let overrides = Overrides { only: Some("pay".to_owned()), ..Overrides::default() };
    let plan = overridden(TWO, &overrides).unwrap();
    let names: Vec<&str> = plan.scenarios.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["b"]);
    assert_eq!(plan.targets.len(), 2, "what it depends on is still watched");
    assert_eq!(plan.thresholds.len(), 2, "a threshold on what does not run is not kept");
    assert_eq!(plan.phases[2].scenario_config.len(), 1);
    assert_eq!(parse(&plan.to_toml()).unwrap(), plan);
}

#[test]
fn overrides() {
    let overrides = Overrides {
        seed: Some(9),
        time_scale: Some(0.5),
        load_scale: Some(0.25),
        phases: Some(vec![PhaseName::Heavy]),
        ..Overrides::default()
    };
    let plan = overridden(EXAMPLE, &overrides).unwrap();
    assert_eq!((plan.seed, plan.time_scale, plan.load_scale), (9, 0.5, 0.25));
    assert_eq!(plan.phases.len(), 1);
    assert_eq!(plan.phases[0].name, PhaseName::Heavy);
}

#[test]
fn wrong_overrides_name_their_flag() {
    for (overrides, key, message) in [
        (Overrides { seed: Some(u64::MAX), ..Overrides::default() }, "--seed", "expected an integer"),
        (Overrides { time_scale: Some(0.0), ..Overrides::default() }, "--time-scale", "over 0"),
        (Overrides { load_scale: Some(f64::NAN), ..Overrides::default() }, "--load-scale", "over 0"),
        (Overrides { only: Some("sho".into()), ..Overrides::default() }, "--only", "no target \"sho\""),
    ] {
        let problems = overridden(TWO, &overrides).unwrap_err();
        assert_eq!(problems.0.len(), 1);
        assert_eq!(problems.0[0].key, key);
        assert!(problems.0[0].message.contains(message), "{problems}");
    }
}
