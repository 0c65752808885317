//! Server-sent events: the history, which can be resumed anywhere, and live figures, which may be missed.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State as Extract};
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event as Sent, KeepAlive};
use bus::Subscription;
use futures::Stream;
use futures::stream::unfold;
use protocol::event::{Entry, Event};
use protocol::id::RunId;
use protocol::v1;
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::problem::Problem;
use super::runs::find;

/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Events<S> = Sse<axum::response::sse::KeepAliveStream<S>>;

fn keep_alive() -> KeepAlive {
    KeepAlive::new().interval(KEEP_ALIVE)
}

/// The history as it grows: one event an entry, its id the sequence; ends after `run-ended`. `Last-Event-ID` resumes.
#[utoipa::path(
    get, path = "/v1/runs/{run}/history/stream", tag = "history",
    params(
        ("run" = String, Path, description = "The run's id"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Only entries after this sequence")
    ),
    responses(
        (status = 200, description = "Entries as JSON", content_type = "text/event-stream"),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn history(
    Extract(state): Extract<State>,
    Path(run): Path<String>,
    headers: HeaderMap,
) -> Result<Events<impl Stream<Item = Result<Sent, Infallible>>>, Problem> {
    let after = match headers.get("last-event-id") {
        None => 0,
        Some(value) => value.to_str().ok().and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
            Problem::bad_request("Last-Event-ID: expected the sequence of an entry, a whole number")
        })?,
    };
    let row = find(&state, &run).await?;
    // Before the store is read, so that nothing falls between the two.
    let announced = state.service.bus.subscribe::<v1::HistoryEntry>().await?;
    let follower =
        Follower { state, run: row.id, after, announced, ready: VecDeque::new(), fresh: true, over: false };
    Ok(Sse::new(unfold(follower, |mut follower| async move {
        let entry = follower.next().await?;
        Some((Ok(sent(&entry)), follower))
    }))
    .keep_alive(keep_alive()))
}

fn sent(entry: &Entry) -> Sent {
    let event = Sent::default().id(entry.sequence.to_string());
    match serde_json::to_string(entry) {
        Ok(json) => event.event("entry").data(json),
        Err(error) => event.event("unreadable").data(error.to_string()),
    }
}

/// Follows a history. Announcements only wake it: entries are read from the store, so that lost ones leave no gap.
struct Follower {
    state: State,
    run: RunId,
    after: u64,
    announced: Subscription<v1::HistoryEntry>,
    ready: VecDeque<Entry>,
    /// The store has not been read yet.
    fresh: bool,
    /// The last entry was handed out.
    over: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                self.after = entry.sequence;
                self.over = matches!(entry.event, Event::RunEnded { .. });
                return Some(entry);
            }
            if self.over || !(std::mem::take(&mut self.fresh) || self.news().await) {
                return None;
            }
            match self.state.service.store.history(self.run, self.after).await {
                Ok(entries) => self.ready = entries.into(),
                Err(error) => {
                    tracing::error!(run = %self.run, %error, "a history stream ends: the store failed");
                    return None;
                }
            }
        }
    }

    /// Waits for an entry of this run to be announced; `false` = there will be none.
    async fn news(&mut self) -> bool {
        let run = self.run.to_bytes();
        loop {
            let lost = self.announced.lost();
            let announced = tokio::select! {
                biased;
                () = self.state.end.triggered() => None,
                announced = self.announced.next() => announced,
            };
            match announced {
                None => return false,
                Some(entry) if entry.run == run && entry.sequence > self.after => return true,
                // Among those that were lost may be ours.
                Some(_) if self.announced.lost() > lost => return true,
                Some(_) => {}
            }
        }
    }
}

