//! Guests as components: where `cargo xtask test` says that they are, else built by the test that wants one.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The component of the guest with this name.
pub(crate) fn component(name: &str) -> PathBuf {
    if let Some(guests) = std::env::var_os("GAUNTLET_GUESTS") {
        return Path::new(&guests).join(format!("{name}.wasm"));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output =
        Command::new(env!("CARGO")).current_dir(&root).args(["xtask", "guests", name]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let line = said.lines().find(|line| line.starts_with(&format!("guests: {name} ")));
    PathBuf::from(line.and_then(|line| line.rsplit_once(", in ")).expect("the path of the component").1)
}
