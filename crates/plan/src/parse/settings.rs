//! `[load]`, `[validity]`, `[control]` and `[report]`; their defaults stand in `crate::defaults`.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::model::{Control, GuestLimits, Load, Report, SchedulerRestart, Validity};
use crate::reader::{Field, Section};
use crate::spec;

/// The value read, else the default.
fn or<T>(read: Option<Option<T>>, default: T) -> T {
    read.flatten().unwrap_or(default)
}

pub(super) fn load(root: &Section<'_>) -> Load {
    let section = root.section("load", spec::LOAD);
    let default = Load::default();
    let load = Load {
        threads: section.get("threads").and_then(|f| f.whole(1..=1024)),
        batch: or(section.get("batch").map(|f| f.whole(1..=65_536)), default.batch),
        connect_timeout: or(
            section.get("connect-timeout").map(|f| f.some_duration()),
            default.connect_timeout,
        ),
        handshake_timeout: or(
            section.get("handshake-timeout").map(|f| f.some_duration()),
            default.handshake_timeout,
        ),
        connect_rate: or(section.get("connect-rate").map(|f| f.whole(1..=1_000_000)), default.connect_rate),
        interval: or(section.get("interval").map(|f| f.some_duration()), default.interval),
        grace: or(section.get("grace").map(|f| f.duration()), default.grace),
        guest: guest(&section),
        max_head: or(section.get("max-head").map(|f| small_size(&f)), default.max_head),
        max_body: or(section.get("max-body").map(|f| f.size()), default.max_body),
        max_event: or(section.get("max-event").map(|f| small_size(&f)), default.max_event),
        io_uring: or(section.get("io-uring").map(|f| f.boolean()), default.io_uring),
    };
    section.finish();
    load
}

fn small_size(field: &Field<'_>) -> Option<u32> {
    let size = field.size()?;
    u32::try_from(size).ok().or_else(|| field.wrong("a size below 4GiB", ""))
}

fn guest(load: &Section<'_>) -> GuestLimits {
    let section = load.section("guest", spec::GUEST);
    let default = GuestLimits::default();
    let limits = GuestLimits {
        call_deadline: or(section.get("call-deadline").map(|f| f.some_duration()), default.call_deadline),
        memory: or(section.get("memory").map(|f| f.size()), default.memory),
        memory_per_user: or(section.get("memory-per-user").map(|f| f.size()), default.memory_per_user),
        output: or(section.get("output").map(|f| f.size()), default.output),
        log_lines: or(section.get("log-lines").map(|f| f.whole(0..=spec::MANY)), default.log_lines),
    };
    section.finish();
    limits
}

pub(super) fn validity(root: &Section<'_>) -> Validity {
    let section = root.section("validity", spec::VALIDITY);
    let default = Validity::default();
    let validity = Validity {
        send_lag: or(section.get("send-lag").map(|f| f.duration()), default.send_lag),
        send_lag_share: or(section.get("send-lag-share").map(|f| f.share()), default.send_lag_share),
        achieved: or(section.get("achieved").map(|f| f.share()), default.achieved),
        short_seconds: or(section.get("short-seconds").map(|f| f.share()), default.short_seconds),
        drops: or(section.get("drops").map(|f| f.share()), default.drops),
        busy: or(section.get("busy").map(|f| f.share()), default.busy),
        busy_for: or(section.get("busy-for").map(|f| f.some_duration()), default.busy_for),
        traps_per_minute: or(
            section.get("traps-per-minute").map(|f| f.whole(0..=spec::MANY)),
            default.traps_per_minute,
        ),
        judge: or(section.get("judge").map(|f| f.boolean()), default.judge),
    };
    section.finish();
    validity
}

pub(super) fn control(root: &Section<'_>) -> Control {
    let section = root.section("control", spec::CONTROL);
    let default = Control::default();
    let control = Control {
        validate: or(section.get("validate").map(|f| f.boolean()), default.validate),
        validate_timeout: or(section.get("validate-timeout").map(|f| f.duration()), default.validate_timeout),
        ramp_down: or(section.get("ramp-down").map(|f| f.duration()), default.ramp_down),
        probe_interval: or(section.get("probe-interval").map(|f| f.some_duration()), default.probe_interval),
        probe_timeout: or(section.get("probe-timeout").map(|f| f.some_duration()), default.probe_timeout),
        api: or(section.get("api").map(|f| loopback(&f)), default.api),
        worker_timeout: or(section.get("worker-timeout").map(|f| f.some_duration()), default.worker_timeout),
        controller_lease: or(
            section.get("controller-lease").map(|f| f.some_duration()),
            default.controller_lease,
        ),
        scheduler_restart: section
            .get("scheduler-restart")
            .and_then(|f| f.word(spec::SCHEDULER_RESTARTS))
            .map_or(default.scheduler_restart, |word| match word {
                0 => SchedulerRestart::Resume,
                _ => SchedulerRestart::Close,
            }),
    };
    section.finish();
    control
}

/// Whoever reaches the API can stop the run, so it listens where only this host reaches it.
fn loopback(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Some(text),
        Ok(_) => field.wrong(
            "a loopback address such as \"127.0.0.1:0\"",
            "the API has no access control, so it is not offered to other hosts",
        ),
        Err(_) => field.wrong("an address and port such as \"127.0.0.1:8088\"", "port 0 = any free one"),
    }
}

pub(super) fn report(root: &Section<'_>) -> Report {
    let section = root.section("report", spec::REPORT);
    let default = Report::default();
    let report = Report {
        dir: or(section.get("dir").map(|f| f.text().map(PathBuf::from)), default.dir),
        slowest: or(section.get("slowest").map(|f| f.whole(0..=1000)), default.slowest),
    };
    section.finish();
    report
}
