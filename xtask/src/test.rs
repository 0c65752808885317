//! `cargo xtask test`: installs what tests need and runs all of them.

use crate::guests;
use crate::paths::{cargo, root, run, target};
use crate::{proto, tools};

/// Dependency rules, generated code, formatting, lints, then unit, integration, end-to-end and documentation tests.
pub(crate) fn test() -> anyhow::Result<()> {
    guests::build()?;
    let nginx = tools::nginx()?;
    let nats = tools::nats()?;
    let postgres = tools::postgres()?;
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
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    // One selection of packages for all builds: with others, cargo unifies other features and compiles wasmtime anew.
    run(&mut cargo(&["build", "--quiet", "--workspace", "--all-targets"]))?;
    run(cargo(&["test", "--workspace", "--no-fail-fast"])
        .env("GAUNTLET_GUESTS", target()?.join("guests"))
        .env("GAUNTLET_TEST_NGINX", nginx)
        .env("GAUNTLET_TEST_NATS", nats)
        .env("GAUNTLET_TEST_POSTGRES", postgres))
}
