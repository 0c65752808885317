//! Compiling in a child process: what it may take, and what is said when it takes more.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sandbox::{Compile, Host, HostConfig, compile_file};

use crate::wat::{Guest, limits};

/// A shell script in the place of the compiler; it finds the two paths in $1 and $2.
fn shell(script: &str) -> HostConfig {
    let args = ["-c", script, "compiler"].map(Into::into).into();
    let compile = Compile::Child { program: "/bin/sh".into(), args };
    HostConfig { limits: limits(), compile, instances: 2, ..HostConfig::default() }
}

fn guest(dir: &Path) -> PathBuf {
    let path = dir.join("guest.wasm");
    std::fs::write(&path, Guest::default().build()).unwrap();
    path
}

fn failure(config: HostConfig) -> String {
    let dir = tempfile::tempdir().unwrap();
    let error = Host::new(config).unwrap().load(&guest(dir.path())).unwrap_err().to_string();
    assert!(error.contains("guest.wasm cannot be compiled: "), "{error}");
    error
}

#[test]
fn what_a_child_compiled_runs_here() {
    let dir = tempfile::tempdir().unwrap();
    let path = guest(dir.path());
    let compiled = dir.path().join("compiled");
    compile_file(&path, &compiled).unwrap();
    let host = Host::new(shell(&format!("cp '{}' \"$2\"", compiled.display()))).unwrap();
    host.load(&path).unwrap().instantiate("{}", 1, 4).unwrap().step(0, &[], &[], &[]).unwrap();
}

#[test]
fn the_child_is_given_the_bytes_that_were_checked() {
    let dir = tempfile::tempdir().unwrap();
    let path = guest(dir.path());
    let seen = dir.path().join("seen");
    let host = Host::new(shell(&format!("cp \"$1\" '{}'; exit 1", seen.display()))).unwrap();
    host.load(&path).unwrap_err();
    assert_eq!(std::fs::read(&seen).unwrap(), std::fs::read(&path).unwrap());
}

#[test]
fn a_child_that_takes_too_long_is_killed() {
    let begin = Instant::now();
    let error = failure(HostConfig { compile_time: Duration::from_millis(200), ..shell("exec sleep 600") });
    assert!(error.contains("it took more than 200ms"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_child_may_not_have_all_memory() {
    // The limit is set from outside just after the start: the child may run a moment before it.
    let wait = "for i in $(seq 100); do [ \"$(ulimit -v)\" = unlimited ] || break; sleep 0.05; done; ulimit -v >&2; exit 3";
    let config = HostConfig { compile_memory_bytes: 256 << 20, ..shell(wait) };
    let error = failure(config);
    assert!(error.ends_with(&format!("{}", 256 << 10)), "{error}");
}

#[test]
fn what_the_child_says_is_passed_on() {
    let error = failure(shell("echo 'no such luck' >&2; exit 1"));
    assert!(error.ends_with("no such luck"), "{error}");
    assert!(failure(shell("exit 7")).ends_with("the compiler ended with exit code 7"));
    let error = failure(shell("kill -9 $$"));
    assert!(error.contains("signal: 9") && error.contains("it may have 4096 MiB of memory"), "{error}");
    assert!(failure(shell("true")).contains("the compiler left no output"));
}

#[test]
fn what_does_not_compile_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guest.wasm");
    // Valid to its last section, which is of a kind that does not exist.
    let mut wasm = Guest::default().build();
    wasm.extend([99, 0]);
    std::fs::write(&path, wasm).unwrap();
    let error = compile_file(&path, &dir.path().join("out")).unwrap_err().to_string();
    assert!(error.contains("guest.wasm"), "{error}");
}
