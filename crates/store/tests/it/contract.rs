//! What every store promises. Each function takes an empty store; [`contract_tests`] makes tests of all of them for one
//! kind of store, given how to open one.

use protocol::event::{Entry, Event};
use protocol::id::RunId;
use store::{Appended, RECORD_OVERHEAD, RecordKey, RunRow, RunState, Sample, Store, StoreError};

/// Makes the tests: `contract_tests!(open)`, where `open(Options).await` gives an empty store and what must live as long as it.
macro_rules! contract_tests {
    ($open:path) => {
        $crate::contract::contract_tests! { $open;
            a_run_is_stored_once_and_its_state_changes,
            runs_are_listed_newest_first,
            results_are_replaced,
            history_refuses_gaps_and_other_entries,
            a_history_entry_may_be_repeated,
            history_is_read_from_a_sequence_on,
            a_record_is_appended_once_per_key,
            records_keep_the_order_of_appending,
            acknowledged_records_are_pruned_when_all_consumers_are_past_them,
            positions_go_on_after_pruning,
            an_acknowledgement_never_goes_back_nor_beyond_the_end,
            a_full_log_refuses_until_it_is_acknowledged,
            a_sample_takes_effect_once,
            samples_of_a_list_are_kept_together,
            samples_come_in_the_order_of_phase_and_key,
            a_lease_has_one_holder_until_it_runs_out,
            many_writers_at_once_lose_nothing,
            one_refused_write_takes_nothing_with_it,
            numbers_beyond_the_store_are_refused,
            a_closed_store_says_so,
        }
    };
    ($open:path; $($name:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            let (store, _alive) = $open(store::Options { max_log_bytes: $crate::contract::MAX_LOG, ..Default::default() }).await;
            $crate::contract::$name(store).await;
        }
    )+};
}
pub(crate) use contract_tests;

/// The limit of logs that [`a_full_log_refuses_until_it_is_acknowledged`] relies on: room for four of its records.
pub(crate) const MAX_LOG: u64 = 4 * (1000 + RECORD_OVERHEAD);

const LOG: &str = "load.samples";

fn key(sequence: u64) -> RecordKey {
    RecordKey { producer: [1; 16], incarnation: [2; 16], sequence, part: 0 }
}

fn entry(sequence: u64) -> Entry {
    let event = Event::Notice { message: format!("number {sequence}, \u{fc}n\u{ef}code") };
    Entry { sequence, at_unix_ns: 1_000 + sequence.cast_signed(), producer: "scheduler".to_owned(), event }
}

fn row(name: &str, created_unix_ns: i64) -> RunRow {
    RunRow {
        id: RunId::new(),
        name: name.to_owned(),
        created_unix_ns,
        plan_digest: "sha256:00".to_owned(),
        base_dir: "/plans".to_owned(),
        state: RunState::Created,
    }
}

async fn positions(store: &Store, after: u64) -> Vec<u64> {
    store.read_records(LOG, after, 100).await.unwrap().iter().map(|record| record.position).collect()
}

pub(crate) async fn a_run_is_stored_once_and_its_state_changes(store: Store) {
    let mut run = row("shop", 5);
    assert_eq!(store.run(run.id).await.unwrap(), None);
    // Again, because whoever lost the answer may do so.
    for _ in 0..2 {
        store.create_run(run.clone()).await.unwrap();
    }
    let other = RunRow { name: "other".to_owned(), ..run.clone() };
    assert!(matches!(store.create_run(other).await, Err(StoreError::RunExists(id)) if id == run.id));
    assert_eq!(store.runs().await.unwrap(), [run.clone()]);
    for state in [RunState::Running, RunState::Ended { exit_code: 130 }] {
        store.set_run_state(run.id, state).await.unwrap();
        run.state = state;
        assert_eq!(store.run(run.id).await.unwrap(), Some(run.clone()));
    }
    let begun = RunRow { state: RunState::Created, ..run.clone() };
    assert!(matches!(store.create_run(begun).await, Err(StoreError::RunExists(id)) if id == run.id));
    let other = RunId::new();
    let refused = store.set_run_state(other, RunState::Running).await;
    assert!(matches!(refused, Err(StoreError::NoSuchRun(id)) if id == other));
}

