//! Answers that do not fit into one message, and commands that are sent again.

use std::time::Duration;

use bus::Address;
use protocol::v1::{Ack, PhaseSeries, QueryRun, RunSeries, StartPhase};

use super::users::{LONG, deployed, soon};

#[tokio::test]
async fn an_answer_larger_than_a_message_arrives_whole() {
    let place = deployed();
    let (metrics, scheduler) = (place.bus("metrics").await, place.bus("scheduler").await);
    let mut requests = metrics.serve::<QueryRun>(Address::Service).await.unwrap();
    // Text that shows whether parts were mixed up: 3 MiB, over the server's 1 MiB.
    let gaps: Vec<_> = (0..3 << 10).map(|number| format!("{number:01024}")).collect();
    let series = RunSeries { phases: vec![PhaseSeries { gaps, ..Default::default() }] };
    let query = QueryRun::default();
    for _ in 0..3 {
        let asked = scheduler.command(&Address::Service, &query, LONG);
        let served = async { soon("a query", requests.next()).await.unwrap().reply(Ok(series.clone())) };
        let (answer, ()) = tokio::join!(asked, served);
        assert!(answer.unwrap() == series, "the answer is not what was sent");
    }
}

#[tokio::test]
async fn a_command_that_is_sent_again_is_done_once() {
    let place = deployed();
    let (load, scheduler) = (place.bus("load").await, place.bus("scheduler").await);
    let to = Address::Instance("w1".to_owned());
    let mut requests = load.serve::<StartPhase>(to.clone()).await.unwrap();
    let command = StartPhase { phase: 3, ..Default::default() };
    let asked = scheduler.command(&to, &command, LONG);
    let served = async {
        let request = soon("a command", requests.next()).await.unwrap();
        // Until after it was sent again, which is after a second without an answer.
        let again = tokio::time::timeout(Duration::from_millis(1500), requests.next()).await;
        assert!(again.is_err(), "the same command came twice");
        request.reply(Ok(Ack {}));
    };
    let (asked, ()) = tokio::join!(asked, served);
    asked.unwrap();
    // Another one is another one, though it says the same.
    let asked = scheduler.command(&to, &command, LONG);
    let served = async { soon("the next command", requests.next()).await.unwrap().reply(Ok(Ack {})) };
    let (asked, ()) = tokio::join!(asked, served);
    asked.unwrap();
}
