//! Starting instances again.

use std::time::Duration;

use futures::future::join_all;
use platform::{InstanceState, Platform};
use protocol::faults::ActionOutcome;

use super::{Order, together, verify};

/// How long an instance may take to answer after it is ready, where its process has no deadline of its own.
const ANSWERS: Duration = Duration::from_secs(10);

/// Restarts the order's instances, all at once.
pub(super) async fn restart(order: &Order) -> (ActionOutcome, String) {
    let restarts = order.instances.iter().map(|instance| one(order, *instance));
    together(join_all(restarts).await)
}

async fn one(order: &Order, instance: usize) -> (ActionOutcome, String) {
    let Some(place) = order.watched.places.get(instance) else {
        return (ActionOutcome::NotPossible, "there is no such instance".to_owned());
    };
    let (Some(platform), Some(id)) = (&order.shared.platform, &place.process) else {
        return (ActionOutcome::NotPossible, format!("{}: no process of the plan runs it", place.name));
    };
    let (ended, started) = match again(platform.as_ref(), id).await {
        Ok(done) => done,
        Err(error) => return (ActionOutcome::Failed, error.to_string()),
    };
    let process = order.shared.plan.processes.get(id.as_str());
    let within = process.map_or(ANSWERS, |process| process.ready_timeout + process.stop_timeout);
    match verify(&order.shared, &place.direct, within).await {
        Ok(took) => {
            let took = took.as_millis().max(1);
            (ActionOutcome::Done, format!("{}: {ended}{started}; it answers within {took} ms", place.name))
        }
        Err(failure) => (
            ActionOutcome::Failed,
            format!("{}: {ended}{started}, but after {within:?}: {failure}", place.name),
        ),
    }
}

/// Ends it if it is there, and starts it: what was done, in words.
async fn again(
    platform: &dyn Platform,
    id: &platform::InstanceId,
) -> Result<(String, String), platform::PlatformError> {
    let ended = match platform.instance(id).await?.state {
        InstanceState::Running => Some(platform.stop(id).await?),
        // It stands still: it cannot end gracefully.
        InstanceState::Paused => Some(platform.kill(id).await?),
        InstanceState::Created | InstanceState::Exited => None,
    };
    let ended = ended.map_or_else(String::new, |ended| {
        let killed = if ended.killed { ", it had to be killed" } else { "" };
        format!("ended ({}{killed}), ", ended.status)
    });
    let started = platform.start(id).await?;
    let ready = started.ready_after.as_millis();
    let started = if started.by_us {
        format!("started, ready after {ready} ms")
    } else {
        "somebody else had started it already".to_owned()
    };
    Ok((ended, started))
}
