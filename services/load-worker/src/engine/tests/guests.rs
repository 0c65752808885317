//! What guests may say, and what becomes of those that break.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sandbox::{Fault, FaultKind, abi};

use super::rig::{Rig, empty, endpoint, finish, fire, rate, request, script, setup, until};
use super::server::{Act, Server, ok};
use crate::spec::EngineEvent;

const GRACE: Duration = Duration::from_secs(20);

fn trap() -> Fault {
    Fault { kind: FaultKind::Trap, message: "it divided by zero".into() }
}

#[test]
fn a_trap_costs_its_own_scenario_only() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let calls = Arc::new(AtomicU32::new(0));
    let hostile = {
        let calls = Arc::clone(&calls);
        script(setup(), move || {
            let calls = Arc::clone(&calls);
            move |starts: &[abi::Start], _: &[abi::Completion], _: &[u8]| {
                if !starts.is_empty() && calls.fetch_add(1, Ordering::SeqCst) == 5 {
                    return Err(trap());
                }
                let mut output = empty();
                for start in starts {
                    request(&mut output, start.user, 1);
                    finish(&mut output, start.user);
                }
                Ok(output)
            }
        })
    };
    let mut rig = Rig::new(vec![endpoint(server.addr)], vec![fire(|_| {}), hostile]);
    let spec = rig.phase(rate(200.0), Duration::from_millis(300));
    rig.begin(&spec);
    until(spec.t0 + spec.duration);
    let (counts, events) = rig.end(1, GRACE);
    assert_eq!(counts.scheduled, 60);
    let faults: Vec<_> = events
        .iter()
        .map(|event| match event {
            EngineEvent::GuestFault { scenario, kind, message, operations_cancelled, .. } => {
                (*scenario, kind.as_str(), message.as_str(), *operations_cancelled)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(faults.len(), 1);
    assert_eq!((faults[0].0, faults[0].1, faults[0].2), (1, "trap", "it divided by zero"));
    assert_eq!((counts.cancelled, counts.answered), (faults[0].3, 60 - faults[0].3));
    let batch = rig.samples();
    assert_eq!(batch.threads[0].guest_traps, 1);
    assert_eq!(batch.series[0].cancelled, 0, "the other scenario noticed nothing");
}

#[test]
fn a_guest_that_traps_always_is_made_ten_times_a_second_at_most() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let made = Arc::new(AtomicU32::new(0));
    let guest = {
        let made = Arc::clone(&made);
        script(setup(), move || {
            made.fetch_add(1, Ordering::SeqCst);
            |_: &[abi::Start], _: &[abi::Completion], _: &[u8]| Err(trap())
        })
    };
    let rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
    let spec = rig.phase(rate(100.0), Duration::from_millis(500));
    rig.begin(&spec);
    until(spec.t0 + spec.duration);
    let (counts, events) = rig.end(1, GRACE);
    assert_eq!((counts.scheduled, counts.answered), (50, 0));
    assert!(counts.cancelled >= 4);
    assert!(
        events.len() >= 3 && made.load(Ordering::SeqCst) <= 9,
        "{} instances",
        made.load(Ordering::SeqCst)
    );
}

#[test]
fn a_trap_closes_connections_with_an_answer_under_way() {
    let server = Server::start(|_, _| Act::Silence);
    let mut calls = 0;
    let guest = script(setup(), move || {
        move |starts: &[abi::Start], _: &[abi::Completion], _: &[u8]| {
            calls += 1;
            if calls == 3 {
                return Err(trap());
            }
            let mut output = empty();
            for start in starts {
                request(&mut output, start.user, 1).interest = abi::Interest::END;
            }
            Ok(output)
        }
    });
    let rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
    let mut spec = rig.phase(rate(100.0), Duration::from_millis(35));
    spec.t0 += Duration::from_millis(50);
    let counts = rig.run(&spec, Duration::ZERO);
    assert_eq!((counts.scheduled, counts.started, counts.cancelled), (3, 3, 3));
}

/// Sends `first` in the turn's first call; `then` says what follows a completion.
fn chain(
    then: impl Fn(&abi::Completion, &[u8], &mut abi::Output) + Send + Sync + Clone + 'static,
    tweak: impl Fn(&mut abi::Request) + Send + Sync + Clone + 'static,
    setup: abi::Setup,
) -> Arc<dyn crate::engine::Source> {
    script(setup, move || {
        let (then, tweak) = (then.clone(), tweak.clone());
        move |starts: &[abi::Start], done: &[abi::Completion], arena: &[u8]| {
            let mut output = empty();
            for completion in done {
                then(completion, arena, &mut output);
            }
            for start in starts {
                tweak(request(&mut output, start.user, 1));
            }
            Ok(output)
        }
    })
}

#[test]
fn a_guest_sees_what_it_asked_for_and_its_verdict_counts() {
    let server = Server::start(|_, n| Act::Reply(ok(if n % 2 == 0 { "even" } else { "odd" })));
    let guest = chain(
        |completion, arena, output| {
            assert_eq!(completion.kind, abi::CompletionKind::End);
            assert_eq!((completion.status, completion.failure), (200, abi::Failure::None));
            assert!(completion.last_byte_us >= completion.first_byte_us && completion.last_byte_us > 0);
            let body = abi::slice(arena, completion.body).unwrap();
            let head = abi::slice(arena, completion.head).unwrap();
            assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n") && head.ends_with(b"\r\n\r\n"));
            // Cut at the setup's limit.
            assert!(matches!(body, b"ev" | b"od"), "{body:?}");
            let pass = body == b"ev";
            let (user, seq) = (completion.user, completion.seq);
            output.verdicts.push(abi::Verdict { user, seq, check: 0, pass });
            finish(output, user);
        },
        |request| request.interest = abi::Interest::HEAD | abi::Interest::BODY,
        abi::Setup { body_limit: 2, ..setup() },
    );
    let mut rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
    let mut spec = rig.phase(rate(100.0), Duration::from_millis(200));
    spec.connections = 1;
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.scheduled, counts.answered), (20, 20));
    let series = &rig.samples().series[0];
    assert_eq!((series.good, series.bad), (10, 10));
    assert_eq!((series.checks[0].passed, series.checks[0].failed), (10, 10));
}

