//! What the test needs of the machine: root, and programs of Debian's packages.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use anyhow::Context as _;

use crate::paths::run;
use crate::tools::in_path;

/// A program and Debian's package with it.
const PROGRAMS: [(&str, &str); 8] = [
    ("dockerd", "docker.io"),
    ("docker", "docker.io"),
    ("docker-compose", "docker-compose"),
    ("debootstrap", "debootstrap"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("strip", "binutils"),
];

/// Whether the test can be made here; installs what is missing, and says loudly why not.
///
/// # Errors
/// When a package cannot be installed.
pub(super) fn all_there() -> anyhow::Result<bool> {
    let root = std::fs::metadata("/proc/self").context("look at /proc/self")?.uid() == 0;
    if !root {
        eprintln!(
            "SKIPPED: compose-test needs root: it makes a network namespace and starts a container engine in it. \
             NOTHING WAS TESTED."
        );
        return Ok(false);
    }
    let missing = || PROGRAMS.iter().filter(|(program, _)| in_path(program).is_none());
    let mut packages: Vec<&str> = missing().map(|(_, package)| *package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(true);
    }
    if in_path("apt-get").is_none() {
        eprintln!(
            "SKIPPED: compose-test needs {}, and there is no apt-get to install them with. NOTHING WAS TESTED.",
            packages.join(", ")
        );
        return Ok(false);
    }
    super::say(&format!("installing {} with apt", packages.join(" ")));
    let install = || {
        let mut apt = Command::new("timeout");
        apt.args(["600", "apt-get", "install", "--yes", "-qq", "--no-install-recommends"]).args(&packages);
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        run(&mut apt)
    };
    if install().is_err() {
        // A new machine has no package lists yet.
        run(Command::new("timeout").args(["300", "apt-get", "update", "-qq"]))?;
        install()?;
    }
    let still: Vec<&str> = missing().map(|(program, _)| *program).collect();
    anyhow::ensure!(still.is_empty(), "{} not found after installing their packages", still.join(", "));
    Ok(true)
}
