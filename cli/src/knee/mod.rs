//! `gauntlet knee`: the highest rate at which a plan's thresholds hold.
//!
//! Each stage is a run of its own, done as `gauntlet run` does it, by the same services: its figures are those that a run would
//! have. [`stage_plan`] makes its plan, [`judge`] says how it came out, [`search`] which comes next, [`result`] what all of them
//! say, [`show`] how the terminal tells it. Between a stage that failed and the next one the target is given time: short runs at
//! the lowest rate that was kept show when it is well again, to load-workers wherever they are.

mod asked;
mod judge;
mod page;
pub(crate) mod result;
mod search;
pub(crate) mod show;
mod stage_plan;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use protocol::event::Entry;
use report::summary::Summary;
use scheduler::verdict::code;
use service::telemetry::Telemetry;
use tracing::Instrument as _;

use crate::args::KneeArgs;
use crate::failure::Failure;
use crate::run::{
    CLOSING, Followed, Prepared, Progress, Run, Services, Session, Signals, block_on, closing, finish,
    log_to, prepare,
};
use crate::run_dir::{self, RunDir};
use crate::{output, run};
use asked::{Asked, ms};
use judge::Came;
use result::{Knee, Stage};
use search::{Found, Next, Purpose};
use stage_plan::Base;

/// What a run may need before and after its load, beside what its plan allows for checks and the last answers.
const AROUND: Duration = Duration::from_secs(5);

/// Searches, and gives the exit code.
///
/// # Errors
/// When no stage could be run, or the results could not be kept.
pub(crate) fn search(args: &KneeArgs) -> Result<u8, Failure> {
    let asked = Asked::read(args)?;
    let chosen = args.phase.map(crate::args::Phase::name);
    let overrides = plan::Overrides {
        seed: args.seed,
        only: args.only.clone(),
        phases: chosen.map(|phase| vec![phase]),
        ..plan::Overrides::default()
    };
    let plan = plan::load(&args.plan, &overrides)?;
    let mended = !plan.chaos.is_empty() || !plan.recovery.is_empty();
    let start = asked.start_per_second;
    let base = Base::new(plan, chosen, args.connections, start, asked.length(Purpose::Rise))?;
    let prepared = prepare(base.plan().clone(), &args.plan, &args.place)?;
    let search = Search { args, asked, base, mended };
    block_on(async |telemetry| search.run(prepared, telemetry).await)
}

struct Search<'a> {
    args: &'a KneeArgs,
    asked: Asked,
    base: Base,
    /// The plan has faults or recovery, which are left out.
    mended: bool,
}

/// A search under way.
struct Under<'a> {
    session: Session<'a>,
    prepared: Prepared,
    dir: PathBuf,
    knee: Knee,
}

/// How a run came to its end.
enum Measured {
    /// With a verdict.
    Run(Box<Summary>, Vec<Entry>, String),
    /// By a second signal, without one.
    AtOnce(u8),
}

/// Why a search ended before it was done.
enum Stopped {
    /// With what there is.
    Ended(u8, Vec<String>),
    /// At once.
    AtOnce(u8),
}