#[test]
fn expectations_are_made_by_the_worker() {
    let server = Server::start(|_, n| Act::Reply(ok(if n % 4 == 3 { "bad" } else { "all is fine here" })));
    let expectation = abi::Expectation { step: 0, check: 0, rule: abi::Rule::BodyContains("is fine".into()) };
    let setup = abi::Setup { expectations: vec![expectation], body_limit: 0, ..setup() };
    let guest = script(setup, || {
        |starts: &[abi::Start], _: &[abi::Completion], _: &[u8]| {
            let mut output = empty();
            for start in starts {
                request(&mut output, start.user, 1);
                finish(&mut output, start.user);
            }
            Ok(output)
        }
    });
    let mut rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
    let mut spec = rig.phase(rate(100.0), Duration::from_millis(200));
    spec.connections = 1;
    assert_eq!(rig.run(&spec, GRACE).answered, 20);
    let series = &rig.samples().series[0];
    assert_eq!((series.good, series.checks[0].passed, series.checks[0].failed), (15, 15, 5));
}

#[test]
fn retries_are_one_operation_with_the_final_outcome() {
    // The first answer on each connection is a 503; the second attempt gets a 200.
    let server = Server::start(|_, n| {
        Act::Reply(if n % 2 == 0 {
            b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec()
        } else {
            ok("")
        })
    });
    let guest = chain(
        |completion, _, output| {
            let user = completion.user;
            if completion.status == 503 {
                let again = request(output, user, completion.seq + 1);
                again.operation = 1;
                again.attempt = 1;
                again.delay_us = 1_000;
                again.interest = abi::Interest::END;
            } else {
                output.commands.push(abi::Command::EndOperation(abi::OperationEnd {
                    user,
                    operation: 1,
                    ok: true,
                }));
                finish(output, user);
            }
        },
        |request| {
            request.operation = 1;
            request.interest = abi::Interest::END;
        },
        setup(),
    );
    let mut rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
    let mut spec = rig.phase(rate(50.0), Duration::from_millis(200));
    (spec.connections, spec.users, spec.total_users) = (1, 1, 1);
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.scheduled, counts.answered), (10, 10));
    let series = &rig.samples().series[0];
    assert_eq!((series.requests, series.retries, series.answered, series.good), (20, 10, 10, 10));
    assert_eq!((series.statuses[0].status, series.statuses[0].count), (200, 10));
}

