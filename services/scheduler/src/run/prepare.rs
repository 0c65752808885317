//! Before the first phase: processes, workers, monitoring, and the names that thresholds speak of.

use std::sync::Arc;

use futures::future::join_all;
use plan::model::PhaseName;
use protocol::event::{Event, ScenarioNames};
use protocol::id::WorkerId;
use protocol::v1;

use super::fleet::Member;
use super::{Run, Trouble, during};
use crate::decision::thresholds::{Scope, Watched};
use crate::division::{Strength, segments, weights};
use crate::links::LinkError;
use crate::validation::Check;
use crate::verdict::{Reason, code};
use crate::workers::Worker;

impl Run {
    pub(super) async fn prepare(&mut self) -> Result<(), Trouble> {
        let ctx = Arc::clone(&self.ctx);
        let start = self.processes.start(&ctx.plan, &ctx.base_dir, &ctx.run_dir, &ctx.history);
        during(&mut self.inbox, &ctx, &[], "the plan's processes are being started", start).await?;
        let platform_dir = self.processes.state_dir();
        let chaos = self.bystanders.open_chaos(&ctx, &platform_dir);
        during(&mut self.inbox, &ctx, &[], "chaos looks what can be done here", chaos).await?;

        let workers = self.find_workers().await?;
        self.prepare_workers(&workers, ctx.plan.control.validate).await?;
        self.names = names(&ctx.plan, &ctx.files, &self.steps);
        ctx.history
            .append(Event::WorkersReady {
                workers: u32::try_from(self.fleet.len()).unwrap_or(u32::MAX),
                load_threads: self.fleet.load_threads(),
                scenarios: self.names.clone(),
            })
            .await?;
        self.resolve_thresholds()?;
        let steps = self.steps.clone();

        let watch = async {
            let watched = self.processes.watched(&ctx.plan).await;
            ctx.metrics.watch(&ctx.plan_digest, watched, steps).await.map_err(Trouble::Metrics)
        };
        let doing = "the monitoring is being set up";
        self.watching = true;
        let vital = self.indispensable();
        during(&mut self.inbox, &ctx, &vital, doing, watch).await?;
        let recovery = self.bystanders.open_recovery(&ctx, &platform_dir);
        during(&mut self.inbox, &ctx, &vital, "recovery is being set up", recovery).await
    }

    /// Waits for as many workers as there are to be; fewer than that are taken, none is a failed check.
    async fn find_workers(&mut self) -> Result<Vec<Worker>, Trouble> {
        let ctx = Arc::clone(&self.ctx);
        let control = &ctx.plan.control;
        let find = async {
            let (silence, wait) = (control.worker_timeout, control.validate_timeout);
            Ok(ctx.workers.wait_for(ctx.least_workers.max(1), silence, wait).await)
        };
        let workers = during(&mut self.inbox, &ctx, &[], "waiting for load-workers", find).await?;
        if !workers.is_empty() {
            return Ok(workers);
        }
        let timeout = control.validate_timeout;
        let check = Check::no_worker(timeout);
        let first = ctx.phases.first().map_or(PhaseName::Idle, |phase| phase.name);
        let reason = check.reason(first);
        ctx.history.append(check.event(0)).await?;
        Err(Trouble::Reason(reason))
    }

