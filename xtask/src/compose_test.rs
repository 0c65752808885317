//! `cargo xtask compose-test`: starts compose.yaml for real, has a plan run across the containers, and takes it down again.
//!
//! There need be no registry: the engine is Debian's, in a network namespace of its own, and the images are stand-ins
//! ([`images`]). What is tested as it stands: compose.yaml, the programs, and every stage of the Dockerfile but the first.

mod engine;
mod file;
mod images;
mod needs;
mod stack;

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::guests;
use crate::paths::{cargo, run, target};
use engine::Engine;
use file::Compose;
use stack::Stack;

/// Packages with the programs of the images; the same selection as in the Dockerfile.
const PACKAGES: [&str; 9] = [
    "gauntlet",
    "scheduler",
    "metrics",
    "load-worker",
    "chaos",
    "recovery",
    "fault-agent",
    "fault-proxy",
    "core-services",
];
/// How long the whole stack may take until all of it is healthy.
const READY: Duration = Duration::from_secs(240);

/// Builds, starts, runs, looks, and takes everything away.
pub(crate) fn compose_test() -> anyhow::Result<()> {
    if !needs::all_there()? {
        return Ok(());
    }
    let compose = Compose::read()?;
    guests::build_named(&["http", "expert"])?;
    say("building the programs (release)");
    let mut build = cargo(&["build", "--release", "--locked"]);
    run(build.args(PACKAGES.iter().flat_map(|package| ["--package", package])))?;
    let work = target()?.join("compose-test");
    let rootfs = images::rootfs(&work)?;

    let engine = Engine::start(&work)?;
    let tested = test_on(&engine, &compose, &work, &rootfs);
    if tested.is_err() {
        engine.complain();
    }
    let closed = engine.close();
    tested?;
    closed?;
    say("the engine, its network namespace and its files are gone");
    Ok(())
}

fn test_on(
    engine: &Engine,
    compose: &Compose,
    work: &std::path::Path,
    rootfs: &std::path::Path,
) -> anyhow::Result<()> {
    say(&engine.versions()?);
    let began = Instant::now();
    images::build(engine, compose, work, rootfs)?;
    say(&format!("stand-in images built in {:.0} s", began.elapsed().as_secs_f64()));
    say("sizes of the images:");
    for (image, size) in images::sizes(engine, compose)? {
        println!("  {image:<32} {size}");
    }

    let stack = Stack::new(engine, compose);
    let took = stack.up(READY)?;
    say(&format!("all containers healthy {:.1} s after `up`", took.as_secs_f64()));
    let outcome = look(&stack);
    if outcome.is_err() {
        stack.complain();
    }
    let down = stack.down();
    outcome?;
    down?;
    say("`down -v` left no container, volume or network");
    Ok(())
}

fn look(stack: &Stack<'_>) -> anyhow::Result<()> {
    stack.is_confined().context("confinement")?;
    say(
        "all processes are without root and its capabilities; NATS and PostgreSQL are out of the target's reach",
    );
    stack.api_wants_its_token().context("the published API")?;
    say("the API answers on 127.0.0.1 alone, and only with its token");
    let rest = stack.memory()?;
    say("running seven phases across the containers (about two minutes)");
    let began = Instant::now();
    let verdict = stack.run_plan()?;
    say(&format!("the run ended after {:.0} s", began.elapsed().as_secs_f64()));
    print!("{verdict}");
    let after = stack.memory()?;
    say("memory of the containers without the page cache, before and after the run:");
    for (service, used) in &after {
        let before = rest.iter().find(|(name, _)| name == service).map_or("-", |(_, used)| used);
        println!("  {service:<16} {before:>10} {used:>10}");
    }
    stack.starts_again().context("a second `up`")?;
    say("a second `up` found the secrets and changed nothing");
    Ok(())
}

fn say(text: &str) {
    println!("compose-test: {text}");
}
