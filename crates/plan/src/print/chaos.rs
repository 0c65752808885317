//! `[[chaos]]`, `[recovery.*]` and `[recovery-budgets]`.

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, value};

use super::{duration, group, inline, integer, share, text};
use crate::model::recipe::print_offset;
use crate::model::{Backup, Cores, DiskFill, Fault, Mode, Plan, Recipe, Recovery, Stop};
use crate::units::{print_share, print_size};

pub(super) fn print(plan: &Plan, root: &mut DocumentMut) {
    if !plan.chaos.is_empty() {
        root["chaos"] = Item::ArrayOfTables(plan.chaos.iter().map(fault).collect::<ArrayOfTables>());
    }
    root["recovery"] = group(plan.recovery.iter().map(|(name, r)| (name.as_str(), recovery(r))));
    let mut budgets = Table::new();
    budgets["detection"] = duration(plan.budgets.detection);
    budgets["recovery"] = duration(plan.budgets.recovery);
    budgets["validation"] = duration(plan.budgets.validation);
    root["recovery-budgets"] = Item::Table(budgets);
}

fn fault(fault: &Fault) -> Table {
    let mut table = Table::new();
    table["name"] = text(&fault.name);
    table["recipe"] = text(fault.recipe.name());
    parameters(&fault.recipe, &mut table);
    if fault.toxicity != 1.0 {
        table["share"] = share(fault.toxicity);
    }
    table["target"] = text(&fault.target);
    table["phase"] = text(fault.phase.name());
    if fault.recipe.has_victims() {
        table["mode"] = match fault.mode {
            Mode::One => text("one"),
            Mode::All => text("all"),
            Mode::Fixed(count) => inline([("fixed", i64::from(count).into())]),
            Mode::Percent(percent) => inline([("percent", i64::from(percent).into())]),
        };
    }
    table["duration"] = duration(fault.duration);
    match fault.stop {
        Stop::None => table["stop"] = text("none"),
        Stop::When { check, over } => {
            table["stop"] = text(&check.to_string());
            table["stop-over"] = duration(over);
        }
    }
    match fault.at {
        Some(at) => table["at"] = duration(at),
        None => table["times"] = integer(fault.times),
    }
    table
}

fn size(bytes: u64) -> Item {
    text(&print_size(bytes))
}

fn parameters(recipe: &Recipe, table: &mut Table) {
    match recipe {
        Recipe::Kill | Recipe::Pause | Recipe::Restart | Recipe::Refuse => {}
        Recipe::ClockSkew { offset_ms } => table["offset"] = text(&print_offset(*offset_ms)),
        Recipe::Cpu { cores: Cores::Count(count) } => table["cores"] = integer(*count),
        Recipe::Cpu { cores: Cores::Share(part) } => table["cores"] = share(*part),
        Recipe::Memory { bytes } => table["size"] = size(*bytes),
        Recipe::Connections { count } => table["connections"] = integer(*count),
        Recipe::DiskFull { path, fill } => {
            table["path"] = text(&path.to_string_lossy());
            match fill {
                DiskFill::Leave(bytes) => table["leave"] = size(*bytes),
                DiskFill::Take(bytes) => table["size"] = size(*bytes),
            }
        }
        Recipe::Latency { latency, jitter, direction } => {
            table["latency"] = duration(*latency);
            table["jitter"] = duration(*jitter);
            table["direction"] = text(direction.name());
        }
        Recipe::Bandwidth { bytes_per_second, direction } => {
            table["rate"] = size(*bytes_per_second);
            table["direction"] = text(direction.name());
        }
        Recipe::Partition { direction } => table["direction"] = text(direction.name()),
        Recipe::Reset { after } => table["after"] = duration(*after),
        Recipe::SlowClose { delay } => table["delay"] = duration(*delay),
        Recipe::Slicer { size: mean, variation, delay, direction } => {
            table["size"] = size(*mean);
            table["variation"] = size(*variation);
            table["delay"] = duration(*delay);
            table["direction"] = text(direction.name());
        }
        Recipe::LimitData { bytes, direction } => {
            table["bytes"] = size(*bytes);
            table["direction"] = text(direction.name());
        }
        Recipe::PacketLoss { loss, correlation, direction } => {
            table["loss"] = share(*loss);
            table["correlation"] = share(*correlation);
            table["direction"] = text(direction.name());
        }
        Recipe::HttpAbort { .. }
        | Recipe::HttpDelay { .. }
        | Recipe::HttpStatus { .. }
        | Recipe::HttpHeader { .. }
        | Recipe::HttpBody { .. } => http(recipe, table),
    }
}

fn http(recipe: &Recipe, table: &mut Table) {
    match recipe {
        Recipe::HttpDelay { delay, .. } => table["delay"] = duration(*delay),
        Recipe::HttpStatus { status, .. } => table["status"] = integer(*status),
        Recipe::HttpHeader { header, value, .. } => {
            table["header"] = text(header);
            table["value"] = text(value);
        }
        _ => {}
    }
    if let Recipe::HttpHeader { direction, .. } | Recipe::HttpBody { direction, .. } = recipe {
        table["direction"] = text(direction.name());
    }
    if let Recipe::HttpAbort { share: part }
    | Recipe::HttpDelay { share: part, .. }
    | Recipe::HttpStatus { share: part, .. }
    | Recipe::HttpHeader { share: part, .. }
    | Recipe::HttpBody { share: part, .. } = recipe
    {
        table["share"] = share(*part);
    }
}

fn recovery(recovery: &Recovery) -> Table {
    let mut table = Table::new();
    table["strategy"] = value(recovery.strategy.iter().map(|s| s.name()).collect::<Array>());
    if let Some(Backup { url, process }) = &recovery.backup {
        let mut backup = InlineTable::new();
        backup.insert("url", url.into());
        if let Some(process) = process {
            backup.insert("process", process.into());
        }
        table["backup"] = value(backup);
    }
    table["interval"] = duration(recovery.interval);
    table["timeout"] = duration(recovery.timeout);
    table["fall"] = integer(recovery.fall);
    table["rise"] = integer(recovery.rise);
    table["restarts"] = integer(recovery.restarts);
    table["shed"] = text(&print_share(recovery.shed));
    table
}
