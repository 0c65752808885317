//! Runs of an earlier scheduler are closed, none is orphaned.

use protocol::event::{Entry, Event, Verdict};
use protocol::id::RunId;
use scheduler::{Clock, Options};
use service::{OnError, Shutdown, Tasks};
use store::{RunRow, RunState, Store};
use tokio::sync::oneshot;

use crate::bench::{Bench, baseline};

fn row(state: RunState) -> RunRow {
    RunRow {
        id: RunId::new(),
        name: "left behind".to_owned(),
        created_unix_ns: 1,
        plan_digest: String::new(),
        base_dir: String::new(),
        state,
    }
}

/// Starts a scheduler on a store, waits until it is ready, and ends it.
async fn start_and_end(store: &Store, dir: &std::path::Path, instance: &str, clock: Clock) {
    let bus = bus::Bus::in_process(store.clone(), &dir.join("objects")).unwrap();
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    let (ready, bound) = oneshot::channel();
    let mut options = Options::new(dir);
    options.instance = instance.to_owned();
    options.clock = clock;
    options.ready = Some(ready);
    tasks.spawn(
        "scheduler",
        OnError::ShutDown,
        scheduler::run(options, bus, store.clone(), shutdown.clone()),
    );
    bound.await.unwrap();
    shutdown.trigger("test over");
    assert_eq!(tasks.finish(std::time::Duration::from_secs(60)).await, Vec::<&str>::new());
    assert_eq!(tasks.failures(), Vec::new());
}

#[tokio::test]
async fn a_run_found_open_at_the_start_is_closed_as_aborted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db")).unwrap();
    let (open, created, over) =
        (row(RunState::Running), row(RunState::Created), row(RunState::Ended { exit_code: 0 }));
    for row in [&open, &created, &over] {
        store.create_run(row.clone()).await.unwrap();
        store.set_run_state(row.id, row.state).await.unwrap();
    }
    let first = Entry {
        sequence: 1,
        at_unix_ns: 1,
        producer: "scheduler".to_owned(),
        event: Event::Notice { message: "it was here".to_owned() },
    };
    store.append_history(open.id, &first).await.unwrap();
    start_and_end(&store, dir.path(), "scheduler", Clock::system()).await;

    for id in [open.id, created.id] {
        assert_eq!(store.run(id).await.unwrap().unwrap().state, RunState::Ended { exit_code: 96 });
        let history = store.history(id, 0).await.unwrap();
        let Some(Event::RunEnded { verdict, reasons, .. }) = history.last().map(|entry| &entry.event) else {
            panic!("not closed: {history:?}")
        };
        assert_eq!(*verdict, Verdict::Aborted);
        assert!(reasons[0].contains("scheduler"), "{reasons:?}");
    }
    assert_eq!(store.history(open.id, 0).await.unwrap()[0], first);
    assert_eq!(store.history(over.id, 0).await.unwrap(), Vec::new());
}

#[tokio::test]
async fn a_run_whose_verdict_was_written_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db")).unwrap();
    let left = row(RunState::Running);
    store.create_run(left.clone()).await.unwrap();
    let ended = Event::RunEnded {
        verdict: Verdict::Failed,
        exit_code: 99,
        reasons: vec!["slow".to_owned()],
        thresholds: Vec::new(),
    };
    let entry = Entry { sequence: 1, at_unix_ns: 1, producer: "scheduler".to_owned(), event: ended };
    store.append_history(left.id, &entry).await.unwrap();
    start_and_end(&store, dir.path(), "scheduler", Clock::system()).await;
    assert_eq!(store.run(left.id).await.unwrap().unwrap().state, RunState::Ended { exit_code: 99 });
    assert_eq!(store.history(left.id, 0).await.unwrap(), [entry]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_another_scheduler_holds_is_left_alone() {
    let bench = Bench::paced().await;
    let run = bench.create(&baseline(600, "")).await;
    bench.wait_for_phase(run, 0).await;
    start_and_end(&bench.store, bench.dir.path(), "another", bench.clock).await;
    let state = bench.store.run(run).await.unwrap().unwrap().state;
    assert_eq!(state, RunState::Running);
}