pub(crate) async fn runs_are_listed_newest_first(store: Store) {
    let rows = [row("old", 1), row("new", 3), row("middle", 2)];
    for run in &rows {
        store.create_run(run.clone()).await.unwrap();
    }
    let names: Vec<String> = store.runs().await.unwrap().into_iter().map(|run| run.name).collect();
    assert_eq!(names, ["new", "middle", "old"]);
}

pub(crate) async fn results_are_replaced(store: Store) {
    let run = RunId::new();
    assert_eq!(store.result(run, "probes").await.unwrap(), None);
    for payload in [vec![1, 2], vec![], vec![0, 255]] {
        store.put_result(run, "probes", payload.clone()).await.unwrap();
        assert_eq!(store.result(run, "probes").await.unwrap(), Some(payload));
    }
    assert_eq!(store.result(RunId::new(), "probes").await.unwrap(), None);
}

pub(crate) async fn history_refuses_gaps_and_other_entries(store: Store) {
    let (run, other) = (RunId::new(), RunId::new());
    for sequence in 1..=3 {
        store.append_history(run, &entry(sequence)).await.unwrap();
    }
    for wrong in [3, 5, 0, 1] {
        let other = Entry { producer: "somebody else".to_owned(), ..entry(wrong) };
        match store.append_history(run, &other).await {
            Err(StoreError::HistoryGap { expected: 4, found, .. }) => assert_eq!(found, wrong),
            result => panic!("{result:?} for {wrong}"),
        }
    }
    // Each run counts by itself.
    assert!(matches!(
        store.append_history(other, &entry(4)).await,
        Err(StoreError::HistoryGap { expected: 1, .. })
    ));
    store.append_history(other, &entry(1)).await.unwrap();
    assert_eq!(store.history(run, 0).await.unwrap(), [entry(1), entry(2), entry(3)]);
}

pub(crate) async fn a_history_entry_may_be_repeated(store: Store) {
    let run = RunId::new();
    for sequence in [1, 1, 2, 2, 1] {
        store.append_history(run, &entry(sequence)).await.unwrap();
    }
    assert_eq!(store.history(run, 0).await.unwrap(), [entry(1), entry(2)]);
}

pub(crate) async fn history_is_read_from_a_sequence_on(store: Store) {
    let run = RunId::new();
    assert_eq!(store.history(run, 0).await.unwrap(), []);
    for sequence in 1..=3 {
        store.append_history(run, &entry(sequence)).await.unwrap();
    }
    assert_eq!(store.history(run, 2).await.unwrap(), [entry(3)]);
    assert_eq!(store.history(run, 3).await.unwrap(), []);
    assert_eq!(store.history(run, u64::MAX).await.unwrap(), []);
}

pub(crate) async fn a_record_is_appended_once_per_key(store: Store) {
    let append = async |key: RecordKey| store.append_record(LOG, &key, vec![7]).await.unwrap();
    assert_eq!(append(key(1)).await, Appended::New { position: 1 });
    assert_eq!(append(key(1)).await, Appended::Duplicate);
    // Each part of the key counts.
    let others = [
        RecordKey { part: 1, ..key(1) },
        RecordKey { incarnation: [3; 16], ..key(1) },
        RecordKey { producer: [3; 16], ..key(1) },
        key(2),
    ];
    for (other, position) in others.into_iter().zip(2..) {
        assert_eq!(append(other).await, Appended::New { position });
    }
    // Each log counts by itself.
    let elsewhere = store.append_record("load.guest-faults", &key(1), vec![]).await.unwrap();
    assert_eq!(elsewhere, Appended::New { position: 1 });
}

pub(crate) async fn records_keep_the_order_of_appending(store: Store) {
    for sequence in [5, 3, 9] {
        store.append_record(LOG, &key(sequence), vec![0, sequence as u8, 255]).await.unwrap();
    }
    let records = store.read_records(LOG, 0, 2).await.unwrap();
    assert_eq!(
        records.iter().map(|record| (record.position, record.key)).collect::<Vec<_>>(),
        [(1, key(5)), (2, key(3))]
    );
    let rest = store.read_records(LOG, 2, 2).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!((rest[0].key, rest[0].payload.as_slice()), (key(9), [0, 9, 255].as_slice()));
}

