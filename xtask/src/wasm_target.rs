//! Where the standard library for `wasm32-unknown-unknown` comes from.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::paths::{root, run};

/// The target that guests are built for: no system interface at all.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's Rust for the browser, unpacked next to our builds when nothing else is to be had. Our own cargo drives it.
const PACKAGES: [&str; 5] =
    ["rustc-web", "rust-web-src", "libstd-rust-web-dev", "libstd-rust-web-1.96", "libllvm22"];

/// A Rust that builds guests.
pub(crate) enum Toolchain {
    /// Our own, with the target installed.
    Installed,
    /// Our own; rustup has just added the target.
    Added,
    /// Debian's compiler, unpacked here; it builds the standard library from its sources.
    Debian(PathBuf),
}

impl Toolchain {
    /// Takes the first way that works.
    pub(crate) fn find(target_dir: &Path) -> anyhow::Result<Self> {
        if is_installed() {
            return Ok(Self::Installed);
        }
        println!("guests: {TARGET} is not installed; trying rustup target add");
        let added = Command::new("rustup").current_dir(root()).args(["target", "add", TARGET]).status();
        if added.is_ok_and(|status| status.success()) && is_installed() {
            return Ok(Self::Added);
        }
        println!("guests: rustup cannot add it; unpacking Debian's Rust under {}", target_dir.display());
        let root = target_dir.join("tools/rust-web");
        if !root.join("usr/bin/rustc").exists() {
            unpack(&root).with_context(|| {
                format!("no Rust for {TARGET}: run `rustup target add {TARGET}` where rustup has a network")
            })?;
        }
        Ok(Self::Debian(root))
    }

    /// Which way it was.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Installed => format!("{TARGET} is installed"),
            Self::Added => format!("{TARGET} was added with rustup"),
            Self::Debian(root) => format!("{TARGET} is built with Debian's Rust in {}", root.display()),
        }
    }

    /// Makes a cargo build command use it.
    pub(crate) fn apply(&self, command: &mut Command) {
        // Flags for native builds (coverage, sanitizers, native CPU) and wrappers do not suit guests.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            command.env_remove(name);
        }
        let Self::Debian(root) = self else { return };
        let libraries = ["usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib"];
        let libraries: Vec<_> = libraries.iter().map(|dir| root.join(dir).display().to_string()).collect();
        command
            .env("RUSTC", root.join("usr/bin/rustc"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("LD_LIBRARY_PATH", libraries.join(":"))
            .arg("-Zbuild-std=std,panic_abort");
        if let Some(linker) = linker() {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
    }
}

/// The linker that comes with our own toolchain. It serves Debian's compiler too, whose own is another package.
fn linker() -> Option<PathBuf> {
    let sysroot = rustc(&["--print", "sysroot"])?;
    let host = rustc(&["--print", "host-tuple"])?;
    let linker = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    linker.exists().then_some(linker)
}

fn is_installed() -> bool {
    let Some(dir) = rustc(&["--print", "target-libdir", "--target", TARGET]) else { return false };
    let Ok(files) = std::fs::read_dir(dir) else { return false };
    files.filter_map(Result::ok).any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

/// What our own rustc says.
fn rustc(arguments: &[&str]) -> Option<String> {
    let beside = Path::new(env!("CARGO")).with_file_name("rustc");
    let program = if beside.exists() { beside } else { PathBuf::from("rustc") };
    let output = Command::new(program).current_dir(root()).args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}

fn unpack(to: &Path) -> anyhow::Result<()> {
    let downloads = to.with_extension("download");
    std::fs::create_dir_all(&downloads)?;
    let fetch = || {
        let mut command = Command::new("apt-get");
        command
            .current_dir(&downloads)
            .args(["download", "-qq"])
            .args(PACKAGES)
            .status()
            .context("start apt-get")
    };
    if !fetch()?.success() {
        // A new machine has no package lists yet.
        run(Command::new("apt-get").args(["update", "-qq"]))?;
        anyhow::ensure!(fetch()?.success(), "apt-get cannot download {}", PACKAGES.join(", "));
    }
    // Unpacked aside and renamed: an interrupted run leaves nothing that looks whole.
    let partial = to.with_extension("partial");
    std::fs::create_dir_all(&partial)?;
    for file in std::fs::read_dir(&downloads)? {
        run(Command::new("dpkg").arg("-x").arg(file?.path()).arg(&partial))?;
    }
    std::fs::rename(&partial, to)?;
    std::fs::remove_dir_all(&downloads)?;
    Ok(())
}
