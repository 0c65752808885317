//! What carries faults out: the fault agent, the fault proxy, and the platform.

pub(crate) mod agent;
pub(crate) mod instances;
pub(crate) mod proxy;
pub(crate) mod proxy_process;
mod proxy_view;
pub(crate) mod toxics;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fault_agent::{Action, Take};
use plan::Plan;
use plan::model::{DiskFill, Fault, Recipe, RecipeKind};

use tokio::time::Instant;

use crate::agent_source::AgentSource;
use crate::journal::{Holding, Journal};
use crate::schedule::Item;
use agent::AgentBackend;
use instances::Instances;
use proxy::Proxy;
use toxics::deed;

/// How long the name of an endpoint may take to be resolved.
const RESOLVES: Duration = Duration::from_secs(5);
/// How long what was ended is tried to be started again.
const REVIVES: Duration = Duration::from_secs(15);
/// The pause between two such attempts.
const AGAIN: Duration = Duration::from_millis(500);
/// Letters of a fault's id that the agent's name of it repeats.
const SLUG: usize = 50;

/// Why a fault was not injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotInjected {
    /// Nothing was touched, or what was is undone.
    Refused(String),
    /// Something was touched, and could not be seen to be undone.
    Unrecovered(String),
}

impl fmt::Display for NotInjected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Refused(why) | Self::Unrecovered(why)) = self;
        formatter.write_str(why)
    }
}

/// A fault that ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broke {
    /// Why, in words.
    pub(crate) how: String,
}

/// A fault that was seen to be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Undone {
    /// What was read back.
    pub(crate) verified: String,
}

/// A fault that is there.
#[derive(Debug)]
pub(crate) enum Held {
    /// The agent holds it.
    Agent(agent::Held),
    /// The agent killed processes, which are to run at its end.
    Killed(agent::Held, Vec<String>),
    /// Processes were stopped, and are to run at once.
    Stopped(Vec<String>),
    /// The proxy holds it.
    Proxy(proxy::Held),
}

/// What carries out the faults of a run.
pub(crate) struct Backends {
    pub(crate) plan: Arc<Plan>,
    pub(crate) agent: Arc<AgentSource>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) instances: Option<Instances>,
    /// What has begun.
    pub(crate) journal: Journal,
    pub(crate) lease: Duration,
    /// Begins the agent's names of the run's faults: they are never used again.
    pub(crate) prefix: String,
}

/// What carries a recipe out, as people know it.
pub(crate) const fn backend(recipe: &Recipe) -> &'static str {
    match (recipe, recipe.kind()) {
        (Recipe::Restart, _) => "process driver",
        (_, RecipeKind::Network) => "fault proxy",
        (_, RecipeKind::Process | RecipeKind::Host) => "fault agent",
    }
}

/// The name of a target's proxy for an endpoint.
pub(crate) fn proxy_name(target: &str, endpoint: usize) -> String {
    format!("{target}-{endpoint}")
}

impl Backends {
    /// Injects a fault, and reads it back. That it begins is in the journal before anything is touched.
    pub(crate) async fn inject(&self, item: &Item) -> Result<(Held, String), NotInjected> {
        self.journal.begin(self.holding(item)).map_err(NotInjected::Refused)?;
        match item.fault.recipe.kind() {
            RecipeKind::Network => self.inject_network(item).await,
            RecipeKind::Process => self.inject_process(item).await,
            RecipeKind::Host => {
                let actions = self.host_actions(item).await.map_err(NotInjected::Refused)?;
                let (held, seen) = self.with_agent(item, actions).await?;
                Ok((Held::Agent(held), seen))
            }
        }
    }

    async fn inject_network(&self, item: &Item) -> Result<(Held, String), NotInjected> {
        let refused = |why: &str| NotInjected::Refused(why.to_owned());
        let proxy = self.proxy.as_ref().ok_or_else(|| refused("there is no fault proxy in this run"))?;
        let deed = deed(&item.fault.recipe).ok_or_else(|| refused("it is nothing that a proxy does"))?;
        let proxies = proxies(item);
        let (held, seen) = proxy.inject(item.id(), &deed, item.fault.toxicity, proxies, self.lease).await?;
        Ok((Held::Proxy(held), seen))
    }

