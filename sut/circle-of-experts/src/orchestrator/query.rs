//! One question to all experts, and what they decide.

use std::sync::atomic::{AtomicU32, Ordering};

use consensus::{Ballot, Outcome, decided, outcome};
use expert_apis::Cause;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::Serialize;
use tokio::time::Instant;

use super::app::HttpClient;
use super::call::{Abstained, Call};
use super::circle::Circle;
use super::metrics::{Decision, End};

/// What is answered to a question.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    /// The question's number in this process.
    query: u64,
    #[serde(serialize_with = "named")]
    pub(super) outcome: Decision,
    /// Absent unless there is one.
    winner: Option<String>,
    /// Some were not needed any more.
    early: bool,
    /// Weight of the leader's voters / weight of those who voted.
    support: f64,
    /// How far the leader is ahead, likewise.
    margin: f64,
    unanimous: bool,
    /// Pairs of voters who agree / pairs.
    agreement: f64,
    /// Weight of those who voted / weight of all.
    coverage: f64,
    voters: u32,
    attempts: u32,
    experts: Vec<Report>,
}

/// What an expert did.
#[derive(Debug, Serialize)]
struct Report {
    expert: usize,
    #[serde(rename = "type")]
    kind: &'static str,
    weight: f64,
    attempts: u32,
    /// Milliseconds until it voted or abstained.
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vote: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    abstained: Option<&'static str>,
    /// What stood in the way of another attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_retry: Option<&'static str>,
    /// The outcome stood before it had spoken.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    not_needed: bool,
}

/// Attempts of a call, which outlive it when it is given up.
#[derive(Debug, Default)]
pub(super) struct Attempts(AtomicU32);

impl Attempts {
    /// Counts one more; its number, from 1.
    pub(super) fn add(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is known of an expert.
struct Seat {
    said: Option<Result<String, Abstained>>,
    ms: f64,
}

/// Asks all experts whose breakers let it, unless too few are left for a quorum, and counts their votes. It takes the timeout of
/// the settings at most: every attempt and every pause ends by then.
pub(super) async fn ask(
    client: &HttpClient,
    circle: &Circle,
    (number, key): (u64, u64),
    question: &str,
) -> Verdict {
    let begin = Instant::now();
    let deadline = begin + circle.settings.timeout();
    let attempts: Vec<Attempts> = circle.experts.iter().map(|_| Attempts::default()).collect();
    let mut ballots = vec![Ballot::Outstanding; circle.experts.len()];
    let mut seats: Vec<Seat> = circle.experts.iter().map(|_| Seat { said: None, ms: 0.0 }).collect();
    let mut admissions = Vec::with_capacity(circle.experts.len());
    for ((expert, ballot), seat) in circle.experts.iter().zip(&mut ballots).zip(&mut seats) {
        let admission = expert.breaker.as_ref().map(|breaker| breaker.admit().ok());
        if matches!(admission, Some(None)) {
            *ballot = Ballot::Abstained;
            seat.said = Some(Err(End::Because(Cause::Breaker).into()));
        }
        admissions.push(admission.flatten());
    }
    if decided(&circle.rules, &ballots).is_none() {
        let asked = ballots.iter().filter(|ballot| **ballot == Ballot::Outstanding).count();
        circle.pay(asked);
        let experts = circle.experts.iter().zip(&attempts).zip(admissions).enumerate();
        let mut calls: FuturesUnordered<_> = experts
            .filter(|(place, _)| ballots[*place] == Ballot::Outstanding)
            .map(|(place, ((expert, attempts), admission))| {
                let key = draws::at(key, place as u64);
                let call = Call { client, circle, expert, place, question, deadline, key, attempts };
                async move { (place, call.run(admission).await) }
            })
            .collect();
        while let Some((place, said)) = calls.next().await {
            ballots[place] = match &said {
                Ok((label, _)) => Ballot::Vote(*label),
                Err(_) => Ballot::Abstained,
            };
            let ms = begin.elapsed().as_secs_f64() * 1e3;
            seats[place] = Seat { said: Some(said.map(|(_, words)| words)), ms };
            if circle.settings.early && decided(&circle.rules, &ballots).is_some() {
                // What is outstanding is cancelled with its connection.
                break;
            }
        }
    }
    conclude(circle, number, &ballots, seats, &attempts)
}

fn conclude(
    circle: &Circle,
    query: u64,
    ballots: &[Ballot],
    seats: Vec<Seat>,
    attempts: &[Attempts],
) -> Verdict {
    let (last, tally) = outcome(&circle.rules, ballots);
    // With ballots outstanding the outcome is that which they cannot change.
    let found = decided(&circle.rules, ballots).unwrap_or(last);
    let winner = match found {
        Outcome::Winner(label) => ballots
            .iter()
            .zip(&seats)
            .find(|(ballot, _)| **ballot == Ballot::Vote(label))
            .and_then(|(_, seat)| seat.said.as_ref()?.as_ref().ok().cloned()),
        _ => None,
    };
    let early = ballots.contains(&Ballot::Outstanding);
    let experts = circle.experts.iter().zip(seats).zip(attempts).enumerate();
    let experts = experts.map(|(place, ((expert, seat), attempts))| {
        let end = match &seat.said {
            None => End::NotNeeded,
            Some(Ok(_)) => End::Voted,
            Some(Err(abstained)) => abstained.end,
        };
        expert.counters.call(end);
        let abstained = seat.said.as_ref().and_then(|said| said.as_ref().err());
        Report {
            expert: place,
            kind: expert.member.kind.name(),
            weight: expert.member.weight,
            attempts: attempts.count(),
            ms: seat.said.is_some().then_some(seat.ms),
            abstained: abstained.map(|abstained| abstained.end.name()),
            no_retry: abstained.and_then(|abstained| abstained.no_retry).map(Cause::name),
            not_needed: seat.said.is_none(),
            vote: seat.said.and_then(Result::ok),
        }
    });
    let experts: Vec<_> = experts.collect();
    Verdict {
        query,
        outcome: found.into(),
        winner,
        early,
        support: tally.support(),
        margin: tally.margin(),
        unanimous: tally.answered > 0 && tally.leader == tally.weight,
        agreement: tally.agreement(),
        coverage: tally.coverage(),
        voters: tally.answered,
        attempts: experts.iter().map(|report| report.attempts).sum(),
        experts,
    }
}

fn named<S: serde::Serializer>(decision: &Decision, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(decision.name())
}
