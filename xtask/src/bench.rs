//! `cargo xtask bench`: measurements, each with what it needs.

use crate::paths::{cargo, run};
use crate::test;

/// What the services say to each other over NATS, by number of load-workers.
pub(crate) fn control_plane() -> anyhow::Result<()> {
    let environment = test::set_up()?;
    test::build()?;
    let mut measure = cargo(&["test", "--quiet", "--package", "gauntlet-tests", "--test", "it"]);
    run(measure.args(["--", "--ignored", "--nocapture", "cost::control_plane"]).envs(environment))
}