    async fn inject_process(&self, item: &Item) -> Result<(Held, String), NotInjected> {
        let refused = NotInjected::Refused;
        let no_platform = || refused("the plan's processes are not known to chaos".to_owned());
        let instances = self.instances.as_ref().ok_or_else(no_platform)?;
        let names = self.processes(item);
        let running = instances.running(&names).await.map_err(refused)?;
        let victims = running.iter().map(|instance| instance.process.clone()).collect();
        match &item.fault.recipe {
            Recipe::Kill => {
                instances.expect_kill(&names).await.map_err(refused)?;
                match self.with_agent(item, vec![Action::Kill { victims }]).await {
                    Ok((held, seen)) => Ok((Held::Killed(held, names), seen)),
                    Err(why) => Err(self.revive(&names, why).await),
                }
            }
            Recipe::Restart => match instances.stop(&names).await {
                Ok(seen) => Ok((Held::Stopped(names), seen)),
                Err(why) => Err(self.revive(&names, refused(why)).await),
            },
            Recipe::ClockSkew { offset_ms } => {
                let clocks = instances::clocks(&running);
                let action = Action::Clock { clocks, offset_ms: *offset_ms };
                let (held, seen) = self.with_agent(item, vec![action]).await?;
                Ok((Held::Agent(held), seen))
            }
            _ => {
                let (held, seen) = self.with_agent(item, vec![Action::Pause { victims }]).await?;
                Ok((Held::Agent(held), seen))
            }
        }
    }

    /// After an attempt that failed: whatever it ended runs again.
    async fn revive(&self, names: &[String], why: NotInjected) -> NotInjected {
        match self.run_again(names).await {
            Ok(_) => why,
            Err(detail) => NotInjected::Unrecovered(format!("{why}; {detail}")),
        }
    }

    async fn host_actions(&self, item: &Item) -> Result<Vec<Action>, String> {
        let machine = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Ok(match &item.fault.recipe {
            Recipe::Cpu { cores } => {
                vec![Action::Cpu { threads: cores.of(u32::try_from(machine).unwrap_or(u32::MAX)) }]
            }
            Recipe::Memory { bytes } => vec![Action::Memory { bytes: *bytes }],
            Recipe::DiskFull { path, fill } => {
                let take = match fill {
                    DiskFill::Leave(bytes) => Take::AllBut(*bytes),
                    DiskFill::Take(bytes) => Take::Bytes(*bytes),
                };
                vec![Action::Disk { directory: path.clone(), take }]
            }
            Recipe::Connections { count } => {
                let mut actions = Vec::new();
                for victim in &item.victims {
                    let address = self.address(&item.fault, *victim as usize).await?;
                    actions.push(Action::Connections { address, count: *count });
                }
                actions
            }
            other => return Err(format!("{} is nothing that is done to a host", other.name())),
        })
    }

    /// Where an endpoint listens.
    async fn address(&self, fault: &Fault, endpoint: usize) -> Result<SocketAddr, String> {
        let target = self.plan.targets.iter().find(|target| target.name == fault.target);
        let url =
            target.and_then(|target| target.urls.get(endpoint)).ok_or("the plan has no such endpoint")?;
        let authority = authority(url).ok_or_else(|| format!("{url} has no host"))?;
        let found = tokio::time::timeout(RESOLVES, tokio::net::lookup_host(&authority)).await;
        let found = found.map_err(|_| format!("{authority} was not resolved within {RESOLVES:?}"))?;
        found
            .map_err(|error| format!("{authority}: {error}"))?
            .next()
            .ok_or_else(|| format!("{authority} has no address"))
    }

    async fn with_agent(
        &self,
        item: &Item,
        actions: Vec<Action>,
    ) -> Result<(agent::Held, String), NotInjected> {
        let agent = self.agent().await.map_err(NotInjected::Refused)?;
        let ids = self.agent_ids(item, actions.len());
        agent.inject(ids.into_iter().zip(actions).collect(), item.fault.duration).await
    }

    async fn agent(&self) -> Result<Arc<AgentBackend>, String> {
        self.agent.get().await
    }

    /// Ends what is still being injected, as far as that can be.
    pub(crate) async fn hasten(&self, item: &Item) {
        if backend(&item.fault.recipe) == "fault agent"
            && let Ok(agent) = self.agent().await
        {
            agent.hasten(&self.agent_ids(item, most_parts(item))).await;
        }
    }

