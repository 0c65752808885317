//! The one place where what a guest says is checked before anybody acts on it.

use crate::abi::{self, Command, Output, Setup};

/// What indexes must stay below.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    users: u32,
    steps: u32,
    checks: u32,
    metrics: u32,
    methods: u32,
}

/// Names of each kind that a scenario may have. Each is a series with its histograms in every load thread.
const NAMES: usize = 256;

/// Checks a setup; the bounds are those of the outputs that go with it.
pub(crate) fn check_setup(setup: &Setup, users: u32) -> Result<Bounds, String> {
    let Setup { steps, checks, metrics, methods, feeds, expectations, .. } = setup;
    let bounds = Bounds {
        users,
        steps: count("steps", steps.len())?,
        checks: count("checks", checks.len())?,
        metrics: count("metrics", metrics.len())?,
        methods: count("methods", methods.len())?,
    };
    count("feeds", feeds.len())?;
    for feed in feeds {
        count("columns", feed.columns.len())?;
    }
    if let Some(method) = methods.iter().find(|method| !abi::is_header_name(method.as_bytes())) {
        return Err(format!("{method:?} is not an HTTP method"));
    }
    for expectation in expectations {
        within("an expectation's step", expectation.step, bounds.steps)?;
        within("an expectation's check", expectation.check, bounds.checks)?;
    }
    Ok(bounds)
}

fn count(what: &str, found: usize) -> Result<u32, String> {
    u32::try_from(found)
        .ok()
        .filter(|_| found <= NAMES)
        .ok_or_else(|| format!("the setup has {found} {what}, and {NAMES} are the limit"))
}

/// Checks an output whole.
pub(crate) fn check(output: &Output, bounds: Bounds) -> Result<(), String> {
    for request in &output.requests {
        within("a request's user", request.user, bounds.users)?;
        within("a request's step", request.step, bounds.steps)?;
        within("a request's method", request.method, bounds.methods)?;
        inside("a request's target", &output.arena, request.target)?;
        inside("a request's body", &output.arena, request.body)?;
        let mut headers = abi::headers(inside("a request's headers", &output.arena, request.headers)?);
        headers.by_ref().for_each(drop);
        if !headers.is_empty() {
            return Err(format!(
                "the headers of user {}'s request {} are cut off",
                request.user, request.seq
            ));
        }
    }
    for verdict in &output.verdicts {
        within("a verdict's user", verdict.user, bounds.users)?;
        within("a verdict's check", verdict.check, bounds.checks)?;
    }
    for finish in &output.finished {
        within("a finished user", finish.user, bounds.users)?;
    }
    output.commands.iter().try_for_each(|command| check_command(command, bounds))
}

fn check_command(command: &Command, bounds: Bounds) -> Result<(), String> {
    match command {
        Command::Cancel(request) => within("the user of a cancel", request.user, bounds.users),
        Command::WakeAt(wake) => within("the user of a wake-at", wake.user, bounds.users),
        Command::EndOperation(end) => within("the user of an end-operation", end.user, bounds.users),
        Command::CloseConnection(user) => within("the user of a close-connection", *user, bounds.users),
        Command::Observe(observation) => {
            within("an observation's step", observation.step, bounds.steps)?;
            within("an observation's metric", observation.metric, bounds.metrics)?;
            let value = observation.value;
            if value.is_finite() { Ok(()) } else { Err(format!("an observed value is {value}")) }
        }
    }
}

fn within(what: &str, found: u32, bound: u32) -> Result<(), String> {
    if found < bound { Ok(()) } else { Err(format!("{what} is {found}, and there are {bound}")) }
}

fn inside<'a>(what: &str, arena: &'a [u8], at: abi::Slice) -> Result<&'a [u8], String> {
    abi::slice(arena, at).ok_or_else(|| {
        format!("{what} is at {}, {} bytes long, in an arena of {}", at.off, at.len, arena.len())
    })
}
