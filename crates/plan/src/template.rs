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

# To break it while it is under load: uncomment this, and add "chaos" to run-phases.
# [targets.app.chaos]
# most = 1                     # of its instances, faults may take away so many at once
# [[chaos]]
# recipe = "latency"           # kill, pause and others need a `platform`, a process that we start
# target = "app"
# latency = "200ms"
# duration = "20s"             # real time, whatever time-scale is
# stop = "error_rate > 50%"    # what ends it before that; "none" where nothing does
# [recovery.app]
# strategy = ["shed-load"]     # or "restart", with a platform; "failover", with a backup
"#
}
