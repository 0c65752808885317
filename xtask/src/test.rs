//! `cargo xtask test`: installs what tests need and runs all of them.

use std::path::PathBuf;

use crate::guests;
use crate::paths::{cargo, root, run, target};
use crate::{bench, fuzz, proto, tools};

/// The one binary of the end-to-end tests.
pub(crate) const END_TO_END: &str = "end_to_end";

/// Dependency rules, generated code, formatting, lints, fuzz targets and the hot path's cost, then documentation, unit,
/// integration and end-to-end tests.
pub(crate) fn test() -> anyhow::Result<()> {
    let began = std::time::Instant::now();
    // Most of these say nothing for minutes when all is well.
    let stage = |what: &str| println!("test: {what} ({} s since the start)", began.elapsed().as_secs());
    stage("guests and servers");
    let environment = set_up()?;
    stage("generated code and dependencies");
    proto::check()?;
    // Advisories need a database from outside and are left to the user: `cargo deny check advisories`.
    run(std::process::Command::new(tools::cargo_deny()?).current_dir(root()).args([
        "--all-features",
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))?;
    stage("formatting and lints");
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    stage("build");
    build()?;
    stage("fuzz targets");
    fuzz::fuzz(fuzz::SECONDS)?;
    stage("instructions of the hot path");
    bench::tested_hot_path()?;
    let all = |what: &str, selection: &[&str], at_a_time: usize| {
        stage(what);
        let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
        tests.args(selection).envs(environment.iter().cloned());
        run(tests.env("RUST_TEST_THREADS", at_a_time.to_string()))
    };
    // Those that fail most, and say most when they do, stand last: where output is cut, it is cut in the middle.
    let tested = [
        all("documentation tests", &["--doc"], 2),
        // Most of their time they wait for what they have started.
        all("unit and integration tests", &["--lib", "--bins", "--test", "it"], 4),
        // These wait two thirds of their time; how many have a place at once is theirs to say (`tests/src/turn.rs`).
        all("end-to-end tests", &["--test", END_TO_END], 4),
    ];
    tested.into_iter().collect()
}

/// Guests and servers, and the variables by which tests find them.
pub(crate) fn set_up() -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    // Servers come over the network while guests are compiled.
    let (guests, servers) = std::thread::scope(|scope| {
        let servers = scope.spawn(servers);
        (guests::build(), servers.join())
    });
    guests?;
    let mut environment = servers.map_err(|_| anyhow::anyhow!("installing the servers panicked"))??;
    environment.push(("GAUNTLET_GUESTS", target()?.join("guests")));
    Ok(environment)
}

/// Servers, and the variables by which tests find them.
fn servers() -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    Ok(vec![
        ("GAUNTLET_TEST_AIMOCK", tools::aimock()?),
        ("GAUNTLET_LIBFAKETIME", tools::libfaketime()?),
        ("GAUNTLET_TEST_NGINX", tools::nginx()?),
        ("GAUNTLET_TEST_NATS", tools::nats()?),
        ("GAUNTLET_TEST_POSTGRES", tools::postgres()?),
        ("GAUNTLET_TEST_TOXIPROXY_CLIENT", tools::toxiproxy_client()?),
        ("GAUNTLET_TEST_MCP_SERVERS", tools::mcp_servers()?),
        ("GAUNTLET_TEST_FASTMCP", tools::fastmcp()?),
        ("GAUNTLET_TEST_MCP_CONFORMANCE", tools::mcp_conformance()?),
    ])
}

/// One selection of packages for all builds: with others, cargo unifies other features and compiles wasmtime anew. Neither examples nor
/// benchmarks: nothing here runs them.
pub(crate) const ALL: [&str; 4] = ["--workspace", "--lib", "--bins", "--tests"];

/// Builds what the tests run, and what they start.
pub(crate) fn build() -> anyhow::Result<()> {
    run(cargo(&["build"]).args(ALL))
}
