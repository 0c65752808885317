//! Printing a plan with everything that it says, defaults included, so that it reads back as the same plan.

mod balancing;
mod chaos;

use std::fmt;
use std::time::Duration;

use serde_json::Value as Json;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

use crate::model::{
    Arrivals, Control, GuestRef, Http, Load, LoadModel, LogLevel, Most, OnFailure, Phase, Plan, PlatformRef,
    Process, Range, Resources, Scenario, SchedulerRestart, Target, Tier, Validity,
};
use crate::threshold::Threshold;
use crate::units::{print_duration, print_share, print_size};

impl Plan {
    /// The plan as TOML, every default spelled out: [`crate::parse`] gives the same plan back.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut root = DocumentMut::new();
        root["name"] = text(&self.name);
        root["seed"] = integer(self.seed);
        root["time-scale"] = value(self.time_scale);
        root["load-scale"] = value(self.load_scale);
        if let Some(tier) = self.tier {
            root["tier"] = text(tier.name());
        }
        root["run-phases"] = value(self.phases.iter().map(|phase| phase.name.name()).collect::<Array>());
        root["processes"] = group(self.processes.iter().map(|(name, p)| (name.as_str(), process(p))));
        root["targets"] = group(self.targets.iter().map(|t| (t.name.as_str(), target(t))));
        let scenarios: ArrayOfTables = self.scenarios.iter().map(scenario).collect();
        root["scenarios"] = Item::ArrayOfTables(scenarios);
        root["thresholds"] = Item::Table(thresholds(self));
        root["phases"] = group(self.phases.iter().map(|p| (p.name.name(), phase(p))));
        chaos::print(self, &mut root);
        root["load"] = Item::Table(load(&self.load));
        root["validity"] = Item::Table(validity(&self.validity));
        root["control"] = Item::Table(control(&self.control));
        let mut report = Table::new();
        report["dir"] = text(&self.report.dir.to_string_lossy());
        report["slowest"] = integer(self.report.slowest);
        root["report"] = Item::Table(report);
        root.to_string()
    }
}

fn text(text: &str) -> Item {
    value(text)
}

fn integer(number: impl TryInto<i64>) -> Item {
    value(number.try_into().unwrap_or(i64::MAX))
}

fn duration(duration: Duration) -> Item {
    value(print_duration(duration))
}

fn share(share: f64) -> Item {
    value(print_share(share))
}

/// Tables under one name, without a header of its own.
fn group<'a>(tables: impl Iterator<Item = (&'a str, Table)>) -> Item {
    let mut group = Table::new();
    group.set_implicit(true);
    for (name, table) in tables {
        group.insert(name, Item::Table(table));
    }
    Item::Table(group)
}

/// `{ key = value }` on one line.
fn inline<const N: usize>(pairs: [(&str, Value); N]) -> Item {
    value(pairs.into_iter().collect::<InlineTable>())
}

fn process(process: &Process) -> Table {
    let mut table = Table::new();
    table["command"] = value(process.command.iter().collect::<Array>());
    if let Some(ready) = &process.ready {
        table["ready"] = text(ready);
    }
    table["ready-timeout"] = duration(process.ready_timeout);
    if let Some(dir) = &process.dir {
        table["dir"] = text(&dir.to_string_lossy());
    }
    table["stop-timeout"] = duration(process.stop_timeout);
    if !process.env.is_empty() {
        let env: Table = process.env.iter().map(|(k, v)| (k.as_str(), text(v))).collect();
        table["env"] = Item::Table(env);
    }
    table
}

fn target(target: &Target) -> Table {
    let mut table = Table::new();
    table["url"] = one_or_more(&target.urls);
    balancing::print(target, &mut table);
    if let Some(socket) = &target.socket {
        table["socket"] = text(&socket.to_string_lossy());
    }
    if let Some(proxy) = &target.proxy {
        table["proxy"] = text(proxy);
    }
    if let Some(PlatformRef::Processes(names)) = &target.platform {
        table["platform"] = inline([("process", text_or_texts(names))]);
    }
    table["chaos"] = match target.chaos {
        None => value(false),
        Some(Most::All) => value(true),
        Some(Most::Fixed(count)) => inline([("most", i64::from(count).into())]),
        Some(Most::Percent(percent)) => inline([("most", format!("{percent}%").into())]),
    };
    table["resources"] = match &target.resources {
        Resources::Processes(names) => inline([("process", text_or_texts(names))]),
        Resources::Pid(pid) => inline([("pid", i64::from(*pid).into())]),
        Resources::Prometheus(url) => inline([("prometheus", url.into())]),
        Resources::Absent => text("absent"),
    };
    if let Some(url) = &target.metrics_url {
        table["metrics-url"] = text(url);
    }
    if let Some(url) = &target.health {
        table["health"] = text(url);
    }
    if !target.metrics.is_empty() {
        let metrics: InlineTable = target.metrics.iter().map(|(k, v)| (k.as_str(), v)).collect();
        table["metrics"] = value(metrics);
    }
    let mut tls = InlineTable::new();
    if let Some(ca) = &target.tls.ca {
        tls.insert("ca", ca.to_string_lossy().as_ref().into());
    }
    if let Some((certificate, key)) = &target.tls.client {
        tls.insert("client-cert", certificate.to_string_lossy().as_ref().into());
        tls.insert("client-key", key.to_string_lossy().as_ref().into());
    }
    if target.tls.insecure {
        tls.insert("insecure", true.into());
    }
    if let Some(name) = &target.tls.server_name {
        tls.insert("server-name", name.into());
    }
    tls.insert("min-version", target.tls.min_version.name().into());
    tls.insert("max-version", target.tls.max_version.name().into());
    tls.insert("resumption", target.tls.resumption.into());
    table["tls"] = value(tls);
    match target.http {
        Http::One => table["http"] = text("1.1"),
        Http::Two { streams } => {
            table["http"] = text("2");
            table["streams"] = integer(streams);
        }
    }
    table["keep-alive"] = value(target.keep_alive);
    table
}

