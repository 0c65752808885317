//! Roll-outs: in which order services come, and one that takes a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rmcp::model::Tool;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Failure, Progress, tool, within};

/// Services of one order at most.
const MAX_SERVICES: u32 = 200;
/// Steps of a roll-out at most.
const MAX_STEPS: u32 = 1_000;
/// Milliseconds of a step at most.
const MAX_STEP_MS: u32 = 10_000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    #[schemars(length(min = 1, max = MAX_SERVICES))]
    services: Vec<Service>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Service {
    name: String,
    /// The services that it needs first.
    #[serde(default)]
    after: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Batches {
    /// Services of one batch need nothing of each other and each is in the first batch that it can be in; sorted by name.
    batches: Vec<Vec<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollOut {
    #[schemars(range(min = 1, max = MAX_STEPS))]
    steps: u32,
    /// How long each step takes.
    #[serde(default)]
    #[schemars(range(max = MAX_STEP_MS))]
    step_ms: u32,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct RolledOut {
    steps: u32,
}

pub(crate) fn tools() -> Vec<Tool> {
    vec![
        tool::<Order, Batches>("order", "Orders services into batches, each after those that it needs."),
        tool::<RollOut, RolledOut>("roll_out", "Rolls out in steps and tells the progress of each."),
    ]
}

pub(crate) fn order(Order { services }: &Order) -> Result<Batches, Failure> {
    within("services", services.len() as u64, 1, u64::from(MAX_SERVICES))?;
    let mut left: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for service in services {
        let after = service.after.iter().map(String::as_str).collect();
        if left.insert(&service.name, after).is_some() {
            return Err(Failure::Tool(format!("services: {:?} is there twice", service.name)));
        }
    }
    for (name, after) in &left {
        if let Some(missing) = after.iter().find(|after| !left.contains_key(*after)) {
            return Err(Failure::Tool(format!(
                "services: {name:?} is after {missing:?}, which is not there"
            )));
        }
    }
    let mut batches = Vec::new();
    while !left.is_empty() {
        let ready = |after: &BTreeSet<&str>| after.iter().all(|after| !left.contains_key(after));
        let batch: Vec<&str> = left.iter().filter(|(_, after)| ready(after)).map(|(name, _)| *name).collect();
        if batch.is_empty() {
            let names: Vec<&str> = left.into_keys().collect();
            return Err(Failure::Tool(format!("services: these wait for each other: {}", names.join(", "))));
        }
        left.retain(|name, _| !batch.contains(name));
        batches.push(batch.into_iter().map(Into::into).collect());
    }
    Ok(Batches { batches })
}

pub(crate) async fn roll_out(
    RollOut { steps, step_ms }: RollOut,
    progress: &Progress,
) -> Result<RolledOut, Failure> {
    within("steps", u64::from(steps), 1, u64::from(MAX_STEPS))?;
    within("step_ms", u64::from(step_ms), 0, u64::from(MAX_STEP_MS))?;
    for step in 1..=steps {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(u64::from(step_ms))) => {}
            () = progress.cancelled.cancelled() => {}
        }
        progress.done(step, steps).await?;
    }
    Ok(RolledOut { steps })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(services: &[(&str, &[&str])]) -> Result<Vec<Vec<String>>, String> {
        let service = |(name, after): &(&str, &[&str])| Service {
            name: (*name).to_owned(),
            after: after.iter().map(ToString::to_string).collect(),
        };
        match order(&Order { services: services.iter().map(service).collect() }) {
            Ok(batches) => Ok(batches.batches),
            Err(Failure::Tool(why)) => Err(why),
            Err(Failure::Unknown) => Err("unknown".into()),
        }
    }

    #[test]
    fn services_come_after_what_they_need() {
        let services: &[(&str, &[&str])] =
            &[("web", &["api"]), ("api", &["database", "cache"]), ("database", &[]), ("cache", &[])];
        assert_eq!(ordered(services).unwrap(), [vec!["cache", "database"], vec!["api"], vec!["web"]]);
    }

    #[test]
    fn what_cannot_be_ordered_is_named() {
        assert!(ordered(&[("a", &["b"]), ("b", &["a"]), ("c", &[])]).unwrap_err().contains("a, b"));
        assert!(ordered(&[("a", &["z"])]).unwrap_err().contains("\"z\""));
        assert!(ordered(&[("a", &[]), ("a", &[])]).unwrap_err().contains("twice"));
    }
}
