//! Images where no registry is reached: Debian's base system by debootstrap in place of the slim image, and on it the stages
//! of the real Dockerfile as they stand, with programs that were built here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use super::engine::{Engine, output};
use super::file::Compose;
use crate::paths::{root, run, target};
use crate::tools;

/// The stand-in for Debian's slim image.
const BASE: &str = "gauntlet-compose-test:base";
/// What the slim image has not either.
const NOT_IN_SLIM: [&str; 6] = [
    "./usr/share/doc",
    "./usr/share/man",
    "./usr/share/locale",
    "./var/cache/apt",
    "./var/lib/apt/lists",
    "./usr/share/info",
];
const BINARIES: [&str; 9] = [
    "gauntlet",
    "gauntlet-scheduler",
    "gauntlet-metrics",
    "gauntlet-load-worker",
    "gauntlet-chaos",
    "gauntlet-recovery",
    "gauntlet-fault-agent",
    "gauntlet-fault-proxy",
    "core-services",
];
/// Where Debian keeps the certificates of the world's authorities.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Debian's base system as a directory; made once.
///
/// # Errors
/// When it cannot be had.
pub(super) fn rootfs(work: &Path) -> anyhow::Result<PathBuf> {
    let dir = work.join("rootfs-bookworm");
    if dir.exists() {
        return Ok(dir);
    }
    super::say("making Debian's base system with debootstrap (a minute or three)");
    let partial = work.join("rootfs-partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(work)?;
    let log = work.join("debootstrap.log");
    let file = fs::File::create(&log)?;
    let mut debootstrap = Command::new("timeout");
    debootstrap.args(["--kill-after=10", "600", "debootstrap", "--variant=minbase", "--include=busybox"]);
    debootstrap.arg("bookworm").arg(&partial).stdin(Stdio::null()).stdout(file);
    run(&mut debootstrap).with_context(|| format!("what it did is in {}", log.display()))?;
    fs::rename(&partial, &dir)?;
    Ok(dir)
}

/// Builds every image that compose.yaml names, under that name.
///
/// # Errors
/// When one cannot be built.
pub(super) fn build(engine: &Engine, compose: &Compose, work: &Path, rootfs: &Path) -> anyhow::Result<()> {
    import(engine, rootfs)?;
    let context = fresh(&work.join("context"))?;
    ours(&context)?;
    let mut built = Vec::new();
    for (name, service) in compose.services() {
        let Some(stage) = service["build"]["target"].as_str() else { continue };
        let image = compose.image(name)?;
        if !built.contains(&image) {
            build_one(engine, &context, image, &["--target", stage])?;
            built.push(image);
        }
    }
    let base = format!("BASE={BASE}");
    let context = fresh(&work.join("context-nats"))?;
    fs::copy(root().join("deploy/docker/stand-in/nats.Dockerfile"), context.join("Dockerfile"))?;
    fs::copy(tools::nats()?, context.join("nats-server"))?;
    build_one(engine, &context, compose.image("nats")?, &["--build-arg", &base])?;

    let context = fresh(&work.join("context-postgres"))?;
    let stand_in = root().join("deploy/docker/stand-in");
    fs::copy(stand_in.join("postgres.Dockerfile"), context.join("Dockerfile"))?;
    fs::copy(stand_in.join("postgres-entrypoint.sh"), context.join("entrypoint.sh"))?;
    let files = tools::postgres_files(&work.join("postgres"))?;
    fs::rename(files, context.join("root"))?;
    build_one(engine, &context, compose.image("postgres")?, &["--build-arg", &base])
}

/// Name and size of every image, as the engine counts it: layers that images share are in each.
///
/// # Errors
/// When one is not there.
pub(super) fn sizes(engine: &Engine, compose: &Compose) -> anyhow::Result<Vec<(String, String)>> {
    let mut sizes = Vec::new();
    for image in
        std::iter::once(BASE).chain(compose.services().filter_map(|(name, _)| compose.image(name).ok()))
    {
        if sizes.iter().any(|(known, _)| known == image) {
            continue;
        }
        let bytes = engine.docker(&["image", "inspect", "--format", "{{.Size}}", image])?;
        let bytes: u64 = bytes.trim().parse().context("the size of an image")?;
        sizes.push((image.to_owned(), format!("{:>4} MB", bytes / 1_000_000)));
    }
    Ok(sizes)
}

fn import(engine: &Engine, rootfs: &Path) -> anyhow::Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("--directory").arg(rootfs).args(["--create", "--numeric-owner"]);
    tar.args(NOT_IN_SLIM.map(|path| format!("--exclude={path}/*"))).arg(".");
    let mut tar = tar.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start tar")?;
    let archive = tar.stdout.take().context("tar has no output")?;
    let mut docker = engine.client("docker", Duration::from_secs(300));
    let status = docker.args(["import", "-", BASE]).stdin(archive).stdout(Stdio::null()).status();
    let packed = tar.wait()?;
    let status = status.context("start docker import")?;
    anyhow::ensure!(status.success() && packed.success(), "docker import: {status}, tar: {packed}");
    Ok(())
}