#[test]
fn of_several_requests_one_that_went_wrong_does_not_take_a_good_answers_place() {
    let server = Server::start(|_, n| {
        Act::Reply(if n % 2 == 0 {
            ok("")
        } else {
            b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n".to_vec()
        })
    });
    let guest = chain(
        |completion, _, output| {
            let user = completion.user;
            if completion.status == 200 {
                let other = request(output, user, completion.seq + 1);
                other.operation = 1;
                other.interest = abi::Interest::END;
            } else {
                output.commands.push(abi::Command::EndOperation(abi::OperationEnd {
                    user,
                    operation: 1,
                    ok: true,
                }));
                finish(output, user);
            }
        },
        |request| {
            request.operation = 1;
            request.interest = abi::Interest::END;
        },
        setup(),
    );
    let mut rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
    let mut spec = rig.phase(rate(50.0), Duration::from_millis(200));
    (spec.connections, spec.users, spec.total_users) = (1, 1, 1);
    let counts = rig.run(&spec, GRACE);
    assert_eq!((counts.scheduled, counts.answered), (10, 10));
    let series = &rig.samples().series[0];
    assert_eq!((series.requests, series.bad), (20, 0));
    assert_eq!((series.statuses[0].status, series.statuses[0].count), (200, 10));
}

#[test]
fn what_a_guest_leaves_open_fails_and_what_it_ends_badly_too() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    for end in [true, false] {
        let guest = chain(
            move |completion, _, output| {
                if end {
                    output.commands.push(abi::Command::EndOperation(abi::OperationEnd {
                        user: completion.user,
                        operation: 3,
                        ok: false,
                    }));
                }
                finish(output, completion.user);
            },
            |request| {
                request.operation = 3;
                request.interest = abi::Interest::END;
            },
            setup(),
        );
        let mut rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
        let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE);
        assert_eq!((counts.scheduled, counts.failed), (5, 5));
        assert_eq!(rig.samples().series[0].errors[0].class, "guest");
    }
}

#[test]
fn an_operation_that_a_guest_ends_later_than_its_requests_ended_lasts_until_then() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let guest = chain(
        |completion, _, output| {
            let user = completion.user;
            if completion.kind == abi::CompletionKind::End {
                // What it waits for comes by another way: here, in time.
                output.commands.push(abi::Command::WakeAt(abi::Wake { user, seq: 1, after_us: 1_100_000 }));
                return;
            }
            let end = abi::OperationEnd { user, operation: 1, ok: true };
            output.commands.push(abi::Command::EndOperation(end));
            finish(output, user);
        },
        |request| {
            request.operation = 1;
            request.interest = abi::Interest::END;
        },
        setup(),
    );
    let mut rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
    // As many as there are users: none is free again before the phase ends.
    let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(80)), GRACE);
    assert_eq!((counts.scheduled, counts.answered), (4, 4));
    let latency = series::Hist::decode(rig.samples().series[0].latency.as_ref().unwrap()).unwrap();
    // A histogram keeps three digits.
    assert!(latency.min() >= Some(1_090_000), "{:?}", latency.min());
}

#[test]
fn turns_of_several_operations_or_none_close_too() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let guest = script(setup(), || {
        |starts: &[abi::Start], _: &[abi::Completion], _: &[u8]| {
            let mut output = empty();
            for start in starts {
                // None, one, two: by the arrival's number.
                for seq in 0..u32::try_from((start.arrival & 0xffff) % 3).unwrap() {
                    request(&mut output, start.user, seq);
                }
                finish(&mut output, start.user);
            }
            Ok(output)
        }
    });
    let rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
    let counts = rig.run(&rig.phase(rate(90.0), Duration::from_millis(100)), GRACE);
    assert_eq!((counts.scheduled, counts.started, counts.answered, counts.cancelled), (12, 12, 9, 3));
}

