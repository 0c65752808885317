//! `gauntlet mcp-conformance`: one session with a server of the Model Context Protocol, judged exchange by exchange.
//!
//! It is what the protocol's own conformance suite starts as the client under test. There is no client of its own in here: the
//! session is a run of the mcp guest with one user and one turn, by the services of `gauntlet run`. [`scenarios`] says what the
//! user does in each scenario of the suite, [`outcome`] what came of it.

mod outcome;
mod scenarios;

use std::path::Path;

use scheduler::verdict::code;
use service::telemetry::Telemetry;

use crate::args::{McpConformanceArgs, NatsArgs, PlaceArgs, TraceArgs};
use crate::failure::Failure;
use crate::output;
use crate::run::{
    CLOSING, Followed, Prepared, Progress, Run, Services, Session, Signals, block_on, closing, finish,
    log_to, prepare, worst,
};
use crate::run_dir::RunDir;
use scenarios::Part;

/// One user, one turn. What is looked at is what the guest says of each exchange, not how fast the machine is; and the server
/// is to see nothing but the session, so nobody asks it beforehand or beside it how it is.
const PLAN: &str = r#"
name = "mcp-conformance"
run-phases = ["baseline"]

[targets.server]
url = "http://127.0.0.1:1"
health = "http://127.0.0.1:1"

[[scenarios]]
guest = "mcp"

[phases.baseline]
rate = 1
duration = "1s"
max-users = 1
connections = 4

[load]
threads = 1
grace = "25s"

[validity]
judge = false

[control]
validate = false
"#;

/// Opens a session, does what the scenario wants, and gives the exit code.
///
/// # Errors
/// When the URL or the scenario is wrong, the guest is not there, or the session could not be run.
pub(crate) fn conform(args: &McpConformanceArgs) -> Result<u8, Failure> {
    let url = reqwest::Url::parse(&args.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| {
        Failure::input(format!(
            "URL: found {:?}, expected the address of a server, such as http://127.0.0.1:8801/mcp",
            args.url
        ))
    })?;
    let part = scenarios::part(args.scenario.as_deref(), args.context.as_deref())?;
    let temporary = tempfile::Builder::new().prefix("gauntlet-mcp-").tempdir().map_err(|error| {
        Failure::environment(format!(
            "no directory can be made under {}: {error}; free space there, or name another with TMPDIR",
            std::env::temp_dir().display()
        ))
    })?;
    let dir = args.report_dir.as_deref().unwrap_or_else(|| temporary.path());
    let file = temporary.path().join("mcp-conformance.toml");
    let mut plan = plan::parse(PLAN, &file).map_err(|problems| Failure::bug(problems.to_string()))?;
    plan.report.dir = dir.to_owned();
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let config = part.config(args.revision.as_deref(), &path);
    for target in &mut plan.targets {
        target.urls = vec![url.origin().ascii_serialization()];
    }
    for scenario in &mut plan.scenarios {
        scenario.config = config.clone();
    }
    let place = PlaceArgs { guests: args.guests.clone(), ..PlaceArgs::default() };
    let prepared = prepare(plan, &file, &place)?;
    block_on(async |telemetry| run(args, &part, prepared, telemetry).await)
}

async fn run(
    args: &McpConformanceArgs,
    part: &Part,
    prepared: Prepared,
    telemetry: &mut Option<Telemetry>,
) -> Result<u8, Failure> {
    let mut signals = Signals::listen()?;
    let mut dir = RunDir::create(&prepared.report_dir, &prepared.plan)?;
    *telemetry = log_to(&dir.path().join("gauntlet.log"), &TraceArgs::default());
    let services = Services::open(&prepared, &NatsArgs::default(), dir.path()).await?;
    let mut progress = Progress::new(&prepared.plan, true);
    let mut session = Session { services: &services, signals: &mut signals, telemetry: telemetry.as_ref() };
    let announced = dir.path().to_owned();
    let followed = session.follow(&prepared, &mut dir, &announced, &mut progress).await;
    let judged = match followed {
        Ok(Run { followed: Followed::AtOnce(code), .. }) => return Ok(code),
        Ok(Run { followed: Followed::Ended { history, .. }, id, .. }) => {
            let reported = closing::write(&prepared, id, history, &services, &dir).await;
            match reported.problem {
                Some(problem) => Err(problem),
                None => judge(args, part, &reported.summary, dir.path()),
            }
        }
        Err(failure) => Err(failure),
    };
    let left = services.stop("the session is over", CLOSING).await;
    match judged {
        Ok(code) => finish(code, None, left),
        Err(failure) => Err(worst(left.into_iter().chain([failure]))
            .unwrap_or_else(|| Failure::bug("a failure without a failure"))),
    }
}

/// Shows what came of the session: its exit code.
fn judge(
    args: &McpConformanceArgs,
    part: &Part,
    summary: &report::summary::Summary,
    dir: &Path,
) -> Result<u8, Failure> {
    match summary.exit_code {
        Some(code::PASSED) => {}
        // The session itself could not be had.
        code => {
            let why = summary.reasons.join("; ");
            return Err(Failure::with_code(code.unwrap_or(code::BUG), why));
        }
    }
    let outcome = outcome::Outcome::of(summary, part);
    output::print(&outcome.text());
    if args.report_dir.is_some() {
        output::line(&format!("report: {}", dir.join("report.html").display()));
    }
    Ok(if outcome.is_right() { code::PASSED } else { code::FAILED })
}
