//! Tests over the whole crate: what a plan's text becomes, and what is said of a wrong one.

mod balancing;
mod defaults;
mod errors;
mod example;
mod faults;
mod plans_with_faults;
mod recovery;
mod roundtrip;
mod scales;
mod schedule;
mod schema;
mod sockets;

use std::path::Path;

use crate::model::{Phase, PhaseName};
use crate::{Overrides, Plan, Problems};

/// The least that a plan needs.
const SMALLEST: &str = "targets.shop.url = \"http://127.0.0.1:8080\"\n[[scenarios]]\nguest = \"http\"\n";

fn parse(text: &str) -> Result<Plan, Problems> {
    crate::parse(text, Path::new("shop.toml"))
}

/// The smallest plan and these lines before it.
fn with(lines: &str) -> Result<Plan, Problems> {
    parse(&format!("{lines}\n{SMALLEST}"))
}

/// The smallest plan and these tables behind it.
fn and(tables: &str) -> Result<Plan, Problems> {
    parse(&format!("{SMALLEST}\n{tables}"))
}

fn phase(plan: &Plan, name: PhaseName) -> &Phase {
    plan.phases.iter().find(|phase| phase.name == name).unwrap()
}

fn overridden(text: &str, overrides: &Overrides) -> Result<Plan, Problems> {
    crate::parse_with(text, Path::new("shop.toml"), overrides)
}
