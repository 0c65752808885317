//! Each limit bites, costs its own instance only, and the fault names guest, call and limit.

use std::time::{Duration, Instant};

use sandbox::{ConfigureError, Fault, FaultKind, LoadError};

use crate::wat::{Bench, Guest};

/// The fault of a first step; afterwards the instance refuses, and the host goes on with the same guest and others.
fn fault(guest: &Guest<'_>) -> Fault {
    let bench = Bench::new();
    let path = bench.file("guest.wasm", &guest.build());
    let loaded = bench.host.load(&path).unwrap();
    let mut first = loaded.instantiate("{}", 1, 4).unwrap();
    let fault = first.step(0, &[], &[], &[]).unwrap_err();
    assert!(fault.message.starts_with("guest hostile@1.2.3: step: "), "{fault}");

    let again = first.step(0, &[], &[], &[]).unwrap_err();
    assert!(again.message.contains("has faulted before"), "{again}");
    let mut second = loaded.instantiate("{}", 1, 4).unwrap();
    assert_eq!(second.step(0, &[], &[], &[]).unwrap_err().kind, fault.kind);
    bench.still_serves();
    fault
}

const LOOP: &str = "(loop $forever (br $forever))";

#[test]
fn an_endless_loop_is_interrupted() {
    let begin = Instant::now();
    let fault = fault(&Guest { step: LOOP, ..Guest::default() });
    assert_eq!(fault.kind, FaultKind::Deadline);
    assert!(fault.message.contains("took more than 100ms of CPU time"), "{fault}");
    // Two of them, at most twice the deadline each; the rest is what a busy machine may add.
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn an_endless_loop_holds_up_nobody_else() {
    let bench = Bench::new();
    let path = bench.file("guest.wasm", &Guest { step: LOOP, ..Guest::default() }.build());
    let hostile = bench.host.load(&path).unwrap();
    let mut other = bench.instance(&Guest { name: "another", ..Guest::default() });
    std::thread::scope(|scope| {
        let looping = scope.spawn(|| hostile.instantiate("{}", 1, 4).unwrap().step(0, &[], &[], &[]));
        while !looping.is_finished() {
            other.step(0, &[], &[], &[]).unwrap();
        }
        assert_eq!(looping.join().unwrap().unwrap_err().kind, FaultKind::Deadline);
    });
}

#[test]
fn an_endless_describe_or_configure_is_interrupted() {
    let bench = Bench::new();
    let path = bench.file("loops.wasm", &Guest { describe: LOOP, ..Guest::default() }.build());
    let error = bench.host.load(&path).unwrap_err();
    let LoadError::Probe { fault, .. } = &error else { panic!("{error}") };
    assert_eq!(fault.kind, FaultKind::Deadline);
    assert!(error.to_string().contains("guest loops.wasm: describe: took more"), "{error}");

    let path = bench.file("guest.wasm", &Guest { configure: LOOP, ..Guest::default() }.build());
    let error = bench.host.load(&path).unwrap().instantiate("{}", 1, 4).unwrap_err();
    let ConfigureError::Fault(fault) = &error else { panic!("{error}") };
    assert_eq!(fault.kind, FaultKind::Deadline);
    assert!(fault.message.contains("configure: took more"), "{fault}");
    bench.still_serves();
}

#[test]
fn an_endless_loop_through_the_log_is_interrupted() {
    let step = "(loop $forever (call $log (i32.const 1) (i32.const 16) (i32.const 7)) (br $forever))";
    assert_eq!(fault(&Guest { step, ..Guest::default() }).kind, FaultKind::Deadline);
}

/// Traps when memory cannot grow, as allocators do.
const GROW: &str = "(if (i32.eq (memory.grow (i32.const 256)) (i32.const -1)) (then unreachable))";

#[test]
fn a_huge_allocation_is_denied() {
    let fault = fault(&Guest { step: GROW, ..Guest::default() });
    assert_eq!(fault.kind, FaultKind::Memory);
    let (wanted, limit) = (256 * 65_536 + 4 * 65_536, (4 << 20) + 4 * (64 << 10));
    let words = format!("wanted {wanted} bytes of memory and may have {limit}");
    assert!(fault.message.contains(&words), "{fault}");
}

#[test]
fn memory_grows_with_the_users() {
    let bench = Bench::new();
    let path = bench.file("guest.wasm", &Guest { step: GROW, ..Guest::default() }.build());
    let guest = bench.host.load(&path).unwrap();
    let many = 260 - 64;
    assert!(guest.instantiate("{}", 1, many).unwrap().step(0, &[], &[], &[]).is_ok());
    let fault = guest.instantiate("{}", 1, many - 1).unwrap().step(0, &[], &[], &[]).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Memory);
}

