//! One expert's part in a question: its attempts, what stands in their way, and what they bring.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::RETRY_AFTER;
use axum::http::response::Parts;
use expert_apis::{Answer, Cause, Fault, judge};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use resilience::backoff::Backoff;
use resilience::breaker::Outcome;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::app::HttpClient;
use super::circle::Circle;
use super::expert::Expert;
use super::metrics::End;
use serving::breaker::Admission;
use serving::traces::Child;

/// Bytes of an answer that are read.
const BODY_LIMIT: usize = 64 << 10;

/// A question to one expert.
pub(super) struct Call<'a> {
    pub(super) client: &'a HttpClient,
    pub(super) circle: &'a Circle,
    pub(super) expert: &'a Expert,
    /// Its number in the circle.
    pub(super) place: usize,
    /// Escaped for a JSON string.
    pub(super) question: &'a str,
    /// When nobody waits for it any longer.
    pub(super) deadline: Instant,
    /// Of the draws of its pauses.
    pub(super) key: u64,
    /// Attempts so far.
    pub(super) attempts: &'a super::query::Attempts,
}

/// A call that brought no vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Abstained {
    pub(super) end: End,
    /// What stood in the way of another attempt that was worth it.
    pub(super) no_retry: Option<Cause>,
}

impl From<End> for Abstained {
    fn from(end: End) -> Self {
        Self { end, no_retry: None }
    }
}

impl Call<'_> {
    /// Asks until there is an answer, or another attempt is of no use; its label, and what it said.
    pub(super) async fn run(self, admission: Option<Admission<'_>>) -> Result<(u64, String), Abstained> {
        let mut backoff = Backoff::new(self.circle.settings.backoff());
        let mut admission = admission;
        loop {
            // In the order of their coming; whoever stops waiting leaves the queue.
            let entered = timeout_at(self.deadline, self.expert.bulkhead.enter()).await;
            let Ok(Ok(place)) = entered else { return Err(End::Bulkhead.into()) };
            let span = self.expert.span(self.place, self.attempts.add());
            self.expert.counters.attempt();
            let left = self.deadline.saturating_duration_since(Instant::now());
            let attempt = attempt(self.client, self.expert, self.question, &span);
            let limit = left.min(self.circle.settings.attempt_timeout());
            let answered = timeout(limit, attempt).await.unwrap_or(Err(Fault::new(Cause::Timeout, true)));
            drop(place);
            let cause = answered.as_ref().err().map(|fault| fault.cause.name());
            span.note("circle.outcome", cause.unwrap_or("answered"));
            span.ended(cause.map(|cause| (cause, "")));
            let fault = match answered {
                Ok(answer) => {
                    record(admission, Outcome::Success);
                    return match consensus::label(&self.circle.vote, answer.kept()) {
                        Some(label) => Ok((label, self.circle.words(label, answer.kept()))),
                        None => Err(End::Because(Cause::NoVote).into()),
                    };
                }
                Err(fault) => fault,
            };
            let blamed = if fault.cause.trips_breaker() { Outcome::Failure } else { Outcome::Cancelled };
            record(admission, blamed);
            self.expert.counters.attempt_failed(fault.cause);
            let end = End::Because(fault.cause);
            let floor = (fault.floor_us > 0).then_some(Duration::from_micros(fault.floor_us));
            let draw = draws::at(self.key, backoff.retried().into());
            let wait = backoff.next(floor, draw).filter(|_| fault.retryable);
            let Some(wait) = wait else { return Err(end.into()) };
            let refused = |cause| Err(Abstained { end, no_retry: Some(cause) });
            if Instant::now() + wait >= self.deadline {
                return refused(Cause::Deadline);
            }
            if !self.circle.affords_retry() {
                return refused(Cause::Budget);
            }
            sleep(wait).await;
            admission = match &self.expert.breaker {
                None => None,
                Some(breaker) => match breaker.admit() {
                    Ok(admitted) => Some(admitted),
                    Err(_) => return refused(Cause::Breaker),
                },
            };
        }
    }
}

fn record(admission: Option<Admission<'_>>, outcome: Outcome) {
    if let Some(admission) = admission {
        admission.ended(outcome);
    }
}

/// One request and its answer.
async fn attempt(
    client: &HttpClient,
    expert: &Expert,
    question: &str,
    span: &Child,
) -> Result<Answer, Fault> {
    let mut request = expert.request(question);
    span.tell(request.headers_mut());
    let response = client.request(request).await.map_err(|error| {
        let is_http = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
        Fault::new(
            match is_http {
                _ if error.is_connect() => Cause::Connect,
                Some(error) if error.is_parse() => Cause::Http,
                _ => Cause::Reset,
            },
            true,
        )
    })?;
    let (head, body) = response.into_parts();
    span.note("http.response.status_code", i64::from(head.status.as_u16()));
    let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return Fault::new(Cause::Http, false);
        }
        Fault::new(Cause::Reset, true)
    })?;
    read(expert, &head, &body.to_bytes())
}

fn read(expert: &Expert, head: &Parts, body: &Bytes) -> Result<Answer, Fault> {
    let mut answer = Answer::new(true);
    let header = |name: &str| head.headers.get(name).map(HeaderValue::as_bytes);
    let status = (head.status.as_u16(), body.as_ref());
    match judge(expert.member.kind.api(), (false, false), status, header, &mut answer) {
        Ok(()) => Ok(answer),
        Err(fault) if fault.dated => {
            let floor = until(head.headers.get(RETRY_AFTER), SystemTime::now());
            Err(Fault { floor_us: u64::try_from(floor.as_micros()).unwrap_or(u64::MAX), ..fault })
        }
        Err(fault) => Err(fault),
    }
}

/// How long it is until a date in `Retry-After`; nothing when it is past, or none.
fn until(header: Option<&HeaderValue>, now: SystemTime) -> Duration {
    let date = header.and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok());
    date.and_then(|date| date.duration_since(now).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_to_come_is_waited_for_and_a_past_one_is_not() {
        let now = httpdate::parse_http_date("Sun, 29 Nov 2026 10:00:00 GMT").unwrap();
        let seconds = |value: &'static str| until(Some(&HeaderValue::from_static(value)), now).as_secs();
        assert_eq!(seconds("Sun, 29 Nov 2026 10:00:07 GMT"), 7);
        assert_eq!(seconds("Sun, 29 Nov 2026 09:59:59 GMT"), 0);
        assert_eq!(seconds("soon"), 0);
        assert_eq!(until(None, now), Duration::ZERO);
    }
}
