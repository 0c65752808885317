//! `cargo xtask bench hot-path`: what a request costs the load thread, counted and not timed, against a committed budget.
//!
//! A fixed small run of the load engine sends N and then 2 N requests; what the second run counts more is the requests' own,
//! without start and end. It is done in each of several [`WAYS`]. Instructions are those of user space under callgrind, as
//! the tests' profile compiles them: they say whether the path grew, not how fast it is. Allocations are those that memcheck
//! sees, but for the three by which a call's output is given to the engine, however many requests are in it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::load::{bare_on_any_core, nginx_on_any_core};
use crate::paths::{root, target};
use crate::tools::load_generators as tools;

/// Requests of the shorter run: by then every buffer has its size.
const TURNS: u64 = 5_000;

/// Connections and users.
const CONNECTIONS: u64 = 64;

/// How far over the budget instructions may be: compilers and libraries differ a little by machine.
const TOLERANCE: f64 = 0.10;

/// System calls are counted in whole runs, where control wakes a thread or two and the guests' clock ticks, the more often the
/// longer the machine takes; what is done for each request is ten times as much.
const FEW_CALLS: u64 = TURNS / 10;

const BUDGET: &str = "services/load-worker/hot-path.json";

/// How requests are made and sent: by a native generator in the guest's place over HTTP/1.1, by the http guest, and by the first
/// again over TLS and over HTTP/2 under TLS.
const WAYS: [&str; 4] = ["native", "guest", "tls", "http2"];

/// Those that every run of the tests counts: the others take a minute more and are mostly not our own code.
const TESTED: usize = 2;

/// What a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Cost {
    instructions: f64,
    /// Without those of outputs.
    allocations: f64,
}

/// By way.
type Costs = BTreeMap<String, Cost>;

/// Counts in all ways; with `bless`, writes the budget anew.
pub(crate) fn hot_path(bless: bool) -> anyhow::Result<()> {
    count_ways(&WAYS, bless)
}

/// Counts in the ways that tests guard.
pub(crate) fn tested_hot_path() -> anyhow::Result<()> {
    count_ways(&WAYS[..TESTED], false)
}

/// Counts, prints, and fails when over the budget; with `bless`, writes the budget anew instead.
fn count_ways(ways: &[&str], bless: bool) -> anyhow::Result<()> {
    if !cfg!(target_arch = "x86_64") {
        println!("hot path: SKIPPED: the budget in {BUDGET} is of x86_64");
        return Ok(());
    }
    let programs = super::programs(false)?;
    let program = programs.join("load-thread");
    let dir = target()?.join("bench");
    std::fs::create_dir_all(&dir)?;
    let guests = crate::guests::build_named(&["http"])?;
    let guest_file = guests.first().context("the guest http was not built")?.display().to_string();
    let cache = dir.join("guest-cache-callgrind").display().to_string();
    let bare = bare_on_any_core(&programs)?;
    let over_tls = |way: &&str| ["tls", "http2"].contains(way);
    let nginx = ways.iter().any(over_tls).then(|| nginx_on_any_core(&dir)).transpose()?;
    let (https, certificate) = match &nginx {
        Some(nginx) => nginx.https().map(|(port, file)| (port, file.display().to_string()))?,
        None => (0, String::new()),
    };
    let mut costs = Costs::new();
    for &name in ways {
        let (port, way) = match name {
            "guest" => (bare.port(), vec![name, guest_file.as_str(), &cache]),
            "tls" | "http2" => (https, vec![name, certificate.as_str()]),
            _ => (bare.port(), vec![]),
        };
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let cost = Run { program: &program, dir: &dir, server, way }.cost()?;
        costs.insert(name.to_owned(), cost);
    }
    let path = root().join(BUDGET);
    if bless {
        let text = serde_json::to_string_pretty(&costs)?;
        std::fs::write(&path, format!("{text}\n")).with_context(|| format!("write {BUDGET}"))?;
        println!("hot path: wrote {BUDGET}");
        return Ok(());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {BUDGET}"))?;
    judge(&costs, &serde_json::from_str(&text).with_context(|| format!("read {BUDGET}"))?)
}

/// Runs in one of the ways.
struct Run<'a> {
    program: &'a Path,
    dir: &'a Path,
    server: SocketAddr,
    /// What load-thread is told of it.
    way: Vec<&'a str>,
}

