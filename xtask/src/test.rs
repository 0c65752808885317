//! `cargo xtask test`: installs what tests need and runs all of them.

use crate::guests;
use crate::paths::{cargo, root, run, target};
use crate::{proto, tools};

/// Formatting, lints, generated code, unit and integration tests, then the end-to-end tests one at a time: they
/// measure, and must not measure each other.
pub(crate) fn test() -> anyhow::Result<()> {
    guests::build()?;
    let nginx = tools::nginx()?;
    proto::check()?;
    // Advisories need a database from outside and are left to the user: `cargo deny check advisories`.
    run(std::process::Command::new(tools::cargo_deny()?)
        .current_dir(root())
        .args(["--all-features", "--log-level", "error", "check", "bans", "licenses", "sources"]))?;
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    run(&mut cargo(&["build", "--quiet", "--package", "gauntlet", "--package", "core-services"]))?;
    let guest_dir = target()?.join("guests");
    run(cargo(&["test", "--workspace", "--exclude", "gauntlet-tests"]).env("GAUNTLET_GUESTS", &guest_dir))?;
    run(cargo(&["test", "--package", "gauntlet-tests", "--", "--test-threads=1"])
        .env("GAUNTLET_GUESTS", &guest_dir)
        .env("GAUNTLET_TEST_NGINX", nginx))
}