pub(crate) async fn acknowledged_records_are_pruned_when_all_consumers_are_past_them(store: Store) {
    store.ack("metrics", LOG, 0).await.unwrap();
    store.ack("archive", LOG, 0).await.unwrap();
    for sequence in 1..=4 {
        store.append_record(LOG, &key(sequence), vec![0; 10]).await.unwrap();
    }
    store.ack("metrics", LOG, 3).await.unwrap();
    assert_eq!(positions(&store, 0).await, [1, 2, 3, 4]);
    store.ack("archive", LOG, 2).await.unwrap();
    assert_eq!(positions(&store, 0).await, [3, 4]);
    assert_eq!(store.acked("metrics", LOG).await.unwrap(), 3);
    assert_eq!(store.acked("archive", LOG).await.unwrap(), 2);
    assert_eq!(store.acked("nobody", LOG).await.unwrap(), 0);
}

pub(crate) async fn positions_go_on_after_pruning(store: Store) {
    store.append_record(LOG, &key(1), vec![]).await.unwrap();
    store.ack("metrics", LOG, 1).await.unwrap();
    assert_eq!(positions(&store, 0).await, [0; 0]);
    let appended = store.append_record(LOG, &key(2), vec![]).await.unwrap();
    assert_eq!(appended, Appended::New { position: 2 });
}

pub(crate) async fn an_acknowledgement_never_goes_back_nor_beyond_the_end(store: Store) {
    for sequence in 1..=3 {
        store.append_record(LOG, &key(sequence), vec![]).await.unwrap();
    }
    store.ack("metrics", LOG, 2).await.unwrap();
    store.ack("metrics", LOG, 1).await.unwrap();
    assert_eq!(store.acked("metrics", LOG).await.unwrap(), 2);
    match store.ack("metrics", LOG, 4).await {
        Err(StoreError::NoSuchPosition { position: 4, last: 3, .. }) => {}
        result => panic!("{result:?}"),
    }
}

pub(crate) async fn a_full_log_refuses_until_it_is_acknowledged(store: Store) {
    let append = async |sequence| store.append_record(LOG, &key(sequence), vec![0; 1000]).await;
    for sequence in 1..=4 {
        append(sequence).await.unwrap();
    }
    match append(5).await {
        Err(StoreError::LogFull { log, max_bytes }) => assert_eq!((log.as_str(), max_bytes), (LOG, MAX_LOG)),
        result => panic!("{result:?}"),
    }
    // A repeat takes no room, another log has its own.
    assert_eq!(append(4).await.unwrap(), Appended::Duplicate);
    store.append_record("load.guest-faults", &key(5), vec![0; 1000]).await.unwrap();
    store.ack("metrics", LOG, 1).await.unwrap();
    assert_eq!(append(5).await.unwrap(), Appended::New { position: 5 });
    assert!(matches!(append(6).await, Err(StoreError::LogFull { .. })));
}

pub(crate) async fn a_sample_takes_effect_once(store: Store) {
    let run = RunId::new();
    assert!(store.apply_sample(run, 2, &key(1), vec![1]).await.unwrap());
    assert!(!store.apply_sample(run, 2, &key(1), vec![2]).await.unwrap());
    assert!(store.apply_sample(run, 2, &RecordKey { part: 1, ..key(1) }, vec![3]).await.unwrap());
    let payloads: Vec<_> =
        store.samples(run, Some(2)).await.unwrap().into_iter().map(|(_, blob)| blob).collect();
    assert_eq!(payloads, [vec![1], vec![3]]);
}

pub(crate) async fn samples_of_a_list_are_kept_together(store: Store) {
    let (run, other) = (RunId::new(), RunId::new());
    let sample = |run, sequence, blob: u8| Sample { run, phase: 1, key: key(sequence), blob: vec![blob] };
    assert!(store.apply_sample(run, 1, &key(2), vec![2]).await.unwrap());
    let list = [(run, 1, 1), (run, 2, 9), (run, 1, 9), (other, 2, 3)].map(|(r, s, b)| sample(r, s, b));
    assert_eq!(store.apply_samples(list.to_vec()).await.unwrap(), [true, false, false, true]);
    assert_eq!(store.apply_samples(vec![]).await.unwrap(), [false; 0]);
    // One that is refused takes all with it.
    let refused = store.apply_samples(vec![sample(run, 3, 4), sample(run, 1 << 63, 5)]).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    let blobs = async |run| -> Vec<Vec<u8>> {
        store.samples(run, None).await.unwrap().into_iter().map(|(_, blob)| blob).collect()
    };
    assert_eq!((blobs(run).await, blobs(other).await), (vec![vec![1], vec![2]], vec![vec![3]]));
}

