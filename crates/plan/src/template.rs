//! A first plan.

/// A first plan, ready to run once `url` names something: `gauntlet plan init` writes it.
#[must_use]
pub const fn init_template() -> &'static str {
    r#"name = "first run"
run-phases = ["baseline"]      # leave this line out for the whole cycle: idle, baseline, light, medium, heavy, extreme, chaos

[targets.app]
url = "http://127.0.0.1:8080"  # what to stress

[[scenarios]]
guest = "http"
config.steps = [{ name = "home", get = "/", check = { status = 200 } }]

[phases.baseline]              # what is not said here is as in `gauntlet plan show`
duration = "30s"
rate = 50                      # requests per second

[thresholds]
run = ["p(99) < 300ms", "error_rate < 1%"]
"#
}
