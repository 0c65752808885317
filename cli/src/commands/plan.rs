//! `gauntlet plan`: writing, checking and showing plans.

use std::io::Write as _;
use std::path::Path;

use load_worker::environment::with_environment;
use plan::Plan;
use plan::chaos::Placed;
use plan::units::print_duration;
use sandbox::ConfigureError;

use crate::args::{GuestArgs, OverrideArgs, PlanCommand};
use crate::failure::Failure;
use crate::run::base_dir;
use crate::{guests, output, table};

pub(crate) fn dispatch(command: PlanCommand) -> Result<u8, Failure> {
    match command {
        PlanCommand::Init { file } => init(&file),
        PlanCommand::Check { plan, overrides, guests } => check(&plan, &overrides, &guests),
        PlanCommand::Show { plan, overrides } => {
            output::print(&plan::load(&plan, &overrides.to_overrides())?.to_toml());
            Ok(0)
        }
        PlanCommand::Schema => {
            output::line(&format!("{:#}", plan::schema()));
            Ok(0)
        }
    }
}

/// Writes a first plan; never over another one.
fn init(file: &Path) -> Result<u8, Failure> {
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .and_then(|mut file| file.write_all(plan::init_template().as_bytes()));
    match written {
        Ok(()) => {
            output::line(&format!("wrote {0}: set `url`, then `gauntlet run {0}`", file.display()));
            Ok(0)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Failure::input(format!(
            "{} exists already and stays as it is; name another file",
            file.display()
        ))),
        Err(error) => Err(Failure::environment(format!("cannot write {}: {error}", file.display()))),
    }
}

/// Says all that is wrong: with the plan, then with what it names, then with what its guests think of their
/// configuration. Of a plan that is good, it shows when which fault comes.
fn check(file: &Path, overrides: &OverrideArgs, guest_args: &GuestArgs) -> Result<u8, Failure> {
    let plan = plan::load(file, &overrides.to_overrides())?;
    let base_dir = base_dir(file)?;
    let found = guests::find_all(&plan, &base_dir, &guests::directories(guest_args))?;
    guests::check_versions(&found)?;
    let mut problems: Vec<String> = Vec::new();
    for missing in plan.bundle_files().iter().filter(|wanted| !base_dir.join(&wanted.path).is_file()) {
        let path = base_dir.join(&missing.path);
        problems.push(format!(
            "{}: there is no file {}; relative paths begin at the plan's directory",
            missing.key,
            path.display()
        ));
    }
    let host = guests::host()?;
    for (index, (scenario, file)) in plan.scenarios.iter().zip(&found).enumerate() {
        let guest = match host.load(&file.path) {
            Ok(guest) => guest,
            Err(error) => {
                problems.push(format!("scenarios[{index}].guest: {error}"));
                continue;
            }
        };
        // Load-workers may run elsewhere: a variable that is not set here is represented by its name.
        let variable = |name: &str| Some(std::env::var(name).unwrap_or_else(|_| name.to_owned()));
        let config = with_environment(&scenario.config, &variable).unwrap_or_default();
        match guest.instantiate(&config.to_string(), plan.seed, 1) {
            Ok(_) => {}
            Err(ConfigureError::Problems(found)) => problems.extend(found.iter().map(|problem| {
                let mend =
                    if problem.mend.is_empty() { String::new() } else { format!("; {}", problem.mend) };
                format!("scenarios[{index}].config.{}: {}{mend}", problem.path, problem.message)
            })),
            Err(ConfigureError::Fault(fault)) => problems.push(format!("scenarios[{index}].guest: {fault}")),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::input(problems.join("\n")));
    }
    let phases: Vec<&str> = plan.phases.iter().map(|phase| phase.name.name()).collect();
    output::line(&format!("{}: good; phases {}", file.display(), phases.join(", ")));
    if !plan.chaos.is_empty() {
        output::print(&fault_table(&plan, &plan::chaos::schedule(&plan)?));
    }
    Ok(0)
}

/// When each fault comes, whom it hits and what it is.
fn fault_table(plan: &Plan, placed: &[Placed]) -> String {
    let row = |coming: &Placed| {
        let fault = plan.chaos.get(coming.fault)?;
        let phase = plan.phases.get(coming.phase)?;
        let instances: Vec<String> =
            coming.victims.iter().map(|instance| format!("{}-{instance}", fault.target)).collect();
        let hits =
            if instances.is_empty() { format!("host of {}", fault.target) } else { instances.join(", ") };
        Some(vec![
            phase.name.name().to_owned(),
            print_duration(coming.at),
            print_duration(fault.duration),
            coming.id.clone(),
            hits,
            fault.describe(),
        ])
    };
    let rows: Vec<Vec<String>> = placed.iter().filter_map(row).collect();
    table::render(&["phase", "at", "for", "fault", "hits", "what"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_shown_in_the_order_in_which_they_come() {
        let text = r#"
            run-phases = ["chaos"]
            targets.shop.url = ["http://a", "http://b"]
            targets.shop.chaos = true
            scenarios = [{ guest = "http" }]
            chaos = [
              { recipe = "refuse", target = "shop", duration = "5s", stop = "none", at = "20s", mode = "all" },
              { recipe = "memory", target = "shop", duration = "10s", stop = "none", at = "5s", size = "64MiB" },
            ]
        "#;
        let plan = plan::parse(text, Path::new("plan.toml")).unwrap();
        let shown = fault_table(&plan, &plan::chaos::schedule(&plan).unwrap());
        let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            rows,
            [
                vec!["phase", "at", "for", "fault", "hits", "what"],
                vec!["chaos", "5s", "10s", "memory", "host", "of", "shop", "memory", "64MiB"],
                vec!["chaos", "20s", "5s", "refuse", "shop-0,", "shop-1", "refuse"],
            ]
        );
    }
}