    /// Prepares workers and takes them into the fleet. `trial`: they play a turn of each scenario before. That is for a run
    /// that has not begun: what faults did to a target meanwhile says nothing of the plan.
    pub(super) async fn prepare_workers(&mut self, workers: &[Worker], trial: bool) -> Result<(), Trouble> {
        let ctx = Arc::clone(&self.ctx);
        let strengths: Vec<Strength> = workers.iter().map(|worker| Strength::of(&worker.beat)).collect();
        let detours = self.bystanders.detours();
        let commands = workers
            .iter()
            .zip(segments(&weights(&strengths)))
            .map(|(worker, segment)| ctx.load.prepare(worker.id, ctx.bundle(&detours), segment, trial));
        let prepared = async { Ok(join_all(commands).await) };
        let doing = "load-workers fetch and compile guests, and try them";
        // A worker that compiles still sends heartbeats: they come from a thread of their own.
        let vital: Vec<WorkerId> =
            if ctx.apart { Vec::new() } else { workers.iter().map(|worker| worker.id).collect() };
        let replies = during(&mut self.inbox, &ctx, &vital, doing, prepared).await?;
        let (mut reasons, mut lost) = (Vec::new(), Vec::new());
        for (worker, reply) in workers.iter().zip(replies) {
            match reply {
                // Whoever died meanwhile is not needed, as long as others are there.
                Err(error @ LinkError::Lost { .. }) if ctx.apart => lost.push(error),
                Err(error) => reasons.push(worker_reason(&error)),
                Ok(reply) => {
                    for reason in reply.problems.iter().map(problem_reason) {
                        // Mostly all workers find the same.
                        if !reasons.contains(&reason) {
                            reasons.push(reason);
                        }
                    }
                    if self.steps.is_empty() {
                        self.steps.clone_from(&reply.scenarios);
                    }
                    if self.steps != reply.scenarios && reply.problems.is_empty() {
                        let text =
                            format!("load-worker {} reads other steps from the same guests", worker.id);
                        reasons.push(Reason::new(code::BUG, text));
                    }
                    if ctx.apart {
                        ctx.history.append(worker.joined(&reply)).await?;
                    }
                    self.fleet.admit(Member::new(worker, &reply));
                }
            }
        }
        if self.fleet.is_empty() {
            reasons.extend(lost.iter().map(worker_reason));
        }
        if reasons.is_empty() { Ok(()) } else { Err(Trouble::Reasons(reasons)) }
    }

    /// Resolves what thresholds are limited to; the steps' names are known only now.
    pub(super) fn resolve_thresholds(&mut self) -> Result<(), Trouble> {
        let ctx = Arc::clone(&self.ctx);
        let mut problems = Vec::new();
        let mut resolve = |threshold, scope| match Watched::new(threshold, scope, &ctx.plan, &self.names) {
            Ok(watched) => Some(watched),
            Err(problem) => {
                problems.push(Reason::new(code::BAD_INPUT, problem));
                None
            }
        };
        self.thresholds =
            ctx.plan.thresholds.iter().filter_map(|threshold| resolve(threshold, Scope::Run)).collect();
        self.phase_thresholds = (0_u32..)
            .zip(&ctx.phases)
            .map(|(index, phase)| {
                let scope = Scope::Phase(index);
                phase.thresholds.iter().filter_map(|threshold| resolve(threshold, scope)).collect()
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(Trouble::Reasons(problems)) }
    }
}

/// Names of scenarios and their parts for the history.
fn names(plan: &plan::Plan, files: &[v1::BundleFile], steps: &[v1::ScenarioSteps]) -> Vec<ScenarioNames> {
    plan.scenarios
        .iter()
        .enumerate()
        .map(|(index, scenario)| {
            let parts = steps.get(index).cloned().unwrap_or_default();
            let file = format!("guest:{index}");
            let digest = files.iter().find(|one| one.name == file).map_or("", |one| one.digest.as_str());
            let guest = match &scenario.guest {
                plan::model::GuestRef::Name { name, .. } => format!("{name} {digest}"),
                plan::model::GuestRef::Digest(digest) => digest.clone(),
                plan::model::GuestRef::Path { path, .. } => format!("{} {digest}", path.display()),
            };
            ScenarioNames {
                scenario: scenario.name.clone(),
                guest,
                steps: parts.steps,
                checks: parts.checks,
                metrics: parts.metrics,
            }
        })
        .collect()
}

/// A problem of a worker, or of another service, as a reason: what the user wrote is bad input, what the host lacks is the environment.
pub(super) fn problem_reason(problem: &v1::Problem) -> Reason {
    let code = match problem.kind.as_str() {
        "environment" => code::ENVIRONMENT,
        _ => code::BAD_INPUT,
    };
    let mend = if problem.mend.is_empty() { String::new() } else { format!(": {}", problem.mend) };
    Reason::new(code, format!("{}{mend}", problem.message))
}

/// A worker that did not do as told: lost ends the run as aborted, a refusal is its host's.
pub(super) fn worker_reason(error: &LinkError) -> Reason {
    let code = match error {
        LinkError::Lost { .. } => code::ABORTED,
        LinkError::Refused { .. } => code::ENVIRONMENT,
    };
    Reason::new(code, error.to_string())
}
