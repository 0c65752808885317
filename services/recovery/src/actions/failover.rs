//! Leading load to a backup, and back.

use std::time::Duration;

use platform::InstanceId;
use prober::Check;
use protocol::faults::ActionOutcome;

use super::{Order, together, verify};
use crate::place::{Place, authority};

/// How long the backup may take to answer, where its process has no deadline of its own, and the way to it in any case.
const ANSWERS: Duration = Duration::from_secs(10);

/// Leads the load of the order's instances to the backup.
pub(super) async fn fail_over(order: &Order) -> (ActionOutcome, String) {
    let upstream = match backup(order).await {
        Ok(upstream) => upstream,
        Err(why) => return (ActionOutcome::Failed, why),
    };
    let mut parts = Vec::new();
    for instance in &order.instances {
        let Some(place) = order.watched.places.get(*instance) else { continue };
        parts.push(match lead(order, *instance, place, &upstream).await {
            Ok(words) => (ActionOutcome::Done, words),
            Err(why) => {
                // What does not serve is no better than what it stands in for.
                let back = set(order, *instance, &place.authority).await;
                let back =
                    back.err().map_or_else(String::new, |error| format!("; and not led back: {error}"));
                (ActionOutcome::Failed, format!("{why}{back}"))
            }
        });
    }
    together(parts)
}

/// Leads the load of the order's instances to themselves again.
pub(super) async fn fail_back(order: &Order) -> (ActionOutcome, String) {
    let mut parts = Vec::new();
    for instance in &order.instances {
        let Some(place) = order.watched.places.get(*instance) else { continue };
        parts.push(match lead(order, *instance, place, &primary(order, *instance, place)).await {
            Ok(words) => (ActionOutcome::Done, words),
            Err(why) => {
                let backup = order.watched.recovery.backup.as_ref().map(|backup| authority(&backup.url));
                let back = match backup {
                    Some(backup) => set(order, *instance, &backup).await,
                    None => Ok(()),
                };
                let back = back
                    .err()
                    .map_or_else(String::new, |error| format!("; and not led to the backup: {error}"));
                (ActionOutcome::Failed, format!("{why}{back}"))
            }
        });
    }
    together(parts)
}

/// Makes sure that the backup is there and well: its address.
async fn backup(order: &Order) -> Result<String, String> {
    let watched = &order.watched;
    let (Some(backup), Some(check)) = (&watched.recovery.backup, &watched.backup) else {
        return Err("the plan has no backup: give `backup`".to_owned());
    };
    let mut within = ANSWERS;
    if let Some(name) = &backup.process {
        let platform = order.shared.platform.as_ref();
        let platform =
            platform.ok_or_else(|| format!("process {name}: there is no platform to start it on"))?;
        let id = InstanceId::new(name.clone()).map_err(|error| error.to_string())?;
        platform.start(&id).await.map_err(|error| format!("backup: {error}"))?;
        within = order.shared.plan.processes.get(name).map_or(ANSWERS, |process| process.ready_timeout);
    }
    verify(&order.shared, check, within)
        .await
        .map_err(|failure| format!("backup {}: after {within:?}: {failure}", backup.url))?;
    Ok(authority(&backup.url))
}

/// Leads an instance's load to an address, and sees that it comes through.
async fn lead(order: &Order, instance: usize, place: &Place, upstream: &str) -> Result<String, String> {
    set(order, instance, upstream).await?;
    let by = order.shared.by(&order.watched.target.name, instance);
    let Some(by) = by else { return Ok(format!("{}: load would go to {upstream}", place.name)) };
    let way = Check { by: Some(by.clone()), ..place.way.clone() };
    match verify(&order.shared, &way, order.watched.recovery.timeout * 2).await {
        Ok(took) => Ok(format!(
            "{}: load goes to {upstream} by way of {by}, which answers within {} ms",
            place.name,
            took.as_millis().max(1)
        )),
        Err(failure) => Err(format!("{}: {upstream} by way of {by}: {failure}", place.name)),
    }
}

/// Where the instance's own load leads to.
fn primary(order: &Order, instance: usize, place: &Place) -> String {
    let found = order.shared.primary(&order.watched.target.name, instance, None);
    found.unwrap_or_else(|| place.authority.clone())
}

async fn set(order: &Order, instance: usize, upstream: &str) -> Result<(), String> {
    let target = &order.watched.target.name;
    let proxy = order.shared.route().proxy(target, instance);
    let (client, name) = proxy.ok_or_else(|| "load does not go through the fault proxy".to_owned())?;
    let failed = |error: fault_proxy::client::ClientError| error.to_string();
    if order.shared.primary(target, instance, None).is_none() {
        // As chaos wrote it: its faults know the instance by that.
        let found = client.proxy(&name).await.map_err(failed)?.upstream;
        order.shared.primary(target, instance, Some(found));
    }
    client.set_upstream(&name, upstream).await.map(|_| ()).map_err(failed)
}
