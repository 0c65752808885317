//! Live aggregates.

use protocol::id::RunId;
use protocol::v1;
use series::Merged;

use super::suite::{Suite, Target, until};
use crate::fixture::Worker;

#[tokio::test]
async fn each_second_is_told_once_all_workers_told_of_it() {
    let suite = Suite::start().await;
    let target = Target::start().await;
    let run = RunId::new();
    let mut live = suite.bus.subscribe::<v1::Aggregate>().await.unwrap();
    suite.watch(run, &target.plan(""), Vec::new()).await;
    suite.mark(run, 0).await;
    // Nobody tells anything in an idle phase, and still it is seen to go on.
    let idle = live.next().await.unwrap();
    assert_eq!((idle.run.clone(), idle.phase), (run.to_bytes(), 0));
    assert_eq!(idle.arrivals, Some(v1::ArrivalCounts::default()));

    suite.mark(run, 1).await;
    let mut worker = Worker::new(run, 1);
    for second in 0..3 {
        let batch = worker.second(1, second, 25);
        let mut truth = Merged::new();
        batch.1.series.iter().for_each(|series| truth.add_proto(series).unwrap());
        suite.record(&batch).await;
        let told = until("the second is told", async || {
            let aggregate = live.next().await.unwrap();
            let seconds = aggregate.to_offset_ns.div_ceil(1_000_000_000);
            let counted = aggregate.arrivals.unwrap().scheduled > 0;
            (aggregate.phase == 1 && counted && seconds == second + 1).then_some(aggregate)
        })
        .await;
        assert_eq!(Merged::from_proto(told.total.as_ref().unwrap()).unwrap(), truth);
        let query = v1::QueryAggregate {
            run: run.to_bytes(),
            phase: Some(1),
            window_ns: 1_000_000_000,
            ..Default::default()
        };
        assert_eq!(suite.ask(query).await.unwrap(), told);
        assert!((told.wanted_rate - 79.0).abs() < 1e-6);
    }
    assert_eq!(live.lost(), 0);
}
