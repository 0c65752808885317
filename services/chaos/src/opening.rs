//! From the command `OpenChaos` to a run whose faults wait for their phases, or to all that stands against it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bus::News;
use fault_proxy::ProxyInput;
use plan::Plan;
use plan::model::{LoadModel, RecipeKind, Strategy};
use platform::Platform;
use platform::processes::Processes;
use protocol::event::Event;
use protocol::faults::PlannedFault;
use protocol::id::{IncarnationId, RunId};
use protocol::v1;
use service::Shutdown;

use crate::backends::instances::Instances;
use crate::backends::proxy::Proxy;
use crate::backends::proxy_process::ProxyCommand;
use crate::backends::{Backends, authority, proxy_name};
use crate::board::Board;
use crate::capabilities::Found;
use crate::journal::Journal;
use crate::run::Run;
use crate::schedule::Item;
use crate::scheduler_lost::LastHeard;
use crate::service::Service;

/// Faults that one entry of the history lists at most: it must fit a message of the bus.
const LISTED: usize = 200;

impl Service {
    /// Takes part in a run.
    ///
    /// # Errors
    /// What keeps it from beginning.
    pub(crate) async fn open_run(
        self: &Arc<Self>,
        id: RunId,
        command: &v1::OpenChaos,
    ) -> Result<Arc<Run>, Vec<v1::Problem>> {
        let left = self.agent.leftovers();
        if !left.is_empty() {
            return Err(left.iter().map(|(fault, detail)| self.leftover(fault, detail)).collect());
        }
        let plan = Arc::new(self.plan(&command.plan_digest).await?);
        let items = items(&plan)?;
        let instances = instances(&command.platform_dir);
        let needs_agent = items.iter().any(|item| item.fault.recipe.kind() != RecipeKind::Network);
        let agent = if needs_agent { self.agent.get().await.map(|_| ()) } else { Ok(()) };
        let left = self.agent.leftovers();
        if !left.is_empty() {
            return Err(left.iter().map(|(fault, detail)| self.leftover(fault, detail)).collect());
        }
        let mut found = Found { agent, instances, proxy: Ok(()) };
        let mut obstacles = Vec::new();
        for item in &items {
            obstacles.push(found.obstacle(&plan, item).await);
        }
        let possible = |(item, obstacle): (&Item, &Option<String>)| obstacle.is_none().then(|| item.clone());
        let possible: Vec<Item> = items.iter().zip(&obstacles).filter_map(possible).collect();
        let ways = ways(&plan, &possible);
        let proxy = match self.open_proxy(&plan, id, &ways).await {
            Ok(proxy) => proxy,
            Err(why) => {
                tracing::error!(why, "network faults cannot be injected");
                found.proxy = Err(why);
                for (item, obstacle) in items.iter().zip(&mut obstacles) {
                    *obstacle = obstacle.take().or(found.obstacle(&plan, item).await);
                }
                None
            }
        };
        let pairs: Vec<_> = items.iter().zip(obstacles.iter().cloned()).collect();
        let capabilities = Found::views(&pairs);
        let incarnation = IncarnationId::new().to_string();
        let backends = Backends {
            plan: Arc::clone(&plan),
            agent: Arc::clone(&self.agent),
            proxy,
            instances: found.instances.ok(),
            journal: Journal::open(&self.options.state_dir, &id.to_string()),
            lease: self.options.lease,
            prefix: incarnation.rsplit('-').next().unwrap_or_default().to_owned(),
        };
        let opened = self.opened(&plan, &backends, &ways, &items);
        // What is told of a fault is not lost: its writer waits for the log as long as this service is there.
        let news =
            News::start::<v1::FaultNews>("fault news", id, self.bus.clone(), &self.tasks, Shutdown::new());
        let run = Arc::new(Run {
            id,
            plan,
            plan_digest: command.plan_digest.clone(),
            bus: self.bus.clone(),
            clock: self.options.clock.clone(),
            tasks: self.tasks.clone(),
            board: Board::new(items.iter().cloned().map(Arc::new).collect()),
            news,
            backends,
            capabilities,
            opened,
            phase: Mutex::new(None),
            heard: LastHeard::now(),
        });
        run.tell_plan().await;
        run.settle_what_was_left().await;
        for (item, obstacle) in items.iter().zip(obstacles) {
            if let Some(why) = obstacle {
                run.skip(item, &why).await;
            }
        }
        Ok(run)
    }

    fn leftover(&self, fault: &str, detail: &str) -> v1::Problem {
        let message = format!("the fault {fault} of an earlier run is not undone: {detail}");
        let mend = format!(
            "undo it by hand and start the service anew; `gauntlet fault-agent check --state {}` shows what is left",
            self.agent.dir().display()
        );
        problem(message, mend, "environment")
    }

    async fn plan(&self, digest: &str) -> Result<Plan, Vec<v1::Problem>> {
        let environment = |message: String| vec![problem(message, String::new(), "environment")];
        let path = self.bus.fetch_object(digest).await;
        let path = path.map_err(|error| environment(format!("plan: {error}")))?;
        let text = tokio::fs::read_to_string(&path).await;
        let text = text.map_err(|error| environment(format!("plan: {}: {error}", path.display())))?;
        plan::parse(&text, Path::new("plan.toml")).map_err(of_plan)
    }