#[test]
fn a_denied_allocation_that_the_guest_survives_is_no_fault() {
    let step = "(drop (memory.grow (i32.const 256)))";
    Bench::new().instance(&Guest { step, ..Guest::default() }).step(0, &[], &[], &[]).unwrap();
}

#[test]
fn a_huge_output_is_cut_short() {
    // The arena: 2 MiB, all inside memory.
    let step = "(drop (memory.grow (i32.const 40)))
        (i32.store offset=0 (local.get $output) (i32.const 65536))
        (i32.store offset=4 (local.get $output) (i32.const 2097152))";
    let fault = fault(&Guest { step, ..Guest::default() });
    assert_eq!(fault.kind, FaultKind::Output);
    assert!(fault.message.contains("said more than 1048576 bytes at once"), "{fault}");
}

#[test]
fn a_trap_is_named() {
    let fault = fault(&Guest { step: "unreachable", ..Guest::default() });
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(fault.message.contains("unreachable"), "{fault}");
    assert_eq!(
        fault_of("(drop (i32.div_u (i32.const 1) (i32.const 0)))").message,
        "guest hostile@1.2.3: step: wasm trap: integer divide by zero"
    );
}

fn fault_of(step: &str) -> Fault {
    Bench::new().instance(&Guest { step, ..Guest::default() }).step(0, &[], &[], &[]).unwrap_err()
}

#[test]
fn a_trap_says_what_the_guest_logged_last() {
    let step = "(call $log (i32.const 3) (i32.const 16) (i32.const 7)) unreachable";
    let fault = fault_of(step);
    assert!(fault.message.ends_with("; it last said: hostile"), "{fault}");
}

#[test]
fn endless_recursion_traps() {
    let fault = fault(&Guest { step: "(call $down)", more: "(func $down (call $down))", ..Guest::default() });
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(fault.message.contains("call stack exhausted"), "{fault}");
}

/// A step that says one request. It lies at 8192: 56 bytes of scalars, then target, headers and body.
fn one_request(change: &str) -> String {
    format!(
        "(i32.store offset=0 (local.get $output) (i32.const 16))
         (i32.store offset=4 (local.get $output) (i32.const 100))
         (i32.store offset=8 (local.get $output) (i32.const 8192))
         (i32.store offset=12 (local.get $output) (i32.const 1))
         {change}"
    )
}

/// Where the fields of a request lie, in bytes from its beginning.
mod at {
    pub(super) const USER: u32 = 0;
    pub(super) const STEP: u32 = 12;
    pub(super) const METHOD: u32 = 20;
    pub(super) const CONNECTION: u32 = 36;
    pub(super) const TARGET: u32 = 40;
    pub(super) const HEADERS: u32 = 48;
    pub(super) const BODY: u32 = 56;
}

fn set(field: u32, value: u32) -> String {
    format!("(i32.store (i32.const {}) (i32.const {value}))", 8192 + field)
}

#[test]
fn a_request_that_holds_together_passes() {
    let step = one_request(&(set(at::USER, 3) + &set(at::TARGET, 64) + &set(at::TARGET + 4, 4)));
    let output =
        Bench::new().instance(&Guest { step: &step, ..Guest::default() }).step(0, &[], &[], &[]).unwrap();
    let request = output.requests[0];
    assert_eq!(request.user, 3);
    assert_eq!(sandbox::abi::slice(&output.arena, request.target), Some(&b"http"[..]));
}

