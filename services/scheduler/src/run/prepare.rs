//! Before the first phase: processes, workers, monitoring, and the names that thresholds speak of.

use std::sync::Arc;

use futures::future::join_all;
use plan::model::PhaseName;
use protocol::event::{Event, ScenarioNames};
use protocol::v1;

use super::{Run, Trouble, during};
use crate::decision::thresholds::{Scope, Watched};
use crate::links::LinkError;
use crate::validation::Check;
use crate::verdict::{Reason, code};
use crate::workers::{Worker, segments};

impl Run {
    pub(super) async fn prepare(&mut self) -> Result<(), Trouble> {
        let ctx = Arc::clone(&self.ctx);
        let start = self.processes.start(&ctx.plan, &ctx.base_dir, &ctx.run_dir, &ctx.history);
        during(&mut self.inbox, &ctx, &[], "the plan's processes are being started", start).await?;

        let workers = self.find_workers().await?;
        self.assigned = workers.iter().map(|worker| worker.id).collect();
        let steps = self.prepare_workers(&workers).await?;
        self.resolve_thresholds()?;

        let watch = async {
            let watched = self.processes.watched(&ctx.plan);
            ctx.metrics.watch(&ctx.plan_digest, watched, steps).await.map_err(Trouble::Metrics)
        };
        let doing = "the monitoring is being set up";
        self.watching = true;
        during(&mut self.inbox, &ctx, &self.assigned, doing, watch).await
    }

    /// Waits for at least one worker.
    async fn find_workers(&mut self) -> Result<Vec<Worker>, Trouble> {
        let ctx = Arc::clone(&self.ctx);
        let control = &ctx.plan.control;
        let find =
            async { Ok(ctx.workers.wait_for_any(control.worker_timeout, control.validate_timeout).await) };
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

    async fn prepare_workers(&mut self, workers: &[Worker]) -> Result<Vec<v1::ScenarioSteps>, Trouble> {
        let ctx = Arc::clone(&self.ctx);
        let threads: Vec<u32> = workers.iter().map(|worker| worker.load_threads).collect();
        let commands = workers
            .iter()
            .zip(segments(&threads))
            .map(|(worker, segment)| ctx.load.prepare(worker.id, &ctx.plan_digest, &ctx.files, segment));
        let prepared = async { Ok(join_all(commands).await) };
        let doing = "load-workers fetch and compile guests";
        // A worker that compiles still sends heartbeats: they come from a thread of their own.
        let replies = during(&mut self.inbox, &ctx, &self.assigned, doing, prepared).await?;
        let mut reasons = Vec::new();
        let mut first: Option<v1::PrepareRunReply> = None;
        for (worker, reply) in workers.iter().zip(replies) {
            match reply {
                Err(error) => reasons.push(worker_reason(&error)),
                Ok(reply) => {
                    reasons.extend(reply.problems.iter().map(problem_reason));
                    self.load_threads += reply.load_threads;
                    if let Some(first) = &first
                        && first.scenarios != reply.scenarios
                    {
                        let text =
                            format!("load-worker {} reads other steps from the same guests", worker.id);
                        reasons.push(Reason::new(code::BUG, text));
                    }
                    first.get_or_insert(reply);
                }
            }
        }
        if !reasons.is_empty() {
            return Err(Trouble::Reasons(reasons));
        }
        let steps = first.map(|reply| reply.scenarios).unwrap_or_default();
        self.names = names(&ctx.plan, &ctx.files, &steps);
        ctx.history
            .append(Event::WorkersReady {
                workers: u32::try_from(workers.len()).unwrap_or(u32::MAX),
                load_threads: self.load_threads,
                scenarios: self.names.clone(),
            })
            .await?;
        Ok(steps)
    }

    /// Resolves what thresholds are limited to; the steps' names are known only now.
    fn resolve_thresholds(&mut self) -> Result<(), Trouble> {
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

/// A worker's problem as a reason: what the user wrote is bad input, what the host lacks is the environment.
fn problem_reason(problem: &v1::Problem) -> Reason {
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
