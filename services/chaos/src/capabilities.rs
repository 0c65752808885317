//! What can be done here, and what cannot, with why.

use std::collections::BTreeMap;

use plan::Plan;
use plan::model::{Recipe, RecipeKind};
use protocol::faults::CapabilityView;

use crate::backends::backend;
use crate::backends::instances::Instances;
use crate::backends::toxics::reads_http;
use crate::schedule::Item;

/// What was found when the run was opened.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Whether there is a fault agent; or why not.
    pub(crate) agent: Result<(), String>,
    /// The plan's processes; or why they are not known.
    pub(crate) instances: Result<Instances, String>,
    /// Whether there is a fault proxy; or why not.
    pub(crate) proxy: Result<(), String>,
}

impl Found {
    /// Why a fault cannot be injected on this host; `None` = it can.
    pub(crate) async fn obstacle(&self, plan: &Plan, item: &Item) -> Option<String> {
        let recipe = &item.fault.recipe;
        let agent = || self.agent.as_ref().err().cloned();
        match recipe.kind() {
            RecipeKind::Network => {
                let secure = item.planned.victims.iter().find(|url| url.starts_with("https://"));
                if let Some(url) = secure.filter(|_| reads_http(recipe)) {
                    let name = recipe.name();
                    return Some(format!(
                        "{name} reads what is said, and {url} is TLS; take a recipe for connections, such as latency or reset"
                    ));
                }
                self.proxy.as_ref().err().cloned()
            }
            RecipeKind::Process => {
                let instances = match &self.instances {
                    Ok(instances) => instances,
                    Err(why) => return Some(why.clone()),
                };
                if matches!(recipe, Recipe::ClockSkew { .. }) {
                    return match agent() {
                        None => clocks(instances, plan, item).await,
                        why => why,
                    };
                }
                agent().filter(|_| !matches!(recipe, Recipe::Restart))
            }
            RecipeKind::Host => match recipe {
                Recipe::DiskFull { path, .. } if !path.is_dir() => Some(format!(
                    "{} is no directory of this host; name one of the file system that is to be filled",
                    path.display()
                )),
                _ => agent(),
            },
        }
    }

    /// The recipes of these faults, and whether each can be done for at least one of them.
    pub(crate) fn views(items: &[(&Item, Option<String>)]) -> Vec<CapabilityView> {
        let mut views: BTreeMap<&str, CapabilityView> = BTreeMap::new();
        for (item, obstacle) in items {
            let recipe = &item.fault.recipe;
            let reason = obstacle.clone().unwrap_or_default();
            let view = views.entry(recipe.name()).or_insert_with(|| CapabilityView {
                recipe: recipe.name().to_owned(),
                backend: backend(recipe).to_owned(),
                available: false,
                reason: reason.clone(),
            });
            if obstacle.is_none() {
                view.available = true;
                view.reason = String::new();
            }
        }
        views.into_values().collect()
    }
}

/// Why the clocks of a fault's processes cannot be set off.
async fn clocks(instances: &Instances, plan: &Plan, item: &Item) -> Option<String> {
    let target = plan.targets.iter().find(|target| target.name == item.fault.target)?;
    for victim in &item.victims {
        let name = target.instances().get(*victim as usize)?;
        match instances.get(name).await.map(|instance| instance.clock) {
            Ok(Some(platform::Clock::Adjustable { .. })) => {}
            Ok(Some(platform::Clock::Fixed { why })) => return Some(why),
            Ok(None) => {
                return Some(format!("instance {name} was not started with a clock that can be set off"));
            }
            Err(error) => return Some(error.to_string()),
        }
    }
    None
}
