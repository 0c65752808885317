//! What went wrong with a request, whether another attempt is worth it, and how long it has to wait.

use crate::api::Api;

/// The status of a request whose key is not taken.
pub(crate) const DENIED: u16 = 401;

/// Why a request brought no answer. Each is a check of its own, which only ever fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection came about.
    Connect,
    /// TLS failed.
    Tls,
    /// The connection broke.
    Reset,
    /// The answer was not whole by its deadline.
    Timeout,
    /// What came is not HTTP, or has a body over the reader's limit.
    Http,
    /// 429.
    RateLimited,
    /// 503 of Gemini and DeepSeek, 529 of Anthropic.
    Overloaded,
    /// Any other 5xx, and 408, 409.
    Server,
    /// 401, 403.
    Denied,
    /// 402, and limits of spending.
    Billing,
    /// Any other 4xx: the request itself is wrong.
    Request,
    /// Status 200, and an error where the answer belongs whose kind is unknown.
    ErrorInside,
    /// The answer is not of the API's shape.
    Shape,
    /// The stream ended before its end marker.
    Truncated,
    /// The model or a filter refused.
    Refused,
    /// There is no text in the answer.
    Empty,
    /// Its breaker is open: nothing was sent.
    Breaker,
    /// No attempt is left in the retry budget.
    Budget,
    /// The wait before the next attempt would end after the query's time.
    Deadline,
    /// The text is no vote, or more than one.
    NoVote,
}

impl Cause {
    /// All of them, each at the place of its number.
    pub const ALL: [Self; 20] = [
        Self::Connect,
        Self::Tls,
        Self::Reset,
        Self::Timeout,
        Self::Http,
        Self::RateLimited,
        Self::Overloaded,
        Self::Server,
        Self::Denied,
        Self::Billing,
        Self::Request,
        Self::ErrorInside,
        Self::Shape,
        Self::Truncated,
        Self::Refused,
        Self::Empty,
        Self::Breaker,
        Self::Budget,
        Self::Deadline,
        Self::NoVote,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Http => "no HTTP",
            Self::RateLimited => "rate limited",
            Self::Overloaded => "overloaded",
            Self::Server => "server error",
            Self::Denied => "denied",
            Self::Billing => "billing",
            Self::Request => "bad request",
            Self::ErrorInside => "error in the answer",
            Self::Shape => "shape",
            Self::Truncated => "truncated",
            Self::Refused => "refused",
            Self::Empty => "empty",
            Self::Breaker => "breaker open",
            Self::Budget => "retry budget",
            Self::Deadline => "no time for a retry",
            Self::NoVote => "no vote",
        }
    }

    /// Whether the expert is to blame, for its breaker: what is our own fault, a policy or a refusal is not.
    #[must_use]
    pub const fn trips_breaker(self) -> bool {
        matches!(
            self,
            Self::Connect
                | Self::Tls
                | Self::Reset
                | Self::Timeout
                | Self::Http
                | Self::Overloaded
                | Self::Server
                | Self::ErrorInside
                | Self::Shape
                | Self::Truncated
        )
    }
}

/// What an error in an answer tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The HTTP status that its kind stands for; 0 = unknown.
    pub status: u16,
    /// It says that a later attempt will fail, too: spending limits, quotas of a day.
    pub is_final: bool,
    /// How long to wait, microseconds (Gemini's RetryInfo).
    pub wait_us: Option<u64>,
}

/// A request that brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub cause: Cause,
    /// Another attempt may succeed.
    pub retryable: bool,
    /// The least wait before it, microseconds.
    pub floor_us: u64,
    /// `Retry-After` has a date, which is not read: that takes a clock.
    pub dated: bool,
}

impl Fault {
    /// One that says nothing of when to come again.
    #[must_use]
    pub const fn new(cause: Cause, retryable: bool) -> Self {
        Self { cause, retryable, floor_us: 0, dated: false }
    }

    /// An answer with an error status, or an error inside one with 200. `answered` is the answer's
    /// status, `header` gives the value of a header by its name in lower case.
    #[must_use]
    pub fn error<'a>(
        api: Api,
        answered: u16,
        told: Option<Told>,
        header: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> Self {
        let told = told.unwrap_or_default();
        let status = match answered {
            // Gemini says of a wrong key that the request is bad.
            400 if told.status == DENIED => DENIED,
            400.. => answered,
            // Inside a 200 the error's own kind is all there is.
            _ => told.status,
        };
        let advice = Advice::of(header);
        let cause = match status {
            429 if told.is_final => Cause::Billing,
            429 => Cause::RateLimited,
            503 | 529 => Cause::Overloaded,
            408 | 409 | 500..=599 => Cause::Server,
            401 | 403 => Cause::Denied,
            402 => Cause::Billing,
            400..=499 => Cause::Request,
            // 1xx to 3xx, or an error of unknown kind.
            _ if answered >= 300 => Cause::Shape,
            _ => Cause::ErrorInside,
        };
        let by_table = is_retryable(api, status, advice.floor_us.is_some());
        let retryable = !told.is_final && advice.should_retry.unwrap_or(by_table);
        let floor_us = advice.floor_us.or(told.wait_us).unwrap_or(0);
        Self { cause, retryable, floor_us, dated: advice.dated }
    }
}

/// Which statuses are worth another attempt, by what each API's documents say. What they do not name is transient when it
/// is the server's (5xx).
fn is_retryable(api: Api, status: u16, has_retry_after: bool) -> bool {
    match (api, status) {
        (_, 429) | (_, 500..=599) => true,
        (Api::Anthropic, 408 | 409) | (Api::Gemini | Api::OpenRouter, 408) => true,
        // OpenRouter: a balance that is being filled up.
        (Api::OpenRouter, 402) => has_retry_after,
        _ => false,
    }
}

/// What an answer's head says about another attempt.
#[derive(Debug, Default, PartialEq, Eq)]
struct Advice {
    should_retry: Option<bool>,
    floor_us: Option<u64>,
    dated: bool,
}

impl Advice {
    /// `x-should-retry`, then `retry-after-ms`, then `retry-after`.
    fn of<'a>(header: impl Fn(&str) -> Option<&'a [u8]>) -> Self {
        let text = |name: &str| header(name).and_then(|value| std::str::from_utf8(value).ok());
        let should_retry = match text("x-should-retry") {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        };
        let mut advice = Self { should_retry, ..Self::default() };
        let ms = text("retry-after-ms").and_then(|ms| scaled(ms, 1e3));
        match (ms, text("retry-after")) {
            (Some(us), _) => advice.floor_us = Some(us),
            (None, Some(value)) => {
                advice.floor_us = scaled(value, 1e6);
                advice.dated = advice.floor_us.is_none();
            }
            (None, None) => {}
        }
        advice
    }
}

/// A number that is not negative, times a factor, as a whole number.
pub(crate) fn scaled(text: &str, factor: f64) -> Option<u64> {
    let number = text.trim().parse::<f64>().ok()?;
    // The cast saturates, as wanted: a day and a year are both too long.
    (number.is_finite() && number >= 0.0).then_some((number * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_causes_are_in_the_order_of_their_numbers_and_have_names_of_their_own() {
        assert!(Cause::ALL.iter().enumerate().all(|(place, cause)| *cause as usize == place));
        let mut names = Cause::ALL.map(Cause::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
    }
}
