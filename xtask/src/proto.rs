//! Generates `crates/protocol/src/generated/` from the `.proto` files, without protoc.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::paths::{root, target};

const FILE: &str = "gauntlet.v1.rs";

fn committed() -> PathBuf {
    root().join("crates/protocol/src/generated")
}

/// Writes the generated code, which is committed.
pub(crate) fn generate() -> anyhow::Result<()> {
    generate_into(&committed())
}

/// Fails when the committed code is not what the `.proto` files give.
pub(crate) fn check() -> anyhow::Result<()> {
    let fresh = target()?.join("proto-check");
    generate_into(&fresh)?;
    anyhow::ensure!(
        std::fs::read(fresh.join(FILE))? == std::fs::read(committed().join(FILE))?,
        "crates/protocol/src/generated has drifted from its .proto files: run `cargo xtask proto` and commit"
    );
    Ok(())
}

fn generate_into(out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out)?;
    let protos = root().join("crates/protocol/proto");
    let files =
        ["load", "samples", "run", "faults"].map(|name| protos.join(format!("gauntlet/v1/{name}.proto")));
    let set = protox::compile(files, [&protos]).context("compile the .proto files")?;
    prost_build::Config::new().out_dir(out).compile_fds(set).context("generate Rust code")
}
