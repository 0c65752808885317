//! Guests written by hand, so that they can do what no sane toolchain emits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sandbox::{Host, HostConfig, Instance, Limits};
use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The world as it is.
pub(crate) fn world() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/scenario.wit")).unwrap()
}

/// What a guest does in each call; the rest is a guest that behaves: one step, one check, one method, and silence.
#[derive(Clone, Copy, Default)]
pub(crate) struct Guest<'a> {
    /// Instructions at the beginning of `describe`.
    pub(crate) describe: &'a str,
    /// Instructions at the beginning of `configure`.
    pub(crate) configure: &'a str,
    /// Instructions at the beginning of `step`. Local `$output` is where the output begins: five pairs of pointer and
    /// length, all zero.
    pub(crate) step: &'a str,
    /// More of the module: data and functions.
    pub(crate) more: &'a str,
    /// More imports of the module, before everything else.
    pub(crate) imports: &'a str,
    /// The guest's name; `hostile` when empty.
    pub(crate) name: &'a str,
}

impl Guest<'_> {
    /// The core module. Memory: strings from 16, the descriptor at 1024, the setup at 2048, the output at 4096; what
    /// the host hands in from 65536 on, over and over again.
    pub(crate) fn module(&self) -> String {
        let Self { describe, configure, step, more, imports, name } = self;
        let name = if name.is_empty() { "hostile" } else { name };
        format!(
            r#"(module
  (import "gauntlet:scenario/host@0.1.0" "log" (func $log (param i32 i32 i32)))
  {imports}
  (memory (export "memory") 4)
  (global $next (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  (data (i32.const 16) "{name}")
  (data (i32.const 64) "1.2.3")
  (data (i32.const 80) "http")
  (data (i32.const 96) "{{}}")
  (data (i32.const 112) "GET")
  (func (export "gauntlet:scenario/generator@0.1.0#describe") (result i32)
    {describe}
    (i32.store offset=0 (i32.const 1024) (i32.const 16))
    (i32.store offset=4 (i32.const 1024) (i32.const {name_length}))
    (i32.store offset=8 (i32.const 1024) (i32.const 64))
    (i32.store offset=12 (i32.const 1024) (i32.const 5))
    (i32.store offset=16 (i32.const 1024) (i32.const 80))
    (i32.store offset=20 (i32.const 1024) (i32.const 4))
    (i32.store offset=24 (i32.const 1024) (i32.const 96))
    (i32.store offset=28 (i32.const 1024) (i32.const 2))
    (i32.const 1024))
  (func (export "gauntlet:scenario/generator@0.1.0#configure")
    (param $config i32) (param $length i32) (param $seed i64) (param $users i32) (result i32)
    {configure}
    ;; ok, then the lists of the setup: steps, checks, metrics, methods. A name is (112, 3).
    (i32.store (i32.const 2200) (i32.const 112))
    (i32.store (i32.const 2204) (i32.const 3))
    (i32.store offset=4 (i32.const 2048) (i32.const 2200))
    (i32.store offset=8 (i32.const 2048) (i32.const 1))
    (i32.store offset=12 (i32.const 2048) (i32.const 2200))
    (i32.store offset=16 (i32.const 2048) (i32.const 1))
    (i32.store offset=28 (i32.const 2048) (i32.const 2200))
    (i32.store offset=32 (i32.const 2048) (i32.const 1))
    (i32.const 2048))
  (func (export "gauntlet:scenario/generator@0.1.0#step")
    (param $now i64) (param $starts i32) (param $start_count i32) (param $done i32) (param $done_count i32)
    (param $arena i32) (param $arena_length i32) (result i32)
    (local $output i32)
    (global.set $next (i32.const 65536))
    (local.set $output (i32.const 4096))
    {step}
    (local.get $output))
  {more}
)"#,
            name_length = name.len(),
        )
    }

    /// The component.
    pub(crate) fn build(&self) -> Vec<u8> {
        component(&self.module(), &world())
    }
}

/// A component of a core module and a world.
pub(crate) fn component(module: &str, world: &str) -> Vec<u8> {
    let mut core = wat::parse_str(module).unwrap();
    let mut resolve = Resolve::default();
    let package = resolve.push_str("scenario.wit", world).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().validate(true).module(&core).unwrap().encode().unwrap()
}

/// A folder with guests and a host for them.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) host: Host,
}

/// Short deadlines, so that tests are; still far longer than what a guest that behaves needs.
pub(crate) fn limits() -> Limits {
    Limits {
        call_deadline: Duration::from_millis(100),
        describe_deadline: Duration::from_millis(100),
        configure_deadline: Duration::from_millis(100),
        memory_bytes: 4 << 20,
        memory_bytes_per_user: 64 << 10,
        output_bytes: 1 << 20,
        log_lines_per_second: 10,
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(HostConfig { limits: limits(), instances: 4, ..HostConfig::default() })
    }

    pub(crate) fn with(config: HostConfig) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), host: Host::new(config).unwrap() }
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Loads a guest and makes an instance for 4 users.
    pub(crate) fn instance(&self, guest: &Guest<'_>) -> Instance {
        let path = self.file("guest.wasm", &guest.build());
        self.host.load(&path).unwrap().instantiate("{}", 1, 4).unwrap()
    }

    /// Shows that the host still serves: another guest, from file to answer.
    pub(crate) fn still_serves(&self) {
        let output =
            self.instance(&Guest { name: "another", ..Guest::default() }).step(0, &[], &[], &[]).unwrap();
        assert_eq!(output.requests, []);
    }
}
