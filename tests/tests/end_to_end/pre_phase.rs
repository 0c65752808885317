//! Each pre-phase check that fails stops the run with its own message.

use gauntlet_tests::core::Core;
use gauntlet_tests::setting::Setting;
use test_servers::ports;

use crate::plans::OnePhase;

gauntlet_tests::on_both_suites! {
    beside
    a_target_that_is_down,
    monitoring_that_is_stale,
    too_few_file_descriptors_for_the_connections,
}

const PHASE: &str = "rate = 50\nduration = \"2s\"\nconnections = 5";
const SHORT: &str = "[control]\nvalidate-timeout = \"500ms\"";

fn a_target_that_is_down(setting: &Setting) {
    let url = format!("http://127.0.0.1:{}", ports::free());
    let mut plan = OnePhase::new(&url, PHASE);
    plan.end = SHORT.to_owned();
    let ended = setting.run(&plan.text()).expect(3);
    assert!(ended.stderr.contains("target ready") && ended.stderr.contains(&url), "{}", ended.stderr);
}

fn monitoring_that_is_stale(setting: &Setting) {
    let core = Core::start(setting.path(), "{}");
    let mut plan = OnePhase::new(&core.url(), PHASE);
    // The target answers, but its resources are read from where nothing listens.
    plan.target = format!("resources = {{ prometheus = \"http://127.0.0.1:{}/metrics\" }}", ports::free());
    plan.end = SHORT.to_owned();
    let ended = setting.run(&plan.text()).expect(3);
    assert!(ended.stderr.contains("monitoring"), "{}", ended.stderr);
}

fn too_few_file_descriptors_for_the_connections(setting: &Setting) {
    let core = Core::start(setting.path(), "{}");
    let plan = OnePhase::new(&core.url(), "rate = 50\nduration = \"2s\"\nconnections = 9000000");
    let ended = setting.run(&plan.text()).expect(3);
    assert!(
        ended.stderr.contains("open files") || ended.stderr.contains("file descriptors"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("9000000") || ended.stderr.contains("9 000 000"),
        "the sum: {}",
        ended.stderr
    );
}