impl Search<'_> {
    async fn run(self, prepared: Prepared, telemetry: &mut Option<Telemetry>) -> Result<u8, Failure> {
        let mut signals = Signals::listen()?;
        let mut plan = self.base.plan().clone();
        plan.name.push_str(" knee");
        let dir = run_dir::create(&prepared.report_dir, &plan)?;
        *telemetry = log_to(&dir.join("gauntlet.log"), &self.args.place.traces);
        let services = match Services::open(&prepared, &self.args.place.nats, &dir).await {
            Ok(services) => services,
            Err(failure) => {
                run_dir::remove(&dir);
                return Err(failure);
            }
        };
        let knee = Knee {
            format: "gauntlet-knee/1".to_owned(),
            gauntlet: env!("CARGO_PKG_VERSION").to_owned(),
            name: prepared.plan.name.clone(),
            phase: self.base.phase().name.name().to_owned(),
            connections: self.base.phase().connections,
            thresholds: self.base.thresholds(),
            asked: self.asked.clone(),
            lasted_ms: 0,
            conclusion: None,
            stages: Vec::new(),
        };
        let session = Session { services: &services, signals: &mut signals, telemetry: telemetry.as_ref() };
        let mut under = Under { session, prepared, dir, knee };
        let done = self.stages(&mut under).await;
        run_dir::withdraw(&under.dir);
        let Under { knee, dir, .. } = under;
        let ended = self.close(knee, &dir, done);
        let left = match &ended {
            // Not even for the services and for spans is anybody waited for.
            Ok((_, true)) => {
                *telemetry = None;
                Vec::new()
            }
            _ => services.stop("the search is over", CLOSING).await,
        };
        match ended {
            Ok((code, _)) => finish(code, None, left),
            // What brought a service down says more than that it is gone.
            Err(failure) => Err(run::worst(left.into_iter().chain([failure]))
                .unwrap_or_else(|| Failure::bug("a failure without a failure"))),
        }
    }

    /// Keeps and shows what was found: the exit code, and whether to end at once.
    fn close(
        &self,
        mut knee: Knee,
        dir: &Path,
        done: Result<Option<Stopped>, Failure>,
    ) -> Result<(u8, bool), Failure> {
        let (ended, at_once, failure) = match done {
            Ok(None) => (None, false, None),
            Ok(Some(Stopped::Ended(code, why))) => (Some((code, why)), false, None),
            Ok(Some(Stopped::AtOnce(code))) => {
                (Some((code, vec!["ended at once, in the middle of a stage".to_owned()])), true, None)
            }
            Err(failure) => (Some((failure.code(), vec![failure.to_string()])), false, Some(failure)),
        };
        if knee.stages.is_empty()
            && let Some(failure) = failure
        {
            if run_dir::all(dir)?.is_empty() {
                run_dir::remove(dir);
            } else {
                output::note(&format!("what there is: {}", dir.display()));
            }
            return Err(failure);
        }
        knee.conclude(ended);
        knee.keep(dir)?;
        if self.args.json {
            output::line(&knee.json()?);
        } else {
            output::print(&show::ending(&knee));
            output::line(&format!(
                "report: {} · with a report of each stage in a directory beside it",
                dir.join(result::PAGE).display()
            ));
        }
        match (failure, &knee.conclusion) {
            (Some(failure), _) => Err(failure),
            (None, Some(conclusion)) => {
                closing::note_reasons(self.args.json, conclusion.exit_code, &conclusion.why);
                Ok((conclusion.exit_code, at_once))
            }
            (None, None) => Err(Failure::bug("a search without an end")),
        }
    }

    /// Runs stages until the search is done; why it ended before, if it did.
    async fn stages(&self, under: &mut Under<'_>) -> Result<Option<Stopped>, Failure> {
        let began = Instant::now();
        let plan = &under.prepared.plan;
        let around = plan.control.validate_timeout + plan.load.grace + AROUND;
        let bound = self.asked.bound(around);
        self.say(show::beginning(&under.knee, &bound).trim_end());
        if self.mended {
            self.say("  the plan's faults and recovery are left out: they would change what is measured");
        }
        if !under.prepared.plan.validity.judge {
            self.say("  validity.judge = false: a stage counts although the generator was the limit");
        }
        self.say(&format!("  {} · `gauntlet control` reaches the stage under way", under.dir.display()));
        self.say(&format!("\n{}", show::head()));
        loop {
            let Next::Stage { purpose, rate } = search::next(&self.asked.limits(), &under.knee.tried())
            else {
                return Ok(None);
            };
            if let Some(stopped) = self.cool_down(under).await? {
                return Ok(Some(stopped));
            }
            if began.elapsed() > bound.all {
                let why = "the longest time that a search may take is over".to_owned();
                return Ok(Some(Stopped::Ended(code::ABORTED, vec![why])));
            }
            let stopped = self.stage(under, purpose, rate).await?;
            under.knee.lasted_ms = ms(began.elapsed());
            under.knee.keep(&under.dir)?;
            if stopped.is_some() {
                return Ok(stopped);
            }
        }
    }

    /// Runs one stage and notes how it came out.
    async fn stage(
        &self,
        under: &mut Under<'_>,
        purpose: Purpose,
        rate: f64,
    ) -> Result<Option<Stopped>, Failure> {
        let number = under.knee.stages.len() + 1;
        let what = format!("{number:02} {} {rate}", purpose.name());
        let (summary, history, run) =
            match self.measure(under, &what, rate, self.asked.length(purpose)).await? {
                Measured::Run(summary, history, run) => (summary, history, run),
                Measured::AtOnce(code) => return Ok(Some(Stopped::AtOnce(code))),
            };
        match judge::judge(&under.prepared.plan.validity, &summary, &history) {
            Came::Ended { code, why } => Ok(Some(Stopped::Ended(code, why))),
            Came::Judged { found, why } => {
                let stage = Stage::new((purpose, rate), (found, why), &summary, run);
                self.say(&show::line(number, &stage));
                under.knee.stages.push(stage);
                Ok(None)
            }
        }
    }

    /// After a stage that was not kept: waits until the target keeps the lowest rate again that it has kept before.
    async fn cool_down(&self, under: &mut Under<'_>) -> Result<Option<Stopped>, Failure> {
        let kept = under.knee.stages.iter().filter(|stage| stage.found == Found::Kept);
        let lowest = kept.map(|stage| stage.rate_per_second).reduce(f64::min);
        let failed = under.knee.stages.last().filter(|stage| stage.found != Found::Kept);
        let (Some(rate), Some(failed)) = (lowest, failed) else { return Ok(None) };
        let failed = failed.rate_per_second;
        let began = Instant::now();
        let number = under.knee.stages.len();
        loop {
            let what = format!("{number:02} cool-down {rate}");
            let (summary, history) = match self.measure(under, &what, rate, self.asked.calm()).await? {
                Measured::Run(summary, history, _) => (summary, history),
                Measured::AtOnce(code) => return Ok(Some(Stopped::AtOnce(code))),
            };
            let (code, seen) = match judge::judge(&under.prepared.plan.validity, &summary, &history) {
                // That the generator is slow at times is no illness of the target.
                Came::Judged { found, .. }
                    if found == Found::Kept
                        || found == Found::Generator && judge::thresholds_held(&summary) =>
                {
                    if let Some(stage) = under.knee.stages.last_mut() {
                        stage.cool_down_ms = Some(ms(began.elapsed()));
                    }
                    return Ok(None);
                }
                Came::Judged { found: Found::Generator, why } => (code::INVALID, why),
                Came::Judged { why, .. } => (code::ENVIRONMENT, why),
                // A target that does not even answer the checks before the load is not well yet.
                Came::Ended { code: code::ENVIRONMENT, why } => (code::ENVIRONMENT, why),
                Came::Ended { code, why } => return Ok(Some(Stopped::Ended(code, why))),
            };
            let longest = self.asked.cool_down();
            if began.elapsed() >= longest {
                let (seen, longest) = (seen.join("; "), plan::units::print_duration(longest));
                let why = if code == code::INVALID {
                    format!(
                        "after the stage at {failed}/s the generator could not even measure {rate}/s within {longest}: {seen}; \
                         look what else runs on its machine"
                    )
                } else {
                    format!(
                        "after the stage at {failed}/s the target did not keep {rate}/s again within {longest}: {seen}; look at \
                         the target, or give it longer with --cool-down"
                    )
                };
                return Ok(Some(Stopped::Ended(code, vec![why])));
            }
        }
    }

    /// Has a run done at this rate, and writes its report.
    async fn measure(
        &self,
        under: &mut Under<'_>,
        what: &str,
        rate: f64,
        length: Duration,
    ) -> Result<Measured, Failure> {
        let Under { session, prepared, dir: searching, .. } = under;
        prepared.plan = self.base.stage(what, rate, length);
        let title = format!("{what}/s");
        let mut dir = RunDir::create(searching, &prepared.plan)?;
        let mut progress = Progress::of_stage(&prepared.plan, title, self.is_silent());
        let run = match session.follow(prepared, &mut dir, searching, &mut progress).await {
            Ok(run) => run,
            Err(failure) => {
                if !dir.began() {
                    run_dir::remove(dir.path());
                }
                return Err(failure);
            }
        };
        let Run { id, followed, root } = run;
        let history = match followed {
            Followed::AtOnce(code) => return Ok(Measured::AtOnce(code)),
            Followed::Ended { history, .. } => history,
        };
        let reported = closing::write(prepared, id, history.clone(), session.services, &dir);
        let reported = reported.instrument(root).await;
        if let Some(problem) = reported.problem {
            return Err(problem);
        }
        let name = dir.path().file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Measured::Run(Box::new(reported.summary), history, name.unwrap_or_default()))
    }

    const fn is_silent(&self) -> bool {
        self.args.quiet || self.args.json
    }

    fn say(&self, text: &str) {
        if !self.is_silent() {
            output::note(text);
        }
    }
}
