//! Faults that somebody asks for, or ends, while a phase runs.

use std::sync::Arc;
use std::time::Duration;

use plan::model::{Fault, RecipeKind};
use plan::units::print_duration;
use protocol::faults::FaultState;
use protocol::v1;
use tokio::time::Instant;

use crate::backends::instances::Instances;
use crate::capabilities::Found;
use crate::phase::Phase;
use crate::run::Run;
use crate::schedule::Item;

/// Faults that may be asked for by hand in one run.
const MOST: usize = 1_000;
/// How long the ends of faults are waited for.
const ENDED: Duration = Duration::from_secs(28);

impl Run {
    /// Injects a fault that somebody asks for; its id, or why not. Its victims are drawn, as those of the plan are.
    pub(crate) async fn inject_by_hand(
        self: &Arc<Self>,
        command: &v1::InjectFault,
    ) -> Result<String, String> {
        let phase = self.under_way().ok_or("no phase is under way: faults are injected while load runs")?;
        if self.board.by_hand() >= MOST {
            return Err(format!("{MOST} faults were asked for by hand in this run: more are not taken"));
        }
        let planned = self.plan.phases.get(phase.index as usize).ok_or("the plan has no such phase")?;
        let fault = plan::parse_fault(&command.fault_toml, &self.plan, planned.name);
        let fault = fault.map_err(|problems| problems.to_string())?;
        self.fits(&fault, &phase)?;
        self.has_way(&fault, &phase)?;
        let item = self.item(fault, &phase, &command.by)?;
        let found = self.found(item.fault.recipe.kind()).await;
        if let Some(why) = found.obstacle(&self.plan, &item).await {
            return Err(why);
        }
        let (id, item) = (item.id().to_owned(), Arc::new(item));
        self.board.add(Arc::clone(&item));
        self.try_begin(item).inspect_err(|why| {
            self.board.skip(&id, why);
        })?;
        Ok(id)
    }

    /// Ends a fault, or all; the ids of those that were seen to be gone.
    pub(crate) async fn stop_by_hand(&self, command: &v1::StopFault) -> Result<Vec<String>, String> {
        let by = if command.by.is_empty() { "unknown" } else { &command.by };
        let reason = format!("stopped by {by}");
        let ids = if command.fault.is_empty() {
            self.board.end_all(&reason)
        } else {
            self.board.end(&command.fault, &reason)?;
            vec![command.fault.clone()]
        };
        let ended = self.board.ended(&ids, ENDED).await;
        let lost: Vec<_> = ids.iter().filter(|id| !ended.contains(id)).collect();
        if let [id] = ids.as_slice()
            && !lost.is_empty()
        {
            let views = self.board.views();
            let view = views.iter().find(|view| view.planned.fault == *id);
            let state = view.map_or(FaultState::Planned, |view| view.state);
            let detail = view.map_or("", |view| view.detail.as_str());
            return match state {
                // It was asked to end before it was there.
                FaultState::Skipped => Ok(Vec::new()),
                _ => Err(format!("the fault {id} was not seen to be gone: {detail}")),
            };
        }
        Ok(ended)
    }

    /// It ends before its phase does. A phase that is held has no end that is known.
    fn fits(&self, fault: &Fault, phase: &Phase) -> Result<(), String> {
        let end = phase.t0 + phase.duration;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || fault.duration <= left {
            return Ok(());
        }
        Err(format!(
            "the fault would go on after its phase: found a duration of {}, and {} of the phase are left; shorten it",
            print_duration(fault.duration),
            print_duration(Duration::from_secs(left.as_secs()))
        ))
    }

    /// A network fault hits load that goes through the proxy.
    fn has_way(&self, fault: &Fault, phase: &Phase) -> Result<(), String> {
        if fault.recipe.kind() != RecipeKind::Network {
            return Ok(());
        }
        let there =
            |detour: &&v1::Detour| detour.target == fault.target && detour.phases.contains(&phase.index);
        if self.opened.detours.iter().any(|detour| there(&detour)) {
            return Ok(());
        }
        Err(format!(
            "in this phase the load goes to {} directly, and {} would hit nothing; a phase in which the plan has a network fault for it goes through the fault proxy",
            fault.target,
            fault.recipe.name()
        ))
    }

    fn item(&self, fault: Fault, phase: &Phase, by: &str) -> Result<Item, String> {
        let target = self.plan.targets.iter().find(|target| target.name == fault.target);
        let target = target.ok_or_else(|| format!("the plan has no target {}", fault.target))?;
        let mut id = fault.name.clone();
        let mut times = 1;
        while self.board.has(&id) {
            times += 1;
            id = format!("{}#{times}", fault.name);
        }
        let draw = draws::at(self.plan.seed, draws::text(&id));
        let victims = plan::chaos::victims(&fault, target.urls.len(), draw);
        let at = Instant::now().saturating_duration_since(phase.t0);
        let by = if by.is_empty() { "unknown" } else { by };
        Item::new(&self.plan, fault, id, phase.index, at, victims, by)
            .ok_or_else(|| "the plan has no such target".to_owned())
    }

    /// What can be done now to such things.
    async fn found(&self, kind: RecipeKind) -> Found {
        let agent = match kind {
            RecipeKind::Network => Ok(()),
            RecipeKind::Process | RecipeKind::Host => self.backends.agent.get().await.map(|_| ()),
        };
        let instances: Option<Instances> = self.backends.instances.clone();
        let proxy = match &self.backends.proxy {
            Some(proxy) => proxy.given_up().map_or(Ok(()), Err),
            None => Err("there is no fault proxy in this run".to_owned()),
        };
        Found {
            agent,
            instances: instances.ok_or_else(|| "the plan's processes are not known to chaos".to_owned()),
            proxy,
        }
    }
}