/// The context of our own images: what the Dockerfile's first stage leaves in /out, and its other stages.
fn ours(context: &Path) -> anyhow::Result<()> {
    let path = root().join("deploy/docker/Dockerfile");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    fs::write(context.join("Dockerfile"), stand_in(&text)?)?;
    fs::create_dir(context.join("bin"))?;
    fs::create_dir(context.join("guests"))?;
    let target = target()?;
    for program in BINARIES {
        let built = target.join("release").join(program);
        let mut strip = Command::new("strip");
        strip.args(["--strip-debug", "--output-file"]).arg(context.join("bin").join(program)).arg(built);
        run(&mut strip)?;
    }
    for guest in ["http.wasm", "mcp.wasm", "expert.wasm"] {
        fs::copy(target.join("guests").join(guest), context.join("guests").join(guest))?;
    }
    // A machine without them has an image without them: nothing in the test speaks TLS to the world.
    let authorities = fs::read(AUTHORITIES).unwrap_or_default();
    fs::write(context.join("ca-certificates.crt"), authorities)?;
    Ok(())
}

/// The Dockerfile without its first stage, on our base.
fn stand_in(dockerfile: &str) -> anyhow::Result<String> {
    let begin = dockerfile
        .find("\nFROM debian:")
        .context("the Dockerfile has no line that begins with FROM debian:")?;
    let stages = &dockerfile[begin + 1..];
    let (from, rest) = stages.split_once('\n').context("the Dockerfile ends too early")?;
    let name = from.rsplit(' ').next().unwrap_or_default();
    let text = format!("FROM {BASE} AS {name}\n{}", rest.replace("--from=build /out/", ""));
    anyhow::ensure!(
        !text.contains("--from"),
        "the Dockerfile copies from build other than --from=build /out/"
    );
    Ok(text)
}

fn build_one(engine: &Engine, context: &Path, image: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let mut docker = engine.client("docker", Duration::from_secs(300));
    output(docker.args(["build", "--tag", image]).args(arguments).arg(context))?;
    Ok(())
}

/// An empty directory.
fn fresh(dir: &Path) -> anyhow::Result<PathBuf> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    Ok(dir.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_has_every_stage_but_the_one_that_builds() {
        let path = root().join("deploy/docker/Dockerfile");
        let text = stand_in(&fs::read_to_string(path).unwrap()).unwrap();
        assert!(text.starts_with("FROM gauntlet-compose-test:base AS base\n"), "{text}");
        assert!(
            !text.contains("cargo") && text.contains("\nCOPY bin/gauntlet-scheduler /usr/local/bin/\n"),
            "{text}"
        );
        assert_eq!(text.lines().filter(|line| line.starts_with("FROM base AS ")).count(), 7);
        for program in BINARIES {
            assert!(text.contains(&format!("COPY bin/{program} ")), "{program}");
            // What chaos starts by itself is nobody's entry point.
            let starts = text.contains(&format!("[\"{program}\"]"));
            assert_eq!(starts, !program.starts_with("gauntlet-fault-"), "{program}");
        }
    }
}
