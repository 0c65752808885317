//! `cargo xtask bench guest`: what the guests `http`, `mcp` and `expert` cost a request by what they look at of the answer, by
//! itself and in batches.
//!
//! Instructions are counted as `bench hot-path` counts them: a run of N requests and one of 2 N under callgrind, the second
//! less the first, so that start and end count nothing. Times are the fastest of some rounds without callgrind; they say
//! something only where nothing else runs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::hot_path::{collected, output};
use crate::paths::target;
use crate::tools::load_generators as tools;

/// See `bench/src/bin/guest_cost.rs`.
const CASES: [(&str, &[&str]); 3] = [
    ("http", &["none", "status", "parameters", "head", "body", "event"]),
    ("mcp", &["mcp-status", "mcp-verified"]),
    ("expert", &["expert-status", "expert"]),
];

/// Starts a call; 64 is the plan's default.
const BATCHES: [u32; 3] = [1, 64, 256];

/// Requests of the shorter counted run.
const COUNTED: u64 = 8_192;

/// Requests of a timed round, and how many rounds.
const TIMED: (u64, u32) = (65_536, 15);

/// Counts, times and prints; writes `target/bench/guest.json`. `release`: as released, else as tests are compiled.
pub(crate) fn guest(release: bool) -> anyhow::Result<()> {
    let names = CASES.map(|(guest, _)| guest);
    let guests = crate::guests::build_named(&names)?;
    let program = super::programs(release)?.join("guest-cost");
    let dir = target()?.join("bench");
    std::fs::create_dir_all(&dir)?;
    println!("guest: {:>13} {:>5} {:>12} {:>9}", "case", "batch", "instructions", "ns");
    let mut rows = Vec::new();
    for (name, cases) in CASES {
        let is_it = |path: &&PathBuf| path.file_stem().is_some_and(|stem| stem == name);
        let guest = guests.iter().find(is_it).with_context(|| format!("the guest {name} was not built"))?;
        let cost = Cost { program: program.clone(), guest: guest.clone(), dir: dir.clone() };
        // Callgrind's processor is another one: the guest is compiled for it once, and not in the runs that count.
        cost.under_callgrind(cases[0], 1, 1)?;
        for case in cases {
            for batch in BATCHES {
                let few = cost.under_callgrind(case, batch, COUNTED)?;
                let many = cost.under_callgrind(case, batch, 2 * COUNTED)?;
                let instructions = many.saturating_sub(few) as f64 / COUNTED as f64;
                let nanoseconds = cost.timed(case, batch)?;
                println!("guest: {case:>13} {batch:>5} {instructions:>12.0} {nanoseconds:>9.0}");
                rows.push(json!({
                    "guest": name,
                    "case": case,
                    "batch": batch,
                    "instructions_per_request": instructions,
                    "nanoseconds_per_request": nanoseconds,
                }));
            }
        }
    }
    let path = dir.join("guest.json");
    let text = json!({ "profile": if release { "release" } else { "debug" }, "costs": rows });
    std::fs::write(&path, format!("{text:#}\n")).with_context(|| format!("write {}", path.display()))?;
    println!("guest: wrote {}", path.display());
    Ok(())
}

struct Cost {
    program: PathBuf,
    guest: PathBuf,
    dir: PathBuf,
}

impl Cost {
    fn arguments(
        &self,
        command: &mut Command,
        cache: &str,
        case: &str,
        batch: u32,
        requests: u64,
        rounds: u32,
    ) {
        command.arg(&self.guest).arg(self.dir.join(cache)).arg(case);
        command.args([batch.to_string(), requests.to_string(), rounds.to_string()]);
    }

    /// Instructions of a whole process that makes so many requests.
    fn under_callgrind(&self, case: &str, batch: u32, requests: u64) -> anyhow::Result<u64> {
        let mut command = Command::new(tools::valgrind()?);
        command.arg("--tool=callgrind");
        command.arg(format!("--callgrind-out-file={}", self.dir.join("callgrind-guest.out").display()));
        command.arg(&self.program);
        self.arguments(&mut command, "guest-cache-callgrind", case, batch, requests, 1);
        collected(&String::from_utf8_lossy(&output(&mut command)?.stderr))
    }

    /// Nanoseconds a request in the fastest round.
    fn timed(&self, case: &str, batch: u32) -> anyhow::Result<f64> {
        let (requests, rounds) = TIMED;
        let mut command = Command::new(&self.program);
        self.arguments(&mut command, "guest-cache", case, batch, requests, rounds);
        let said: Value =
            serde_json::from_slice(&output(&mut command)?.stdout).context("read what it printed")?;
        let spent = said["nanoseconds"].as_f64().with_context(|| format!("no nanoseconds in {said}"))?;
        Ok(spent / requests as f64)
    }
}
