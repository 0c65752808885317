//! Files that are not loaded, and how that is said.

use sandbox::{HostConfig, LoadError};

use crate::wat::{Bench, Guest, component, limits, world};

/// The words with which a file is refused.
fn refusal(bytes: &[u8]) -> String {
    let bench = Bench::new();
    let path = bench.file("guest.wasm", bytes);
    let error = bench.host.load(&path).unwrap_err();
    let words = error.to_string();
    assert!(words.contains("guest.wasm"), "{words}");
    bench.still_serves();
    words
}

#[test]
fn a_file_that_is_not_there() {
    let bench = Bench::new();
    let error = bench.host.load(&bench.dir.path().join("none.wasm")).unwrap_err();
    assert!(matches!(error, LoadError::Read { .. }), "{error}");
    assert!(error.to_string().contains("none.wasm"), "{error}");
}

#[test]
fn a_file_that_is_no_component() {
    assert!(refusal(b"").contains("it is empty"));
    assert!(refusal(b"\x7fELF").contains("it is something else"));
    assert!(refusal(b"(component)").contains("it is the text form of WebAssembly"));
    let core = wat::parse_str("(module)").unwrap();
    let words = refusal(&core);
    assert!(words.contains("it is a core module; make a component of it"), "{words}");
    let whole = Guest::default().build();
    let words = refusal(&whole[..whole.len() / 2]);
    assert!(words.contains("it is broken"), "{words}");
}

#[test]
fn a_file_that_is_too_large() {
    let bench = Bench::with(HostConfig { limits: limits(), wasm_bytes: 1000, ..HostConfig::default() });
    let wasm = Guest::default().build();
    assert!(wasm.len() > 1000);
    let error = bench.host.load(&bench.file("guest.wasm", &wasm)).unwrap_err();
    assert!(error.to_string().contains("has more than 1000 bytes"), "{error}");
}

#[test]
fn another_version_of_the_interface() {
    let of = |version: &str| {
        let module = Guest::default().module().replace("@0.1.0", &format!("@{version}"));
        component(&module, &world().replace("0.1.0", version))
    };
    let words = refusal(&of("0.2.0"));
    for part in [
        "does not fit gauntlet:scenario 0.1.0",
        "exports gauntlet:scenario/generator@0.2.0, but 0.1.x is understood here; use a newer gauntlet",
        "imports gauntlet:scenario/host@0.2.0",
    ] {
        assert!(words.contains(part), "{words}");
    }
    let words = refusal(&of("0.0.9"));
    assert!(words.contains("build the guest again with the SDK of this gauntlet"), "{words}");

    // A later 0.1 with nothing new in it is understood.
    let bench = Bench::new();
    bench.host.load(&bench.file("guest.wasm", &of("0.1.7"))).unwrap();
}

#[test]
fn imports_beyond_the_world_are_all_listed() {
    let module = Guest {
        imports: r#"(import "wasi:random/random@0.2.6" "get-random-u64" (func (result i64)))
            (import "acme:db/client" "connect" (func))"#,
        ..Guest::default()
    };
    let world = format!(
        "{}
        package wasi:random@0.2.6 {{ interface random {{ get-random-u64: func() -> u64; }} }}
        package acme:db {{ interface client {{ connect: func(); }} }}",
        world()
            .replace("import host;", "import host; import wasi:random/random@0.2.6; import acme:db/client;")
    );
    let words = refusal(&component(&module.module(), &world));
    for part in [
        "imports wasi:random/random@0.2.6, but a guest has no access to the system; build for wasm32-unknown-unknown",
        "imports acme:db/client, but a guest is given gauntlet:scenario/host alone",
    ] {
        assert!(words.contains(part), "{words}");
    }
}

#[test]
fn a_component_of_another_world() {
    let words = refusal(&wat::parse_str("(component)").unwrap());
    assert!(
        words.contains("does not export gauntlet:scenario/generator@0.1.0 (it exports nothing)"),
        "{words}"
    );
}

#[test]
fn a_function_of_another_type() {
    let world = world().replace("users: u32) -> result", "users: u32, more: u32) -> result");
    let module =
        Guest::default().module().replace("(param $users i32)", "(param $users i32) (param $more i32)");
    let words = refusal(&component(&module, &world));
    assert!(words.contains("does not fit gauntlet:scenario 0.1.0"), "{words}");
    assert!(
        words.contains("expected 3-tuple, found 4-tuple; build it with the SDK of this gauntlet"),
        "{words}"
    );

    // And an import's: `log` with one parameter more.
    let world = crate::wat::world().replace("log: func(level: level,", "log: func(level: level, more: u32,");
    let module = Guest::default().module().replace("(param i32 i32 i32)", "(param i32 i32 i32 i32)");
    let words = refusal(&component(&module, &world));
    assert!(words.contains("does not fit gauntlet:scenario 0.1.0"), "{words}");
}
