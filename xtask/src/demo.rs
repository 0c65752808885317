//! `cargo xtask demo`: everything a first look needs, then the seven phases against the reference target.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::paths::{cargo, root, run, target};
use crate::{guests, tools};

/// Programs of the reference system: each package and the programs in it that `examples/demo.toml` starts.
const TARGETS: [(&str, &[&str]); 3] = [
    ("core-services", &["core-services"]),
    ("circle-of-experts", &["experts", "orchestrator"]),
    ("mcp-cluster", &["mcp-cluster"]),
];
/// Ports of the reference system in `examples/demo.toml`: of these and all up to the last, the demo puts free ones in their place.
const FIRST_PORT: u16 = 18_080;
const LAST_PORT: u16 = 18_129;
/// From one try for free ports to the next.
const PORT_STEP: u16 = 1_000;

/// Builds, runs, and ends with gauntlet's own exit code.
pub(crate) fn demo() -> anyhow::Result<std::process::ExitCode> {
    guests::build()?;
    println!("demo: building gauntlet and the reference system (release)");
    run(cargo(&["build", "--release"]).args(released()))?;
    let target = target()?;
    let dir = target.join("demo");
    std::fs::create_dir_all(&dir)?;
    let plan =
        std::fs::read_to_string(root().join("examples/demo.toml")).context("read examples/demo.toml")?;
    let plan = with_programs(with_free_ports(plan)?, &target.join("release"))?;
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

/// The selection of packages for builds as released: with others, cargo unifies other features and compiles wasmtime anew.
pub(crate) fn released() -> impl Iterator<Item = &'static str> {
    let packages = std::iter::once("gauntlet").chain(TARGETS.iter().map(|(package, _)| *package));
    packages.flat_map(|package| ["--package", package])
}

/// The plan with the paths of the programs that were built.
fn with_programs(mut plan: String, dir: &Path) -> anyhow::Result<String> {
    for program in TARGETS.iter().flat_map(|(_, programs)| *programs) {
        let name = format!("command = [\"{program}\"");
        anyhow::ensure!(plan.contains(&name), "examples/demo.toml does not start {program}");
        let path = dir.join(program).display().to_string();
        plan = plan.replace(&name, &format!("command = [{path:?}"));
    }
    Ok(plan)
}

/// The plan with its own ports, else with all of them moved up to where nobody listens. None of those that the system gives to
/// connections (Linux: 32768 and up): one of the load's would take it while the target, killed, is away.
fn with_free_ports(plan: String) -> anyhow::Result<String> {
    let is_free = |by: u16| {
        (FIRST_PORT + by..=LAST_PORT + by).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
    };
    let moved = (0..14).map(|step| step * PORT_STEP).find(|by| is_free(*by));
    let by =
        moved.context("no free ports for the reference system: 50 from 18080 on, or 1000 to 13000 above")?;
    anyhow::ensure!(
        plan.contains(&FIRST_PORT.to_string()),
        "examples/demo.toml does not name port {FIRST_PORT}"
    );
    Ok((FIRST_PORT..=LAST_PORT)
        .fold(plan, |plan, port| plan.replace(&port.to_string(), &(port + by).to_string())))
}
