//! `[recovery.*]` and `[recovery-budgets]`.

use std::collections::BTreeMap;

use super::{targets, thresholds};
use crate::model::{Backup, Budgets, Process, Recovery, Strategy, Target};
use crate::reader::{Field, Section};
use crate::spec;
use crate::tree::Content;

pub(super) fn budgets(root: &Section<'_>) -> Budgets {
    let section = root.section("recovery-budgets", spec::BUDGETS);
    let default = Budgets::default();
    let read = |key, default| section.get(key).and_then(|field| field.some_duration()).unwrap_or(default);
    let budgets = Budgets {
        detection: read("detection", default.detection),
        recovery: read("recovery", default.recovery),
        validation: read("validation", default.validation),
    };
    section.finish();
    budgets
}

pub(super) fn recoveries(
    root: &Section<'_>,
    targets: &[Target],
    processes: &BTreeMap<String, Process>,
) -> BTreeMap<String, Recovery> {
    let mut found = BTreeMap::new();
    for (name, field) in root.get("recovery").map(|field| field.named()).unwrap_or_default() {
        let names = targets.iter().map(|target| target.name.as_str());
        let known = thresholds::known(&field, name, "target", names);
        let target = known.and_then(|name| targets.iter().find(|target| target.name == name));
        let Some(section) = field.section(spec::RECOVERY) else { continue };
        let recovery = recovery(&section, target, &Around { targets, processes });
        section.finish();
        found.extend(target.map(|target| (target.name.clone(), recovery)));
    }
    found
}

/// What a backup must not be.
struct Around<'a> {
    targets: &'a [Target],
    processes: &'a BTreeMap<String, Process>,
}

fn recovery(section: &Section<'_>, target: Option<&Target>, around: &Around<'_>) -> Recovery {
    let default = Recovery::of_target(target.is_some_and(|target| target.platform.is_some()));
    let written = section.get("strategy");
    let backup_field = section.get("backup");
    let backup = backup_field.as_ref().and_then(|field| backup(field, target, around));
    let strategy = written
        .as_ref()
        .map_or_else(|| default.strategy.clone(), |field| strategy(field, target, section.has("backup")));
    if let Some(field) = &backup_field
        && !strategy.contains(&Strategy::Failover)
    {
        field.misplaced(
            "`strategy` has no failover, which alone uses a backup",
            "write strategy = [\"restart\", \"failover\"], or leave `backup` out",
        );
    }
    let interval =
        section.get("interval").and_then(|field| field.some_duration()).unwrap_or(default.interval);
    let timeout = section.get("timeout").and_then(|field| match field.some_duration()? {
        timeout if timeout > interval => field.problem(
            "the deadline of a probe is over `interval`: the next would begin before it has ended",
            "lower it, or raise `interval`",
        ),
        timeout => Some(timeout),
    });
    let count = |key, low: i64, default| {
        section.get(key).and_then(|field| field.whole(low..=1000)).unwrap_or(default)
    };
    Recovery {
        strategy,
        backup,
        interval,
        timeout: timeout.unwrap_or_else(|| default.timeout.min(interval)),
        fall: count("fall", 1, default.fall),
        rise: count("rise", 1, default.rise),
        restarts: count("restarts", 0, default.restarts),
        shed: section.get("shed").and_then(|field| shed(&field)).unwrap_or(default.shed),
    }
}

fn strategy(field: &Field<'_>, target: Option<&Target>, has_backup: bool) -> Vec<Strategy> {
    let mut found = Vec::new();
    for item in field.list("strategies such as \"restart\"") {
        let Some(word) = item.word(spec::STRATEGIES) else { continue };
        let strategy = match word {
            0 => Strategy::Restart,
            1 => Strategy::Failover,
            _ => Strategy::ShedLoad,
        };
        if found.contains(&strategy) {
            item.problem::<()>("this strategy stands here twice", "leave it out: each is tried in its turn");
            continue;
        }
        if let Some(target) = target.filter(|target| target.platform.is_none())
            && strategy == Strategy::Restart
        {
            item.problem::<()>(
                format!("{} has no `platform`, so nobody can restart it", target.name),
                format!("add `platform` to [targets.{}], or leave restart out", target.name),
            );
        }
        if let Some(target) = target
            && let Some(why) = target.off_port()
            && strategy == Strategy::Failover
        {
            item.problem::<()>(
                format!("{} {why}, so load cannot be led elsewhere", target.name),
                "leave failover out, or let load reach a port of the target",
            );
        }
        if strategy == Strategy::Failover && !has_backup {
            item.problem::<()>("there is no `backup` to which load could go", "add backup = { url = \"…\" }");
        }
        found.push(strategy);
    }
    found
}

fn backup(field: &Field<'_>, target: Option<&Target>, around: &Around<'_>) -> Option<Backup> {
    let section = field.section(spec::BACKUP)?;
    let url = section.need("url").and_then(|field| {
        let url = targets::url(&field, &["http", "https"])?;
        match target {
            Some(target) if target.urls.contains(&url) => field.problem(
                format!("this is an instance of {} itself, which is to be replaced", target.name),
                "name another URL",
            ),
            _ => Some(url),
        }
    });
    let process = section.get("process").map(|field| {
        let name = targets::process_name(&field, around.processes)?;
        match around.targets.iter().find(|target| target.instances().contains(&name)) {
            Some(target) => field.problem(
                format!("the process {name:?} runs the target {}: it is started with the run", target.name),
                "name a process that no target's `platform` has",
            ),
            None => Some(name),
        }
    });
    section.finish();
    let process = match process {
        Some(read) => Some(read?),
        None => None,
    };
    Some(Backup { url: url?, process })
}

/// `50` (percent), `"50%"` or `0.5`: over nothing, below all.
fn shed(field: &Field<'_>) -> Option<f64> {
    let share = match field.node.content {
        Content::Integer(_) => field.whole::<u32>(1..=99).map(|percent| f64::from(percent) / 100.0)?,
        _ => field.share()?,
    };
    if share > 0.0 && share < 1.0 {
        return Some(share);
    }
    field.wrong("what stays of the load: over 0%, below 100%", "such as 50")
}