fn one_or_more(texts: &[String]) -> Item {
    value(text_or_texts(texts))
}

fn text_or_texts(texts: &[String]) -> Value {
    match texts {
        [only] => only.into(),
        texts => texts.iter().collect::<Array>().into(),
    }
}

fn scenario(scenario: &Scenario) -> Table {
    let mut table = Table::new();
    table["name"] = text(&scenario.name);
    table["guest"] = text(&scenario.guest.to_string());
    table["target"] = one_or_more(&scenario.targets);
    table["weight"] = value(scenario.weight);
    table["timeout"] = duration(scenario.timeout);
    // Workers of an earlier version do not know these keys, and need not.
    if let Some(timeout) = scenario.response_timeout {
        table["response-timeout"] = duration(timeout);
    }
    if !scenario.trial {
        table["trial"] = value(false);
    }
    if let Json::Object(entries) = &scenario.config
        && !entries.is_empty()
    {
        let config: Table = entries.iter().filter_map(|(k, v)| Some((k.as_str(), value(json(v)?)))).collect();
        table["config"] = Item::Table(config);
    }
    table
}

/// JSON as an inline value; nothing for null, which TOML does not have.
fn json(value: &Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(flag) => (*flag).into(),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => integer.into(),
            None => number.as_f64()?.into(),
        },
        Json::String(text) => text.into(),
        Json::Array(items) => Value::Array(items.iter().filter_map(json).collect()),
        Json::Object(entries) => {
            let pairs = entries.iter().filter_map(|(k, v)| Some((k.as_str(), json(v)?)));
            Value::InlineTable(pairs.collect())
        }
    })
}

fn thresholds(plan: &Plan) -> Table {
    let mut table = Table::new();
    table["run"] = threshold_list(&plan.thresholds);
    for phase in plan.phases.iter().filter(|phase| !phase.thresholds.is_empty()) {
        table[phase.name.name()] = threshold_list(&phase.thresholds);
    }
    table
}

fn threshold_list(list: &[Threshold]) -> Item {
    value(list.iter().map(threshold).collect::<Array>())
}

fn threshold(threshold: &Threshold) -> Value {
    let check = threshold.check();
    if *threshold == Threshold::from(check) {
        return check.to_string().into();
    }
    let mut table = InlineTable::new();
    table.insert("check", check.to_string().into());
    if let Some(over) = threshold.over {
        table.insert("over", print_duration(over).into());
    }
    if threshold.abort {
        table.insert("abort", true.into());
    }
    if !threshold.delay.is_zero() {
        table.insert("delay", print_duration(threshold.delay).into());
    }
    for (key, name) in
        [("scenario", &threshold.scenario), ("step", &threshold.step), ("target", &threshold.target)]
    {
        if let Some(name) = name {
            table.insert(key, name.into());
        }
    }
    Value::InlineTable(table)
}

fn phase(phase: &Phase) -> Table {
    let mut table = Table::new();
    table["duration"] = duration(phase.duration);
    load_model(&phase.model, &mut table);
    if phase.model != LoadModel::None {
        table["connections"] = integer(phase.connections);
        table["max-users"] = integer(phase.max_users);
        table["max-waiting"] = integer(phase.max_waiting);
    }
    table["cpu"] = range(phase.cpu);
    table["memory"] = range(phase.memory);
    table["trace-sampling"] = share(phase.trace_sampling);
    table["log-level"] = text(phase.log_level.name());
    table["on-objective-failure"] = match phase.on_objective_failure {
        OnFailure::Continue => text("continue"),
        OnFailure::Abort => text("abort"),
        OnFailure::Hold { max } => inline([("hold", print_duration(max).into())]),
    };
    if !phase.objectives.is_empty() {
        let objectives: InlineTable = phase.objectives.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        table["objectives"] = value(objectives);
    }
    if !phase.scenario_config.is_empty() {
        let changes: Table =
            phase.scenario_config.iter().filter_map(|(k, v)| Some((k.as_str(), value(json(v)?)))).collect();
        table["scenarios"] = Item::Table(changes);
    }
    table
}