pub(crate) async fn samples_come_in_the_order_of_phase_and_key(store: Store) {
    let run = RunId::new();
    for (phase, sequence) in [(1, 2), (0, 9), (1, 1), (u32::MAX, 3)] {
        store.apply_sample(run, phase, &key(sequence), vec![]).await.unwrap();
    }
    let sequences = async |phase| -> Vec<u64> {
        store.samples(run, phase).await.unwrap().iter().map(|(key, _)| key.sequence).collect()
    };
    assert_eq!(sequences(None).await, [9, 1, 2, 3]);
    assert_eq!(sequences(Some(1)).await, [1, 2]);
    assert_eq!(sequences(Some(5)).await, [0; 0]);
    assert!(store.samples(RunId::new(), None).await.unwrap().is_empty());
}

pub(crate) async fn a_lease_has_one_holder_until_it_runs_out(store: Store) {
    let acquire = async |holder: &str, now| store.acquire_lease("run 7", holder, 100, now).await.unwrap();
    assert!(acquire("a", 0).await);
    assert!(!acquire("b", 99).await);
    assert!(acquire("a", 50).await, "a holder prolongs its own");
    assert!(!acquire("b", 149).await);
    assert!(acquire("b", 150).await, "it has run out");
    assert!(!acquire("a", 151).await);
    store.release_lease("run 7", "a").await.unwrap();
    assert!(!acquire("a", 152).await, "only the holder gives it back");
    store.release_lease("run 7", "b").await.unwrap();
    assert!(acquire("a", 153).await);
}

pub(crate) async fn many_writers_at_once_lose_nothing(store: Store) {
    let mut writers = tokio::task::JoinSet::new();
    for producer in 0..8 {
        let store = store.clone();
        writers.spawn(async move {
            for sequence in 1..=25 {
                let key = RecordKey { producer: [producer; 16], ..key(sequence) };
                assert!(
                    store
                        .apply_sample(RunId::from_bytes(&[9; 16]).unwrap(), 0, &key, vec![producer])
                        .await
                        .unwrap()
                );
            }
        });
    }
    writers.join_all().await;
    assert_eq!(store.samples(RunId::from_bytes(&[9; 16]).unwrap(), None).await.unwrap().len(), 200);
}

pub(crate) async fn one_refused_write_takes_nothing_with_it(store: Store) {
    let run = RunId::new();
    store.append_history(run, &entry(1)).await.unwrap();
    // Polled together, they reach the writer together and may share a transaction.
    let (second, gap, sample) = (entry(2), entry(7), key(1));
    let results = tokio::join!(
        store.append_history(run, &second),
        store.append_history(run, &gap),
        store.apply_sample(run, 0, &sample, vec![1]),
    );
    assert!(results.0.is_ok() && results.1.is_err() && results.2.unwrap());
    assert_eq!(store.history(run, 0).await.unwrap().len(), 2);
    assert_eq!(store.samples(run, None).await.unwrap().len(), 1);
}

pub(crate) async fn numbers_beyond_the_store_are_refused(store: Store) {
    let result = store.append_record(LOG, &key(u64::MAX), vec![]).await;
    assert!(matches!(result, Err(StoreError::TooLarge { value: u64::MAX, .. })), "{result:?}");
    let result = store.apply_sample(RunId::new(), 0, &key(1 << 63), vec![]).await;
    assert!(matches!(result, Err(StoreError::TooLarge { .. })), "{result:?}");
    store.append_record(LOG, &key(i64::MAX.unsigned_abs()), vec![]).await.unwrap();
}

pub(crate) async fn a_closed_store_says_so(store: Store) {
    let clone = store.clone();
    store.close().await;
    assert!(matches!(clone.runs().await, Err(StoreError::Closed)));
    assert!(matches!(clone.create_run(row("late", 1)).await, Err(StoreError::Closed)));
}
