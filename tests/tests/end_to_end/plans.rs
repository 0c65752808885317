//! Plans as text, and readings of `summary.json`.

use serde_json::Value;

/// A plan of one phase against `url`, with further lines at the top, in the phase and at the end.
pub(crate) struct OnePhase {
    pub(crate) url: String,
    pub(crate) top: String,
    pub(crate) target: String,
    pub(crate) phase: String,
    pub(crate) step: String,
    pub(crate) end: String,
    /// Rules on the generator. By default they only report: what else runs on the machine is not what most tests
    /// are about.
    pub(crate) validity: String,
}

impl OnePhase {
    pub(crate) fn new(url: &str, phase: &str) -> Self {
        Self {
            url: url.to_owned(),
            top: String::new(),
            target: String::new(),
            phase: phase.to_owned(),
            step: r#"{ name = "home", get = "/" }"#.to_owned(),
            end: String::new(),
            validity: "judge = false".to_owned(),
        }
    }

    pub(crate) fn text(&self) -> String {
        let Self { url, top, target, phase, step, end, validity } = self;
        format!(
            r#"name = "test"
seed = 7
run-phases = ["baseline"]
{top}

[targets.shop]
url = "{url}"
{target}

[[scenarios]]
guest = "http"
target = "shop"
config.steps = [{step}]

[phases.baseline]
{phase}

[validity]
{validity}

{end}
"#
        )
    }
}

/// The only phase of a summary.
pub(crate) fn phase(summary: &Value) -> &Value {
    &summary["phases"][0]
}

/// A count of a phase.
pub(crate) fn count(phase: &Value, name: &str) -> u64 {
    phase["arrivals"][name].as_u64().unwrap_or_else(|| panic!("{name} in {}", phase["arrivals"]))
}

/// Requirement R9.3 holds in a phase.
pub(crate) fn assert_closes(phase: &Value) {
    let n = |name: &str| count(phase, name);
    let all = &phase["arrivals"];
    assert_eq!(n("scheduled"), n("dropped") + n("waiting") + n("started"), "scheduled: {all}");
    assert_eq!(
        n("started"),
        n("answered") + n("failed") + n("cancelled") + n("in_flight") + n("unaccounted"),
        "started: {all}"
    );
    assert_eq!(n("unaccounted"), 0, "{all}");
}