fn load_model(model: &LoadModel, table: &mut Table) {
    match model {
        LoadModel::None => {}
        LoadModel::Open { start_rate, rate, ramp, arrivals } => {
            table["rate"] = value(*rate);
            if !ramp.is_zero() {
                table["start-rate"] = value(*start_rate);
            }
            table["ramp"] = duration(*ramp);
            table["arrivals"] = arrivals_item(*arrivals);
        }
        LoadModel::Walk { floor, ceiling, step, arrivals } => {
            table["floor"] = value(*floor);
            table["ceiling"] = value(*ceiling);
            table["step"] = duration(*step);
            table["arrivals"] = arrivals_item(*arrivals);
        }
        LoadModel::Closed { start_users, users, ramp, think } => {
            table["users"] = integer(*users);
            if !ramp.is_zero() {
                table["start-users"] = integer(*start_users);
            }
            table["ramp"] = duration(*ramp);
            table["think"] = duration(*think);
        }
    }
}

fn arrivals_item(arrivals: Arrivals) -> Item {
    match arrivals {
        Arrivals::Even => text("even"),
        Arrivals::Poisson => text("poisson"),
        Arrivals::Chaotic => text("chaotic"),
        Arrivals::Burst { size } => inline([("burst", i64::from(size).into())]),
    }
}

fn range(range: Option<Range>) -> Item {
    range.map_or_else(
        || text("any"),
        |Range { min, max }| value([print_share(min), print_share(max)].into_iter().collect::<Array>()),
    )
}

fn load(load: &Load) -> Table {
    let mut table = Table::new();
    if let Some(threads) = load.threads {
        table["threads"] = integer(threads);
    }
    table["batch"] = integer(load.batch);
    table["connect-timeout"] = duration(load.connect_timeout);
    // Workers of an earlier version do not know the key, and need not.
    if load.handshake_timeout != Load::default().handshake_timeout {
        table["handshake-timeout"] = duration(load.handshake_timeout);
    }
    table["connect-rate"] = integer(load.connect_rate);
    table["interval"] = duration(load.interval);
    table["grace"] = duration(load.grace);
    table["max-head"] = text(&print_size(u64::from(load.max_head)));
    table["max-body"] = text(&print_size(load.max_body));
    table["max-event"] = text(&print_size(u64::from(load.max_event)));
    table["io-uring"] = value(load.io_uring);
    let mut guest = Table::new();
    guest["call-deadline"] = duration(load.guest.call_deadline);
    guest["memory"] = text(&print_size(load.guest.memory));
    guest["memory-per-user"] = text(&print_size(load.guest.memory_per_user));
    guest["output"] = text(&print_size(load.guest.output));
    guest["log-lines"] = integer(load.guest.log_lines);
    table["guest"] = Item::Table(guest);
    table
}

fn validity(validity: &Validity) -> Table {
    let mut table = Table::new();
    table["send-lag"] = duration(validity.send_lag);
    table["send-lag-share"] = share(validity.send_lag_share);
    table["achieved"] = share(validity.achieved);
    table["short-seconds"] = share(validity.short_seconds);
    table["drops"] = share(validity.drops);
    table["busy"] = share(validity.busy);
    table["busy-for"] = duration(validity.busy_for);
    table["traps-per-minute"] = integer(validity.traps_per_minute);
    table["judge"] = value(validity.judge);
    table
}

fn control(control: &Control) -> Table {
    let mut table = Table::new();
    table["validate"] = value(control.validate);
    table["validate-timeout"] = duration(control.validate_timeout);
    table["ramp-down"] = duration(control.ramp_down);
    table["probe-interval"] = duration(control.probe_interval);
    table["probe-timeout"] = duration(control.probe_timeout);
    table["api"] = text(&control.api);
    table["worker-timeout"] = duration(control.worker_timeout);
    table["controller-lease"] = duration(control.controller_lease);
    table["scheduler-restart"] = text(match control.scheduler_restart {
        SchedulerRestart::Resume => "resume",
        SchedulerRestart::Close => "close",
    });
    table
}

impl Tier {
    /// As the plan writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Stress => "stress",
            Self::Chaos => "chaos",
            Self::Ultimate => "ultimate",
        }
    }
}

impl LogLevel {
    /// As the plan writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl fmt::Display for GuestRef {
    /// As the plan writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, version: None } => f.write_str(name),
            Self::Name { name, version: Some(version) } => write!(f, "{name}@{version}"),
            Self::Digest(digest) => f.write_str(digest),
            Self::Path { path, digest: None } => write!(f, "{}", path.display()),
            Self::Path { path, digest: Some(digest) } => write!(f, "{}#{digest}", path.display()),
        }
    }
}
