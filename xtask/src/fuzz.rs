//! `cargo xtask fuzz [SECONDS]`: builds the fuzz targets of what reads a target's bytes and runs them at the same time.

mod seeds;

use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::paths::{root, run};
use crate::tools;

/// The package with the targets.
const PACKAGE: &str = "services/load-worker/fuzz";

/// How long each target runs unless told otherwise, seconds.
pub(crate) const SECONDS: u32 = 60;

/// Bytes of an input at most.
const MAX_LEN: usize = 4_096;

/// Findings, and the corpus that grows from run to run, are files beside the targets; git ignores them.
pub(crate) fn fuzz(seconds: u32) -> anyhow::Result<()> {
    let program = tools::cargo_fuzz()?;
    let cargo_fuzz = |what: &[&str]| {
        let mut command = Command::new(&program);
        // Instrumentation for coverage needs no nightly compiler; a sanitizer would.
        command.current_dir(root()).args(what).args(["--sanitizer", "none", "--fuzz-dir", PACKAGE]);
        command
    };
    run(&mut cargo_fuzz(&["build"]))
        .context("build the fuzz targets; they need a C++ compiler, Debian's g++")?;
    let seeds = seeds::write(&root().join(PACKAGE).join("corpus"), MAX_LEN)?;
    println!("fuzz: {seeds} inputs to begin with are from the committed odd answers");
    let mut runs = Vec::new();
    for target in targets()? {
        let mut command = cargo_fuzz(&["run"]);
        command.args([&target, "--", "-verbosity=0", "-print_final_stats=1"]);
        command.arg(format!("-max_len={MAX_LEN}")).arg(format!("-max_total_time={seconds}"));
        command.arg(format!("-dict={PACKAGE}/http.dict"));
        println!("fuzz: {target} for {seconds} s");
        // What it says is a dictionary of a hundred lines if nothing was found: it is kept until that is known.
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        runs.push((target, command.spawn().context("start cargo-fuzz")?));
    }
    let mut failed = Vec::new();
    for (target, child) in runs {
        let output = child.wait_with_output().context("wait for cargo-fuzz")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            eprint!("{said}");
            failed.push(format!("{target} ({})", output.status));
        } else if let Some(inputs) =
            said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        {
            println!("fuzz: {target}: nothing found in {} inputs", inputs.trim());
        }
    }
    anyhow::ensure!(
        failed.is_empty(),
        "fuzz targets found something: {}; the inputs are under {PACKAGE}/artifacts, one per finding, and \
         `cargo fuzz run --sanitizer none --fuzz-dir {PACKAGE} TARGET INPUT` runs one again",
        failed.join(", ")
    );
    Ok(())
}

/// The targets: one file each.
fn targets() -> anyhow::Result<Vec<String>> {
    let dir = root().join(PACKAGE).join("fuzz_targets");
    let files = std::fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))?;
    let mut names = Vec::new();
    for file in files {
        let path = file.context("read the list of fuzz targets")?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}