    /// Waits until a fault has ended by itself.
    pub(crate) async fn broke(&self, held: &mut Held) -> Broke {
        match held {
            Held::Agent(held) | Held::Killed(held, _) => held.broke().await,
            Held::Stopped(_) => Broke { how: "what was stopped is started again".to_owned() },
            Held::Proxy(held) => match &self.proxy {
                Some(proxy) => proxy.broke(held).await,
                None => std::future::pending().await,
            },
        }
    }

    /// Undoes a fault, also one that has ended by itself, and reads back that it is gone; or says what is left.
    pub(crate) async fn undo(&self, held: Held) -> Result<Undone, String> {
        match held {
            Held::Agent(held) => self.agent().await?.undo(held).await,
            Held::Killed(held, names) => {
                let killed = self.agent().await?.undo(held).await;
                // Whatever the agent says: they are to run.
                let verified = self.run_again(&names).await?;
                killed.map(|_| Undone { verified })
            }
            Held::Stopped(names) => Ok(Undone { verified: self.run_again(&names).await? }),
            Held::Proxy(held) => match &self.proxy {
                Some(proxy) => proxy.undo(held).await,
                None => Err("there is no fault proxy any more".to_owned()),
            },
        }
    }

    /// Makes sure that processes run; tries again for a while where that fails.
    pub(crate) async fn run_again(&self, names: &[String]) -> Result<String, String> {
        let instances = self.instances.as_ref().ok_or("the plan's processes are not known to chaos")?;
        let until = Instant::now() + REVIVES;
        loop {
            match instances.run(names).await {
                Ok(verified) => return Ok(verified),
                Err(error) if Instant::now() >= until => return Err(error),
                Err(error) => tracing::warn!(error, "what was ended does not run yet; it is tried again"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// A fault as another life of this service will find it.
    fn holding(&self, item: &Item) -> Holding {
        let by_agent = backend(&item.fault.recipe) == "fault agent";
        let by_proxy = item.fault.recipe.kind() == RecipeKind::Network;
        let ends = matches!(item.fault.recipe, Recipe::Kill | Recipe::Restart);
        Holding {
            fault: item.id().to_owned(),
            target: item.fault.target.clone(),
            agent: if by_agent { self.agent_ids(item, most_parts(item)) } else { Vec::new() },
            proxies: if by_proxy { proxies(item) } else { Vec::new() },
            processes: if ends { self.processes(item) } else { Vec::new() },
        }
    }

    /// The processes that a fault hits.
    fn processes(&self, item: &Item) -> Vec<String> {
        let target = self.plan.targets.iter().find(|target| target.name == item.fault.target);
        let process = |victim: &u32| target.and_then(|target| target.instances().get(*victim as usize));
        item.victims.iter().filter_map(process).cloned().collect()
    }

    /// The agent's names of a fault: what it takes is less than what a plan may say.
    fn agent_ids(&self, item: &Item, parts: usize) -> Vec<String> {
        let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
        let slug: String = item.id().chars().take(SLUG).map(plain).collect();
        let whole = item.id().bytes().fold(0_u64, |hash, byte| draws::at(hash, u64::from(byte)));
        (0..parts).map(|part| format!("{}.{slug}.{whole:016x}.{part}", self.prefix)).collect()
    }
}

/// Into how many faults of the agent one may be divided.
fn most_parts(item: &Item) -> usize {
    item.victims.len().max(1)
}

/// The proxies of a fault's victims.
fn proxies(item: &Item) -> Vec<String> {
    item.victims.iter().map(|victim| proxy_name(&item.fault.target, *victim as usize)).collect()
}

/// Host and port of a URL.
pub(crate) fn authority(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if authority.is_empty() {
        return None;
    }
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let port = if scheme == "https" { 443 } else { 80 };
    Some(if has_port { authority.to_owned() } else { format!("{authority}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_host_and_port() {
        let found = |url| authority(url).unwrap();
        assert_eq!(found("http://127.0.0.1:8080/api?x"), "127.0.0.1:8080");
        assert_eq!(found("https://shop.example"), "shop.example:443");
        assert_eq!(found("http://[::1]/"), "[::1]:80");
        assert_eq!(found("http://user:word@shop:81"), "shop:81");
        assert_eq!(authority("nowhere"), None);
    }
}
