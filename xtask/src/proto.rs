//! Generates `crates/protocol/src/generated/` from the `.proto` files, without protoc.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Writes the generated code; the result is committed, and a test fails when it has drifted.
pub(crate) fn generate() -> anyhow::Result<()> {
    let out = root().join("crates/protocol/src/generated");
    std::fs::create_dir_all(&out)?;
    generate_into(&out)
}

fn generate_into(out: &Path) -> anyhow::Result<()> {
    let protos = root().join("crates/protocol/proto");
    let files = ["load", "samples", "run"].map(|name| protos.join(format!("gauntlet/v1/{name}.proto")));
    let set = protox::compile(files, [&protos]).context("compile the .proto files")?;
    prost_build::Config::new().out_dir(out).compile_fds(set).context("generate Rust code")
}
