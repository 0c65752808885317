//! `cargo xtask bench`: measurements, each with what it needs.

mod guest;
mod hot_path;
mod load;
mod threads;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::demo::released;
use crate::paths::{cargo, root, run, target};
use crate::test;

pub(crate) use self::guest::guest;
pub(crate) use self::hot_path::{hot_path, tested_hot_path};
pub(crate) use self::load::{Options as LoadOptions, load};
pub(crate) use self::threads::threads;

/// What the services say to each other over NATS, by number of load-workers. `release`: as released, else as tests are
/// compiled.
pub(crate) fn control_plane(release: bool) -> anyhow::Result<()> {
    run(&mut measured("cost::control_plane", release)?)
}

/// What samples cost the metrics service, by number of load-workers, and whether it keeps up on one core; writes
/// `target/bench/samples.json`. `release`: as released, else as tests are compiled, where the service is not optimised at all.
pub(crate) fn samples(release: bool) -> anyhow::Result<()> {
    let dir = target()?.join("bench");
    std::fs::create_dir_all(&dir)?;
    run(measured("cost_of_samples::samples", release)?.env("GAUNTLET_BENCH_JSON", dir.join("samples.json")))
}

/// Times of experts' answers beside a server's own log and a raw client's clock; each fails when it is too far off.
pub(crate) fn experts() -> anyhow::Result<()> {
    run(&mut measured("expert::ttft_and_itl_are_those_of_the_log", false)?)?;
    run(&mut measured("expert::aimock_times::times_are_those_of_a_raw_client", false)?)
}

/// Builds, and the command that runs one of the end-to-end tests that only measure.
fn measured(name: &str, release: bool) -> anyhow::Result<Command> {
    let environment = test::set_up()?;
    let mut measure = Command::new(end_to_end(release)?);
    measure.args(["--ignored", "--nocapture", name]).envs(environment);
    Ok(measure)
}

/// Builds the programs of the package `bench`, and the suite's: as released, or as tests are compiled. Returns where they are.
fn programs(release: bool) -> anyhow::Result<PathBuf> {
    let mut build = cargo(&["build", "--quiet"]);
    let profile = if release {
        build.arg("--release").args(released()).args(["--package", "bench"]);
        "release"
    } else {
        build.args(test::ALL);
        "debug"
    };
    run(&mut build)?;
    Ok(target()?.join(profile))
}

/// Builds the programs and the executable of the end-to-end tests, and finds that. Asked for by its package alone, cargo would
/// unify other features and compile wasmtime anew.
fn end_to_end(release: bool) -> anyhow::Result<PathBuf> {
    let mut build = cargo(&["build", "--quiet"]);
    if release {
        // Nothing else of them has been, or will be, compiled as released.
        build.args(["--release", "--workspace", "--bins", "--test", test::END_TO_END]);
    } else {
        build.args(test::ALL);
    }
    let built = build
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo build")?;
    anyhow::ensure!(built.status.success(), "cargo build ended with {}", built.status);
    let manifest = root().join("tests/Cargo.toml");
    let artifacts = built.stdout.split(|byte| *byte == b'\n');
    artifacts
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .filter(|artifact| artifact["manifest_path"].as_str().map(PathBuf::from) == Some(manifest.clone()))
        .filter(|artifact| artifact["target"]["name"] == test::END_TO_END)
        .find_map(|artifact| artifact["executable"].as_str().map(PathBuf::from))
        .context("cargo build names no executable of the end-to-end tests")
}

/// What the fault proxy costs and how exact its times are: as released, because it is about microseconds.
pub(crate) fn fault_proxy() -> anyhow::Result<()> {
    let mut measure = cargo(&["test", "--quiet", "--release", "--package", "fault-proxy", "--test", "it"]);
    run(measure.args(["--", "--ignored", "--nocapture", "--test-threads=1", "cost::"]))
}