#[test]
fn wake_ups_cancellations_and_observations() {
    let server = Server::start(|_, _| Act::Silence);
    // Sends, is woken after 20 ms, cancels, and finishes when it hears of that.
    let guest = chain(
        |completion, _, output| {
            let user = completion.user;
            match completion.kind {
                abi::CompletionKind::Timer => {
                    assert_eq!(completion.seq, 77);
                    output.commands.push(abi::Command::Cancel(abi::RequestRef { user, seq: 1 }));
                    let observation = abi::Observation { step: 0, metric: 0, value: 1.5 };
                    output.commands.push(abi::Command::Observe(observation));
                }
                abi::CompletionKind::Cancelled => finish(output, user),
                other => panic!("{other:?}"),
            }
        },
        |request| request.interest = abi::Interest::END,
        setup(),
    );
    let waking = script(setup(), move || {
        let mut inner = guest.instantiate("", 0, 0).unwrap();
        move |starts: &[abi::Start], done: &[abi::Completion], arena: &[u8]| {
            let mut output = inner.step(0, starts, done, arena)?;
            for start in starts {
                let wake = abi::Wake { user: start.user, seq: 77, after_us: 20_000 };
                output.commands.push(abi::Command::WakeAt(wake));
            }
            Ok(output)
        }
    });
    // Commands come before requests: a turn is known from its start on.
    let mut rig = Rig::new(vec![endpoint(server.addr)], vec![waking]);
    let counts = rig.run(&rig.phase(rate(50.0), Duration::from_millis(100)), GRACE);
    assert_eq!((counts.scheduled, counts.cancelled), (5, 5));
    let series = &rig.samples().series[0];
    let values = series::Hist::decode(series.observations[0].values.as_ref().unwrap()).unwrap();
    assert_eq!((values.len(), values.max()), (5, Some(1_500)));
}

#[test]
fn words_that_make_no_sense_are_a_fault() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    type Case = (&'static str, fn(&mut abi::Output));
    let cases: Vec<Case> = vec![
        ("has no turn", |output| {
            request(output, 3, 9);
        }),
        ("has no turn", |output| finish(output, 3)),
        ("endpoint 5", |output| request(output, 0, 9).endpoint = 5),
        ("target", |output| request(output, 0, 9).target = abi::Slice { off: 0, len: 0 }),
        ("target", |output| {
            let off = u32::try_from(output.arena.len()).unwrap();
            output.arena.extend_from_slice(b"/ HTTP/1.1\r\nX: y");
            request(output, 0, 9).target = abi::Slice { off, len: 16 };
        }),
        ("header", |output| {
            let off = u32::try_from(output.arena.len()).unwrap();
            output.arena.extend_from_slice(b"\x01\0\x03\0ab\r\n");
            request(output, 0, 9).headers = abi::Slice { off, len: 8 };
        }),
        ("arena", |output| request(output, 0, 9).body = abi::Slice { off: 1, len: 9_999 }),
    ];
    for (words, say) in cases {
        let guest = script(setup(), move || {
            move |starts: &[abi::Start], _: &[abi::Completion], _: &[u8]| {
                let mut output = empty();
                if !starts.is_empty() {
                    say(&mut output);
                }
                Ok(output)
            }
        });
        let rig = Rig::new(vec![endpoint(server.addr)], vec![guest]);
        let mut spec = rig.phase(rate(10.0), Duration::from_millis(100));
        spec.users = 4;
        rig.begin(&spec);
        let fault = rig.next();
        let EngineEvent::GuestFault { kind, message, operations_cancelled: 1, .. } = &fault else {
            panic!("{fault:?}")
        };
        assert!(kind == "bad-output" && message.contains(words), "{message:?} has {words:?}");
        let (counts, _) = rig.end(1, GRACE);
        assert_eq!((counts.started, counts.cancelled), (1, 1));
    }
    assert_eq!(server.requests(), 0);
}

#[test]
fn batches_are_bounded() {
    let server = Server::start(|_, _| Act::Reply(ok("")));
    let guest = script(setup(), || {
        |starts: &[abi::Start], _: &[abi::Completion], _: &[u8]| {
            assert!(starts.len() <= 2, "{} starts in a call", starts.len());
            let mut output = empty();
            for start in starts {
                request(&mut output, start.user, 1);
                finish(&mut output, start.user);
            }
            Ok(output)
        }
    });
    let rig = Rig::with(vec![endpoint(server.addr)], vec![guest], |spec| spec.batch = 2);
    let mut spec = rig.phase(super::rig::closed(9), Duration::from_millis(50));
    (spec.users, spec.total_users, spec.connections) = (9, 9, 9);
    assert!(rig.run(&spec, GRACE).answered >= 9);
}
