//! Compiled guests are kept, found again, and never trusted when damaged or open to others.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sandbox::{Compile, Host, HostConfig, HostError};
use tempfile::TempDir;

use crate::wat::{Bench, Guest, limits};

fn config(cache: &Path) -> HostConfig {
    HostConfig { limits: limits(), cache_dir: Some(cache.to_owned()), instances: 4, ..HostConfig::default() }
}

/// A host that cannot compile: what it loads comes from the cache.
fn without_compiler(cache: &Path) -> HostConfig {
    let compile = Compile::Child { program: "/nonexistent/compiler".into(), args: Vec::<OsString>::new() };
    HostConfig { compile, ..config(cache) }
}

struct Cached {
    room: TempDir,
    cache: PathBuf,
    guest: PathBuf,
}

/// A guest in a cache.
fn cached() -> Cached {
    let room = tempfile::tempdir().unwrap();
    let cache = room.path().join("deep/cache");
    let guest = room.path().join("guest.wasm");
    std::fs::write(&guest, Guest::default().build()).unwrap();
    Host::new(config(&cache)).unwrap().load(&guest).unwrap();
    Cached { room, cache, guest }
}

fn entries(cache: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_cached_guest_is_not_compiled_again() {
    let Cached { cache, guest, room: _room } = cached();
    assert_eq!(std::fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(entries(&cache).len(), 1);
    let loaded = Host::new(without_compiler(&cache)).unwrap().load(&guest).unwrap();
    loaded.instantiate("{}", 1, 4).unwrap().step(0, &[], &[], &[]).unwrap();

    // Another guest at the same path is another entry.
    std::fs::write(&guest, Guest { name: "another", ..Guest::default() }.build()).unwrap();
    let error = Host::new(without_compiler(&cache)).unwrap().load(&guest).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/compiler does not start"), "{error}");
    let loaded = Host::new(config(&cache)).unwrap().load(&guest).unwrap();
    assert_eq!(loaded.descriptor().name, "another");
    assert_eq!(entries(&cache).len(), 2);
}

#[test]
fn a_damaged_entry_is_made_again() {
    let Cached { cache, guest, room: _room } = cached();
    let entry = &entries(&cache)[0];
    let whole = std::fs::read(entry).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() - 1], &whole[..20], b""] {
        std::fs::write(entry, damaged).unwrap();
        assert!(Host::new(without_compiler(&cache)).unwrap().load(&guest).is_err());
        Host::new(config(&cache)).unwrap().load(&guest).unwrap();
        assert_eq!(std::fs::read(entry).unwrap(), whole, "the entry was made again");
    }
    assert_eq!(entries(&cache).len(), 1, "nothing is left behind");
}

#[test]
fn a_cache_that_others_may_write_to_is_refused() {
    let room = tempfile::tempdir().unwrap();
    std::fs::set_permissions(room.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = Host::new(config(room.path())).unwrap_err();
    assert!(matches!(error, HostError::Cache { .. }), "{error}");
    assert!(error.to_string().contains("others may write to it; chmod go-w"), "{error}");

    let file = room.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Host::new(config(&file)).unwrap_err();
    assert!(error.to_string().contains("it cannot be made"), "{error}");
}

#[test]
fn a_cache_that_cannot_be_written_costs_only_time() {
    let Cached { cache, guest, room: _room } = cached();
    // The entry's place is taken by a folder: neither reading nor renaming works.
    let entry = &entries(&cache)[0];
    std::fs::remove_file(entry).unwrap();
    std::fs::create_dir(entry).unwrap();
    Host::new(config(&cache)).unwrap().load(&guest).unwrap();
}

#[test]
fn the_digest_is_the_files() {
    use sha2::Digest as _;
    let bench = Bench::new();
    let wasm = Guest::default().build();
    let guest = bench.host.load(&bench.file("guest.wasm", &wasm)).unwrap();
    let hex: String = sha2::Sha256::digest(&wasm).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(guest.digest(), format!("sha256:{hex}"));
}