/// The figures of the last second of a run.
#[derive(Serialize, ToSchema)]
pub(crate) struct LiveView {
    /// Index of the phase.
    phase: u32,
    /// The stretch covered, milliseconds from the phase's start.
    from_ms: u64,
    /// Its end.
    to_ms: u64,
    /// Wanted arrivals per second.
    wanted_rate: f64,
    /// Operations started in the stretch.
    started: u64,
    /// Operations answered.
    answered: u64,
    /// Operations that failed.
    failed: u64,
    /// Arrivals dropped.
    dropped: u64,
    /// Arrivals that wait for a user or a connection.
    waiting: u64,
    /// Operations in progress.
    in_flight: u64,
    /// Share of errors, 0 to 1; absent when nothing ended.
    error_rate: Option<f64>,
    /// From the intended time, of answered operations, microseconds; absent when there was none.
    latency_p50_us: Option<u64>,
    /// The 95th percentile.
    latency_p95_us: Option<u64>,
    /// The 99th percentile.
    latency_p99_us: Option<u64>,
    /// Transports open.
    connections: u32,
    /// Users with an operation in progress.
    users: u32,
}

impl From<&v1::Aggregate> for LiveView {
    fn from(aggregate: &v1::Aggregate) -> Self {
        let counts = aggregate.arrivals.unwrap_or_default();
        let merged = aggregate.total.as_ref().and_then(|total| series::Merged::from_proto(total).ok());
        let percentile = |q| merged.as_ref().and_then(|merged| merged.latency.percentile(q));
        Self {
            phase: aggregate.phase,
            from_ms: aggregate.from_offset_ns / 1_000_000,
            to_ms: aggregate.to_offset_ns / 1_000_000,
            wanted_rate: aggregate.wanted_rate,
            started: counts.started,
            answered: counts.answered,
            failed: counts.failed,
            dropped: counts.dropped,
            waiting: counts.waiting,
            in_flight: counts.in_flight,
            error_rate: merged.as_ref().and_then(|merged| series::error_share(merged, counts.dropped)),
            latency_p50_us: percentile(50.0),
            latency_p95_us: percentile(95.0),
            latency_p99_us: percentile(99.0),
            connections: aggregate.connections_open,
            users: aggregate.users_active,
        }
    }
}

/// Figures of each second as they come. Some may be missed; nothing can be resumed.
#[utoipa::path(
    get, path = "/v1/runs/{run}/live", tag = "history", params(("run" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "LiveView as JSON, one each second", content_type = "text/event-stream", body = LiveView),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn live(
    Extract(state): Extract<State>,
    Path(run): Path<String>,
) -> Result<Events<impl Stream<Item = Result<Sent, Infallible>>>, Problem> {
    let aggregates = state.service.bus.subscribe::<v1::Aggregate>().await?;
    let row = find(&state, &run).await?;
    let announced = state.service.bus.subscribe::<v1::HistoryEntry>().await?;
    let over = matches!(row.state, store::RunState::Ended { .. });
    let figures = Figures { state, run: row.id.to_bytes(), aggregates, announced, over };
    Ok(Sse::new(unfold(figures, |mut figures| async move {
        let view = figures.next().await?;
        let json = serde_json::to_string(&view).ok()?;
        Some((Ok(Sent::default().event("figures").data(json)), figures))
    }))
    .keep_alive(keep_alive()))
}

/// Follows the figures of a run until it is over.
struct Figures {
    state: State,
    run: Vec<u8>,
    aggregates: Subscription<v1::Aggregate>,
    announced: Subscription<v1::HistoryEntry>,
    over: bool,
}

impl Figures {
    async fn next(&mut self) -> Option<LiveView> {
        while !self.over {
            tokio::select! {
                biased;
                () = self.state.end.triggered() => return None,
                aggregate = self.aggregates.next() => {
                    let aggregate = aggregate?;
                    if aggregate.run == self.run {
                        return Some(LiveView::from(&aggregate));
                    }
                }
                entry = self.announced.next() => {
                    let entry = entry?;
                    self.over = entry.run == self.run
                        && matches!(serde_json::from_str(&entry.event_json), Ok(Event::RunEnded { .. }));
                }
            }
        }
        None
    }
}