#[test]
fn slices_outside_the_arena_are_bad_output() {
    for (field, name) in [(at::TARGET, "target"), (at::HEADERS, "headers"), (at::BODY, "body")] {
        for (off, len) in [(0, 101), (100, 1), (101, 1), (u32::MAX, 1), (1, u32::MAX), (u32::MAX, u32::MAX)] {
            let fault = fault_of(&one_request(&(set(field, off) + &set(field + 4, len))));
            assert_eq!(fault.kind, FaultKind::BadOutput, "{fault}");
            let words = format!("a request's {name} is at {off}, {len} bytes long, in an arena of 100");
            assert!(fault.message.contains(&words), "{fault}");
        }
    }
    let step = one_request(&set(at::TARGET, u32::MAX));
    fault(&Guest { step: &(step + &set(at::TARGET + 4, 1)), ..Guest::default() });
}

#[test]
fn indexes_out_of_range_are_bad_output() {
    for (field, value, words) in [
        (at::USER, 4, "a request's user is 4, and there are 4"),
        (at::STEP, 1, "a request's step is 1, and there are 1"),
        (at::METHOD, u32::MAX, "a request's method is 4294967295, and there are 1"),
    ] {
        let fault = fault_of(&one_request(&set(field, value)));
        assert_eq!(fault.kind, FaultKind::BadOutput);
        assert!(fault.message.contains(words), "{fault}");
    }
}

#[test]
fn headers_cut_off_are_bad_output() {
    // "1.2.3" at 48 in the arena as a header: its name would have 0x2e31 bytes.
    let fault = fault_of(&one_request(&(set(at::HEADERS, 48) + &set(at::HEADERS + 4, 5))));
    assert_eq!(fault.kind, FaultKind::BadOutput);
    assert!(fault.message.contains("the headers of user 0's request 0 are cut off"), "{fault}");
}

#[test]
fn what_cannot_be_read_is_bad_output() {
    let outside_memory = "(i32.store offset=0 (local.get $output) (i32.const -1))
        (i32.store offset=4 (local.get $output) (i32.const 100))";
    assert_eq!(fault_of(outside_memory).kind, FaultKind::BadOutput);
    let no_such_connection = one_request(&set(at::CONNECTION, 9));
    assert_eq!(fault_of(&no_such_connection).kind, FaultKind::BadOutput);
}

#[test]
fn a_bad_descriptor_is_refused() {
    let bench = Bench::new();
    let path = bench.file("guest.wasm", &Guest { name: "a\\nb", ..Guest::default() }.build());
    let error = bench.host.load(&path).unwrap_err().to_string();
    assert!(error.contains("its name is empty, over 100 bytes or has control characters"), "{error}");
}

#[test]
fn a_log_flood_is_dropped_and_counted() {
    // The parameter serves as the loop's counter.
    let step = "(local.set $start_count (i32.const 1000))
        (loop $again
            (call $log (i32.const 1) (i32.const 16) (i32.const 7))
            (local.set $start_count (i32.sub (local.get $start_count) (i32.const 1)))
            (br_if $again (local.get $start_count)))";
    let bench = Bench::new();
    let mut instance = bench.instance(&Guest { step, ..Guest::default() });
    instance.step(0, &[], &[], &[]).unwrap();
    let lines = instance.log_lines();
    assert_eq!(lines.written + lines.dropped, 1000);
    // One second's worth, and another's should the second end in between.
    assert!((10..=20).contains(&lines.written), "{lines:?}");
}

#[test]
fn more_instances_than_there_is_room_for_are_refused() {
    let bench = Bench::new();
    if !bench.host.is_pooled() {
        return;
    }
    let path = bench.file("guest.wasm", &Guest::default().build());
    let guest = bench.host.load(&path).unwrap();
    let mut all: Vec<_> = (0..4).map(|_| guest.instantiate("{}", 1, 4).unwrap()).collect();
    let error = guest.instantiate("{}", 1, 4).unwrap_err().to_string();
    assert!(error.contains("no room for one more instance"), "{error}");
    all.pop();
    guest.instantiate("{}", 1, 4).unwrap();
}
