//! A guest written with the SDK, from its source to its requests.

use sandbox::abi::{self, Completion, CompletionKind, Connection, Interest, Slice, Start};
use sandbox::{ConfigureError, FaultKind, Instance};

use crate::components::component;
use crate::wat::Bench;

fn instance(bench: &Bench, config: &str) -> Instance {
    bench.host.load(&component("basket")).unwrap().instantiate(config, 7, 10).unwrap()
}

fn start(user: u32, arrival: u64) -> (Start, Vec<u8>) {
    let arena = [&4_u32.to_le_bytes()[..], b"a b/"].concat();
    (Start { user, arrival, rows: Slice { off: 0, len: 8 } }, arena)
}

fn answer(user: u32, seq: u32, status: u32, body: Slice) -> Completion {
    let ended = Completion::note(CompletionKind::End, user, seq);
    Completion { status, first_byte_us: 900, last_byte_us: 1000, body, ..ended }
}

#[test]
fn a_turn_from_start_to_finish() {
    let bench = Bench::new();
    let mut shop = instance(&bench, "{}");
    assert_eq!(shop.setup().steps, ["put", "checkout"]);
    assert_eq!(shop.setup().feeds[0].columns, ["id"]);

    let (one, arena) = start(3, 5);
    let said = shop.step(0, &[one], &[], &arena).unwrap();
    let put = said.requests[0];
    let text = |at| std::str::from_utf8(abi::slice(&said.arena, at).unwrap()).unwrap();
    assert_eq!((put.user, put.seq, put.step, put.interest), (3, 0, 0, Interest::END));
    assert_eq!(put.connection, Connection::Any);
    assert_eq!(text(put.target), "/basket/a%20b%2F");
    assert!(text(put.body).starts_with(r#"{"count":"#));
    let headers: Vec<_> = abi::headers(abi::slice(&said.arena, put.headers).unwrap()).collect();
    assert_eq!(headers[1], (&b"accept"[..], &b"application/json"[..]));

    let none = Slice { off: 0, len: 0 };
    let said = shop.step(1000, &[], &[answer(3, 0, 201, none)], &[]).unwrap();
    assert_eq!(said.requests[0].interest, Interest::END | Interest::BODY);
    let said = shop.step(2000, &[], &[answer(3, 1, 200, Slice { off: 0, len: 7 })], b"receipt").unwrap();
    assert!(said.verdicts[0].pass);
    assert_eq!(said.finished[0].think_us, 250_000);
    assert_eq!(said.commands.len(), 1);
    assert_eq!(shop.log_lines().written, 1);
}

#[test]
fn what_is_sent_depends_on_seed_and_arrival_alone() {
    let bench = Bench::new();
    let bodies = |batch: u64| {
        let mut shop = instance(&bench, "{}");
        let mut all = Vec::new();
        for first in (0..64).step_by(usize::try_from(batch).unwrap()) {
            let arena = start(0, 0).1;
            let starts: Vec<_> = (first..first + batch).map(|arrival| start(0, arrival).0).collect();
            let said = shop.step(first, &starts, &[], &arena).unwrap();
            all.extend(said.requests.iter().map(|one| abi::slice(&said.arena, one.body).unwrap().to_vec()));
        }
        all
    };
    assert_eq!(bodies(1), bodies(16));
    assert_eq!(bodies(1), bodies(64));
}

#[test]
fn a_panic_is_told_in_its_own_words() {
    let bench = Bench::new();
    let mut shop = instance(&bench, "{}");
    let fault = shop.step(0, &[], &[answer(0, 1, 599, Slice { off: 0, len: 0 })], &[]).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(fault.message.contains("the shop is on fire") && fault.message.contains("basket.rs"), "{fault}");
}

#[test]
fn problems_of_the_configuration_are_the_guests() {
    let bench = Bench::new();
    let error = bench.host.load(&component("basket")).unwrap().instantiate("[]", 7, 10).unwrap_err();
    let ConfigureError::Problems(problems) = &error else { panic!("{error}") };
    assert_eq!(problems[0].path, "config");
    assert!(error.to_string().contains("config: is []; write {} or stateless"), "{error}");
}
