//! `cargo xtask demo`: everything a first look needs, then the seven phases against the reference target.

use std::net::TcpListener;
use std::process::Command;

use anyhow::Context as _;

use crate::paths::{cargo, root, run, target};
use crate::{guests, tools};

/// Port of the reference target in `examples/demo.toml`; the demo puts a free one in its place.
const PORT: &str = "18080";

/// Builds, runs, and ends with gauntlet's own exit code.
pub(crate) fn demo() -> anyhow::Result<std::process::ExitCode> {
    guests::build()?;
    println!("demo: building gauntlet and the reference target (release)");
    run(&mut cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "gauntlet",
        "--package",
        "core-services",
    ]))?;
    let target = target()?;
    let dir = target.join("demo");
    std::fs::create_dir_all(&dir)?;
    let port = free_port()?;
    let plan =
        std::fs::read_to_string(root().join("examples/demo.toml")).context("read examples/demo.toml")?;
    anyhow::ensure!(plan.contains(PORT), "examples/demo.toml does not name port {PORT}");
    let program = target.join("release/core-services");
    let plan = plan
        .replace(PORT, &port.to_string())
        .replace("\"core-services\"", &format!("{:?}", program.display().to_string()));
    let file = dir.join("demo.toml");
    std::fs::write(&file, plan)?;
    std::fs::copy(root().join("examples/items.csv"), dir.join("items.csv"))?;
    println!("demo: gauntlet run {}", file.display());
    let mut gauntlet = Command::new(target.join("release/gauntlet"));
    match tools::libfaketime() {
        Ok(library) => {
            gauntlet.env("GAUNTLET_LIBFAKETIME", library);
        }
        // The demo's plan sets no clock; one that does would be told.
        Err(error) => println!("demo: going on without libfaketime: {error:#}"),
    }
    let status = gauntlet
        .arg("run")
        .arg(&file)
        .arg("--report-dir")
        .arg(dir.join("runs"))
        .env("GAUNTLET_GUESTS", target.join("guests"))
        .status()
        .context("start gauntlet")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(std::process::ExitCode::from(code))
}

/// The plan's port, else the next one that nobody listens on. None of those that the system gives to connections
/// (Linux: 32768 and up): one of the load's would take it while the target, killed, is away.
fn free_port() -> anyhow::Result<u16> {
    let first: u16 = PORT.parse()?;
    let free = (first..first + 1_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.with_context(|| format!("none of the ports {first} to {} is free", first + 999))
}
