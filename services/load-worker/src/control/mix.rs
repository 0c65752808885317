//! Steps, checks and metrics of a scenario over all phases: a phase may override a scenario's configuration, and with it
//! its steps, but samples count by one list for the whole run.

use protocol::v1;
use sandbox::abi::Setup;
use serde_json::Value;

/// The names of a scenario's parts in the run, and where each phase's own are among them.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) steps: Vec<String>,
    pub(super) checks: Vec<String>,
    pub(super) metrics: Vec<String>,
}

/// Indices of one phase's parts among the run's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) steps: Vec<u32>,
    pub(super) checks: Vec<u32>,
    pub(super) metrics: Vec<u32>,
}

impl Names {
    /// Adds what a setup has and is not there yet.
    pub(super) fn add(&mut self, setup: &Setup) -> Mapped {
        Mapped {
            steps: intern(&mut self.steps, &setup.steps),
            checks: intern(&mut self.checks, &setup.checks),
            metrics: intern(&mut self.metrics, &setup.metrics),
        }
    }

    pub(super) fn message(&self) -> v1::ScenarioSteps {
        v1::ScenarioSteps {
            steps: self.steps.clone(),
            checks: self.checks.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

/// The n-th bearer of a name here is the n-th there.
fn intern(all: &mut Vec<String>, names: &[String]) -> Vec<u32> {
    let mut mapped = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        let before = names.iter().take(i).filter(|n| *n == name).count();
        let at = all.iter().enumerate().filter(|(_, n)| *n == name).nth(before).map(|(at, _)| at);
        let at = at.unwrap_or_else(|| {
            all.push(name.clone());
            all.len() - 1
        });
        mapped.push(at as u32);
    }
    mapped
}

/// A configuration with overrides merged in key by key; what is no object on both sides is replaced.
pub(super) fn merged(base: &Value, over: Option<&Value>) -> Value {
    match (base, over) {
        (_, None) => base.clone(),
        (Value::Object(base), Some(Value::Object(over))) => {
            let mut all = base.clone();
            for (key, value) in over {
                let value = base.get(key).map_or_else(|| value.clone(), |below| merged(below, Some(value)));
                all.insert(key.clone(), value);
            }
            Value::Object(all)
        }
        (_, Some(over)) => over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_keep_their_places_over_phases() {
        let mut all = Vec::new();
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(intern(&mut all, &own(&["a", "b", "a"])), [0, 1, 2]);
        assert_eq!(intern(&mut all, &own(&["c", "a", "b", "a"])), [3, 0, 1, 2]);
        assert_eq!(all, own(&["a", "b", "a", "c"]));
    }

    #[test]
    fn overrides_merge_key_by_key() {
        let base = json!({"retries": {"max": 3, "wait": "1s"}, "steps": [1, 2], "x": 1});
        let over = json!({"retries": {"max": 0}, "steps": [3], "y": null});
        let expected = json!({"retries": {"max": 0, "wait": "1s"}, "steps": [3], "x": 1, "y": null});
        assert_eq!(merged(&base, Some(&over)), expected);
        assert_eq!(merged(&base, None), base);
    }
}