    async fn open_proxy(&self, plan: &Plan, run: RunId, ways: &Ways) -> Result<Option<Proxy>, String> {
        if ways.is_empty() {
            return Ok(None);
        }
        let listen = std::net::SocketAddr::new(self.options.proxy_address, 0).to_string();
        let mut proxies = Vec::new();
        for target in plan.targets.iter().filter(|target| ways.contains_key(&target.name)) {
            for (endpoint, url) in target.urls.iter().enumerate() {
                let upstream = authority(url).ok_or_else(|| format!("{url} has no host"))?;
                let name = proxy_name(&target.name, endpoint);
                proxies.push(ProxyInput::new(name, upstream).listening_on(&listen));
            }
        }
        let command = ProxyCommand {
            command: self.options.proxy.clone(),
            dir: self.options.state_dir.join("proxy"),
            address: self.options.proxy_address,
            lease: self.options.proxy_lease,
            seed: plan.seed,
        };
        Proxy::open(command, &run.to_string(), proxies, &self.tasks).await.map(Some)
    }

    fn opened(&self, plan: &Plan, backends: &Backends, ways: &Ways, items: &[Item]) -> v1::OpenChaosReply {
        let planned_json =
            items.iter().filter_map(|item| serde_json::to_string(&item.planned).ok()).collect();
        let mut reply = v1::OpenChaosReply { planned_json, ..v1::OpenChaosReply::default() };
        let Some(proxy) = &backends.proxy else { return reply };
        let (api, token) = proxy.api();
        reply.proxy_url = format!("http://{}", self.reached(&api));
        reply.proxy_token = token;
        let listening: BTreeMap<_, _> =
            proxy.proxies().into_iter().filter_map(|proxy| Some((proxy.name?, proxy.listen?))).collect();
        for target in &plan.targets {
            let Some(phases) = ways.get(&target.name) else { continue };
            for endpoint in 0..target.urls.len() {
                let Some(listen) = listening.get(&proxy_name(&target.name, endpoint)) else { continue };
                reply.detours.push(v1::Detour {
                    target: target.name.clone(),
                    endpoint: u32::try_from(endpoint).unwrap_or(u32::MAX),
                    address: self.reached(listen),
                    phases: phases.iter().copied().collect(),
                });
            }
        }
        reply
    }

    /// An address of the proxy as others reach it.
    fn reached(&self, address: &str) -> String {
        match (&self.options.proxy_host, address.rsplit_once(':')) {
            (Some(host), Some((_, port))) => format!("{host}:{port}"),
            _ => address.to_owned(),
        }
    }
}

impl Run {
    async fn tell_plan(&self) {
        let mut faults: Vec<PlannedFault> = self.board.views().into_iter().map(|view| view.planned).collect();
        let mut capabilities = self.capabilities.clone();
        loop {
            let rest = faults.split_off(faults.len().min(LISTED));
            let capabilities = std::mem::take(&mut capabilities);
            self.news.say(self.now(), Event::FaultsPlanned { faults, capabilities }).await;
            if rest.is_empty() {
                return;
            }
            faults = rest;
        }
    }
}

/// Targets whose load goes through the proxy, and in which phases.
type Ways = BTreeMap<String, BTreeSet<u32>>;

fn ways(plan: &Plan, items: &[Item]) -> Ways {
    let mut ways = Ways::new();
    for item in items.iter().filter(|item| item.fault.recipe.kind() == RecipeKind::Network) {
        ways.entry(item.fault.target.clone()).or_default().insert(item.planned.phase);
    }
    let loaded: Vec<u32> = (0..)
        .zip(&plan.phases)
        .filter(|(_, phase)| phase.model != LoadModel::None)
        .map(|(index, _)| index)
        .collect();
    for (target, recovery) in &plan.recovery {
        if recovery.strategy.contains(&Strategy::Failover) {
            ways.entry(target.clone()).or_default().extend(&loaded);
        }
    }
    ways
}

fn items(plan: &Plan) -> Result<Vec<Item>, Vec<v1::Problem>> {
    let placed = plan::chaos::schedule(plan).map_err(of_plan)?;
    Ok(placed.into_iter().filter_map(|placed| Item::placed(plan, placed)).collect())
}

fn instances(dir: &str) -> Result<Instances, String> {
    if dir.is_empty() {
        return Err("the plan has no processes of its own".to_owned());
    }
    let platform = Processes::open(Path::new(dir)).map_err(|error| {
        format!("{error}; chaos must run on the host of the plan's processes, and read {dir}")
    })?;
    let platform: Arc<dyn Platform> = Arc::new(platform);
    Ok(Instances::new(platform))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn of_plan(problems: plan::Problems) -> Vec<v1::Problem> {
    problems.0.iter().map(|one| problem(one.to_string(), one.mend.clone(), "plan")).collect()
}

fn problem(message: String, mend: String, kind: &str) -> v1::Problem {
    v1::Problem { message, mend, kind: kind.to_owned() }
}
