//! The life of one fault: told to begin, injected, held until something ends it, undone, seen to be gone.

use std::sync::Arc;
use std::time::Duration;

use protocol::event::Event;
use protocol::faults::FaultState;
use tokio::time::Instant;

use crate::backends::{Broke, Held, NotInjected, backend};
use crate::board::Claim;
use crate::run::Run;
use crate::schedule::{Item, millis};
use crate::stop_condition::{Fired, Watch};

/// How long the news of a fault may take to be durable: nothing is touched before that it begins is, and it is kept in
/// the journal until that it ended is.
pub(crate) const TOLD: Duration = Duration::from_secs(5);
/// How long an undo may take, reading back included.
pub(crate) const UNDO: Duration = Duration::from_secs(25);
/// Who holds a fault has a timer of its own; ours is for when it does not tell.
const GRACE: Duration = Duration::from_secs(2);

/// Why a fault is to end.
enum End {
    /// Somebody asked.
    Asked(String),
    /// Its time is over.
    Time,
    /// Its stop condition.
    Fired(Fired),
    /// It has ended by itself.
    Broke(Broke),
}

/// Lives the life of a fault.
pub(crate) async fn live(run: Arc<Run>, item: Arc<Item>, mut claim: Claim) {
    let began = run.now();
    let beginning = run.news.say(began, Event::FaultBeginning { fault: item.planned.clone() }).await;
    if beginning.durable_within(TOLD).await.is_none() {
        let why = format!("that it begins could not be recorded within {TOLD:?}: nothing was touched");
        return skipped(&run, &item, claim, why).await;
    }
    let (mut held, seen) = match inject(&run, &item, &mut claim).await {
        Ok(injected) => injected,
        Err(NotInjected::Refused(why)) => return skipped(&run, &item, claim, why).await,
        Err(NotInjected::Unrecovered(detail)) => return unrecovered(&run, &item, claim, detail).await,
    };
    let since = Instant::now();
    claim.note(FaultState::Injected, &seen);
    let event = Event::FaultInjected {
        fault: item.id().to_owned(),
        backend: backend(&item.fault.recipe).to_owned(),
        seen,
    };
    run.news.say(run.now(), event).await;

    let end = hold(&run, &item, &mut claim, &mut held, since).await;
    let how = words(&run, &item, end);
    claim.note(FaultState::Ending, &how);
    let (held_ms, undoing) = (millis(since.elapsed()), Instant::now());
    let undone = tokio::time::timeout(UNDO, run.backends.undo(held)).await;
    let undo_ms = millis(undoing.elapsed());
    match undone {
        Ok(Ok(undone)) => {
            let (fault, verified) = (item.id().to_owned(), undone.verified);
            let detail = format!("{how}; {verified}");
            let (held_ms, undo_ms) = (Some(held_ms), Some(undo_ms));
            let ended = Event::FaultEnded { fault, how, held_ms, undo_ms, verified };
            let told = run.news.say(run.now(), ended).await;
            claim.settle(FaultState::Ended, &detail);
            // Otherwise another life of this service is to tell it.
            if told.durable_within(TOLD).await.is_some() {
                run.backends.journal.end(item.id());
            }
        }
        Ok(Err(detail)) => unrecovered(&run, &item, claim, format!("{how}; {detail}")).await,
        Err(_) => {
            let detail = format!("{how}; its undo was not seen to be done within {} s", UNDO.as_secs());
            unrecovered(&run, &item, claim, detail).await;
        }
    }
}

/// Injects it. Who wants it to end meanwhile does not wait until it is there.
async fn inject(run: &Arc<Run>, item: &Item, claim: &mut Claim) -> Result<(Held, String), NotInjected> {
    let injecting = run.backends.inject(item);
    tokio::pin!(injecting);
    tokio::select! {
        biased;
        injected = &mut injecting => return injected,
        _ = claim.asked_to_end() => {}
    }
    let (injected, ()) = tokio::join!(injecting, run.backends.hasten(item));
    injected
}

async fn hold(run: &Arc<Run>, item: &Item, claim: &mut Claim, held: &mut Held, since: Instant) -> End {
    let grace = if matches!(held, Held::Proxy(_)) { Duration::ZERO } else { GRACE };
    let due = since + item.fault.duration + grace;
    let watch = Watch {
        bus: run.bus.clone(),
        run: run.id,
        phase: item.planned.phase,
        target: item.target,
        stop: item.fault.stop,
    };
    tokio::select! {
        biased;
        reason = claim.asked_to_end() => End::Asked(reason),
        broke = run.backends.broke(held) => End::Broke(broke),
        () = tokio::time::sleep_until(due) => End::Time,
        fired = watch.fired() => End::Fired(fired),
    }
}

/// Why it ended, in words. A stop condition also ends what would come of the same fault.
fn words(run: &Run, item: &Item, end: End) -> String {
    match end {
        End::Asked(reason) => reason,
        End::Time => "its time is over".to_owned(),
        End::Broke(Broke { how }) => how,
        End::Fired(Fired::Condition(text) | Fired::Blind(text)) => {
            // Who asks by hand asks anew.
            if item.is_planned() {
                run.board.halt(&item.fault.name, format!("{text} ended {}", item.id()));
            }
            text
        }
    }
}

async fn skipped(run: &Run, item: &Item, claim: Claim, why: String) {
    run.say_skipped(item, &why).await;
    run.backends.journal.end(item.id());
    claim.settle(FaultState::Skipped, &why);
}

async fn unrecovered(run: &Run, item: &Item, claim: Claim, detail: String) {
    tracing::error!(fault = item.id(), detail, "a fault is unrecovered");
    let (fault, target) = (item.id().to_owned(), item.fault.target.clone());
    run.news.say(run.now(), Event::FaultUnrecovered { fault, target, detail: detail.clone() }).await;
    claim.settle(FaultState::Unrecovered, &detail);
}
