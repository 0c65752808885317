//! `cargo xtask bench threads`: whether load threads share anything. One and then two of them run, in turns, each with a server
//! on its own thread; two should do twice as much. Rates say something only on two cores where nothing else runs; what is
//! said of CPU time survives a busy machine better. Futex calls are counted in a run by itself, for counting slows it.

use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::hot_path::{futex_calls, output};
use crate::paths::target;
use crate::tools::load_generators as tools;

/// Seconds of a measurement, and pairs of them.
const TIMED: [&str; 2] = ["3", "5"];

/// The same of the run whose futex calls are counted.
const COUNTED: [&str; 2] = ["1", "1"];

/// Measures, prints, and writes `target/bench/threads.json`. `release`: as released, else as tests are compiled.
pub(crate) fn threads(release: bool) -> anyhow::Result<()> {
    let program = super::programs(release)?.join("load-thread");
    let dir = target()?.join("bench");
    std::fs::create_dir_all(&dir)?;
    let scale = |mut command: Command, length: [&str; 2]| -> anyhow::Result<Vec<Value>> {
        let said = output(command.arg("scale").args(length))?;
        serde_json::from_slice(&said.stdout).context("read what load-thread printed")
    };
    let rows = scale(Command::new(&program), TIMED)?;
    for row in &rows {
        println!(
            "threads: one {:>9.0} req/s, two {:>9.0} req/s: {:.2} times as many, {:.2} by CPU time",
            row["one"]["per_second"].as_f64().unwrap_or(0.0),
            row["two"]["per_second"].as_f64().unwrap_or(0.0),
            row["ratio"].as_f64().unwrap_or(0.0),
            row["ratio_of_cpu_time"].as_f64().unwrap_or(0.0),
        );
    }
    let (ratio, of_cpu) = (median(&rows, "ratio")?, median(&rows, "ratio_of_cpu_time")?);
    let table = dir.join("strace-threads.txt");
    let mut strace = Command::new(tools::strace()?);
    strace.args(["--follow-forks", "--summary-only", "--trace=futex", "--output"]).arg(&table).arg(&program);
    let counted = scale(strace, COUNTED)?;
    let requests: u64 =
        counted.iter().flat_map(|row| ["one", "two"].map(|of| row[of]["requests"].as_u64())).flatten().sum();
    let futex = futex_calls(&std::fs::read_to_string(&table)?)?;
    println!(
        "threads: median {ratio:.2} times as many, {of_cpu:.2} by CPU time; {futex} futex calls in {requests} requests"
    );
    let path = dir.join("threads.json");
    let text = json!({
        "profile": if release { "release" } else { "debug" },
        "pairs": rows,
        "ratio": ratio,
        "ratio_of_cpu_time": of_cpu,
        "futex_calls": { "calls": futex, "requests": requests },
    });
    std::fs::write(&path, format!("{text:#}\n")).with_context(|| format!("write {}", path.display()))?;
    println!("threads: wrote {}", path.display());
    Ok(())
}

fn median(rows: &[Value], name: &str) -> anyhow::Result<f64> {
    let mut values: Vec<f64> = rows.iter().filter_map(|row| row[name].as_f64()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().with_context(|| format!("no {name} was measured"))
}