impl Run<'_> {
    fn name(&self) -> &str {
        self.way.first().copied().unwrap_or("native")
    }

    /// Counts, and prints.
    fn cost(&self) -> anyhow::Result<Cost> {
        let name = self.name();
        if name == "guest" {
            // Callgrind's processor is another one: the guest is compiled for it once, and not in the runs that count.
            self.instructions(1)?;
        }
        let instructions = more(self.instructions(TURNS)?, self.instructions(2 * TURNS)?)?.round();
        let allocations = more(self.allocations(TURNS)?, self.allocations(2 * TURNS)?)?;
        let allocations = (allocations * 1_000.0).round() / 1_000.0;
        let (few_calls, many_calls) = (self.futex_calls(TURNS)?, self.futex_calls(2 * TURNS)?);
        let futex = many_calls.saturating_sub(few_calls);
        println!(
            "hot path: {name:>6}: {instructions:.0} instructions and {allocations:.3} allocations a request, {futex} futex \
             calls in {TURNS} requests"
        );
        anyhow::ensure!(
            futex <= FEW_CALLS,
            "hot path: {name}: {futex} futex calls in {TURNS} requests ({few_calls} and {many_calls} in runs of {TURNS} and \
             twice as many): something on the load thread locks, or wakes another thread, for each request"
        );
        Ok(Cost { instructions, allocations })
    }

    fn arguments(&self, turns: u64) -> Vec<String> {
        let all = ["count".to_owned(), self.server.to_string(), turns.to_string(), CONNECTIONS.to_string()];
        all.into_iter().chain(self.way.iter().map(|&word| word.to_owned())).collect()
    }

    /// One run with a tool of valgrind's: what load-thread said, and what the tool did.
    fn under_valgrind(&self, tool: &[String], turns: u64) -> anyhow::Result<(Value, String)> {
        let mut command = Command::new(tools::valgrind()?);
        let output = output(command.args(tool).arg(self.program).args(self.arguments(turns)))?;
        let said: Value = serde_json::from_slice(&output.stdout).context("read what load-thread printed")?;
        anyhow::ensure!(said["failed"] == 0, "requests failed: {said}");
        Ok((said, String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// Instructions of a whole process.
    fn instructions(&self, turns: u64) -> anyhow::Result<Counted> {
        let out = format!(
            "--callgrind-out-file={}",
            self.dir.join(format!("callgrind-{}.out", self.name())).display()
        );
        let (said, told) = self.under_valgrind(&["--tool=callgrind".to_owned(), out], turns)?;
        Ok(Counted { requests: count(&said, "requests")?, counted: collected(&told)? })
    }

    /// Allocations of a whole process without those of outputs.
    fn allocations(&self, turns: u64) -> anyhow::Result<Counted> {
        let tool = ["--tool=memcheck", "--leak-check=no", "--undef-value-errors=no"].map(str::to_owned);
        let (said, told) = self.under_valgrind(&tool, turns)?;
        let own = allocated(&told)?.saturating_sub(count(&said, "allocations_of_outputs")?);
        Ok(Counted { requests: count(&said, "requests")?, counted: own })
    }

    fn futex_calls(&self, turns: u64) -> anyhow::Result<u64> {
        let table = self.dir.join("strace.txt");
        let mut command = Command::new(tools::strace()?);
        command.args(["--follow-forks", "--summary-only", "--trace=futex", "--output"]).arg(&table);
        output(command.arg(self.program).args(self.arguments(turns)))?;
        futex_calls(&std::fs::read_to_string(&table)?)
    }
}

/// Runs it, and fails with all that it said when it fails.
pub(super) fn output(command: &mut Command) -> anyhow::Result<std::process::Output> {
    let shown = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {shown}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{shown} ended with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

/// What was counted of one run.
#[derive(Clone, Copy, Debug)]
struct Counted {
    requests: u64,
    counted: u64,
}

fn count(said: &Value, name: &str) -> anyhow::Result<u64> {
    said[name].as_u64().with_context(|| format!("no {name} in {said}"))
}

/// What the longer run has more of, by request.
fn more(few: Counted, many: Counted) -> anyhow::Result<f64> {
    let requests = many.requests.saturating_sub(few.requests);
    anyhow::ensure!(
        requests >= TURNS / 2,
        "{} requests in the longer run and {} in the shorter",
        many.requests,
        few.requests
    );
    Ok(many.counted.saturating_sub(few.counted) as f64 / requests as f64)
}

/// The allocations that memcheck prints at its end.
fn allocated(stderr: &str) -> anyhow::Result<u64> {
    let line = stderr.lines().find_map(|line| line.split_once("total heap usage: "));
    let total = line.and_then(|(_, usage)| usage.split_whitespace().next()?.replace(',', "").parse().ok());
    total.with_context(|| format!("memcheck printed no `total heap usage`: {stderr}"))
}

/// The total that callgrind prints at its end.
pub(super) fn collected(stderr: &str) -> anyhow::Result<u64> {
    let line = stderr.lines().find_map(|line| line.split_once("Collected :"));
    let total = line.and_then(|(_, total)| total.split_whitespace().next()?.parse().ok());
    total.with_context(|| format!("callgrind printed no `Collected :`: {stderr}"))
}

/// Of strace's table; without a line there were none.
pub(super) fn futex_calls(table: &str) -> anyhow::Result<u64> {
    let Some(line) = table.lines().find(|line| line.split_whitespace().last() == Some("futex")) else {
        return Ok(0);
    };
    let calls = line.split_whitespace().nth(3).and_then(|calls| calls.parse().ok());
    calls.with_context(|| format!("strace's table: {table}"))
}

fn judge(costs: &Costs, budget: &Costs) -> anyhow::Result<()> {
    let (mut over, mut below) = (Vec::new(), Vec::new());
    for (way, cost) in costs {
        let allowed = budget.get(way).with_context(|| format!("no {way} in {BUDGET}"))?;
        let ratio = cost.instructions / allowed.instructions;
        if ratio > 1.0 + TOLERANCE {
            over.push(format!(
                "{way}: {:.0} instructions a request, {:.0} % over the budget of {:.0}",
                cost.instructions,
                100.0 * (ratio - 1.0),
                allowed.instructions
            ));
        }
        // A vector that grows once in a while in one of the runs is not for each request.
        if cost.allocations > allowed.allocations * (1.0 + TOLERANCE) + 0.005 {
            over.push(format!(
                "{way}: {:.3} allocations a request where {:.3} are allowed",
                cost.allocations, allowed.allocations
            ));
        }
        if ratio < 1.0 - TOLERANCE {
            below.push(way.as_str());
        }
    }
    anyhow::ensure!(
        over.is_empty(),
        "the load thread's hot path costs more than {BUDGET} allows: {}. `callgrind_annotate target/bench/callgrind-WAY.out` \
         shows where; if it is worth it, `cargo xtask bench hot-path --bless` writes the budget anew, and the commit says why",
        over.join("; ")
    );
    if !below.is_empty() {
        println!(
            "hot path: {}: more than {:.0} % below the budget; `cargo xtask bench hot-path --bless` keeps what was won",
            below.join(", "),
            100.0 * TOLERANCE
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_print_is_read() {
        let stderr = "==7== Events    : Ir\n==7== Collected : 123456789\n==7==\n";
        assert_eq!(collected(stderr).expect("a total"), 123_456_789);
        assert!(collected("==7== killed").is_err());
        let heap =
            "==7== HEAP SUMMARY:\n==7==   total heap usage: 12,345 allocs, 12,000 frees, 9 bytes allocated\n";
        assert_eq!(allocated(heap).expect("a total"), 12_345);
        assert!(allocated("==7== killed").is_err());
        let table = "% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- --------- ----------------\n100.00    0.000100          10        17         3 futex\n------ ----------- ----------- --------- --------- ----------------\n100.00    0.000100          10        17         3 total\n";
        assert_eq!(futex_calls(table).expect("calls"), 17);
        assert_eq!(futex_calls("").expect("none"), 0);
    }

    #[test]
    fn what_is_over_the_budget_is_told_and_how_to_write_it_anew() {
        let of =
            |instructions, allocations| Costs::from([("tls".to_owned(), Cost { instructions, allocations })]);
        let cost = |instructions, allocations| judge(&of(instructions, allocations), &of(1_000.0, 2.0));
        assert!(cost(1_099.0, 2.2).is_ok());
        let error = cost(1_200.0, 3.0).expect_err("over").to_string();
        for words in ["tls: ", "20 % over", "3.000 allocations", "--bless"] {
            assert!(error.contains(words), "{error}");
        }
        assert!(judge(&of(1.0, 0.0), &Costs::new()).is_err());
    }

    #[test]
    fn start_and_end_of_a_run_count_nothing() {
        let counted = |requests, counted| Counted { requests, counted };
        let each = more(counted(5_000, 9_000_000), counted(10_000, 14_000_000)).expect("a cost");
        assert_eq!(each, 1_000.0);
        assert!(more(counted(5_000, 1), counted(6_000, 2)).is_err());
    }
}
