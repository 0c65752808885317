//! What is decided is what the experts' plans say beforehand.

use std::collections::BTreeMap;

use circle_of_experts::Circle;
use circle_of_experts::model::Model;
use circle_of_experts::plan::{LABELS, plan, truth};
use consensus::{Ballot, Outcome, Rules, Tally, Tie, outcome};
use futures::future::join_all;
use serde_json::{Value, json};

use super::{Council, all, ask, circle, options, ready};
use circle_of_experts::Running;

const EXPERTS: u32 = 10;
const QUESTIONS: usize = 60;

fn questions() -> impl Iterator<Item = String> {
    (0..QUESTIONS).map(|n| format!("Which is \"it\", {n}?\n(One of four.)"))
}

/// Experts who differ in weight and are often wrong, and who fail for so many questions.
fn uneven(failure_rate: f64) -> Circle {
    let model = Model { quality: 0.55, failure_rate, ..crate::quick() };
    let others = [(3, 2.5), (6, 0.5), (9, 3.0)];
    let others = others.map(|(expert, weight)| (expert, Model { weight, ..model.clone() }));
    circle(model, &others)
}

/// What will be decided, without asking anybody.
fn foreseen(circle: &Circle, question: &str) -> (Outcome, Tally) {
    let ballots = (0..EXPERTS).map(|expert| {
        let plan = plan(circle.seed, circle.of(expert), expert, question);
        match (plan.failure, plan.vote) {
            (None, Some(vote)) => {
                Ballot::Vote(LABELS.iter().position(|label| *label == vote).unwrap() as u64 + 1)
            }
            _ => Ballot::Abstained,
        }
    });
    let ballots: Vec<_> = ballots.collect();
    let weights = (0..EXPERTS).map(|expert| (circle.of(expert).weight * 1e3) as u32).collect();
    let rules =
        Rules { weights, min_experts: EXPERTS / 2, coverage: 500_000, support: 500_000, tie: Tie::Tie };
    outcome(&rules, &ballots)
}

/// Outcome and winner, as the orchestrator says them.
fn said(found: Outcome) -> (&'static str, Value) {
    match found {
        Outcome::Winner(label) => ("winner", json!(LABELS[label as usize - 1])),
        Outcome::NoQuorum => ("no_quorum", Value::Null),
        Outcome::Tie => ("tie", Value::Null),
        Outcome::NoConsensus => ("no_consensus", Value::Null),
    }
}

fn decided(verdict: &Value) -> (&str, Value) {
    (verdict["outcome"].as_str().unwrap(), verdict["winner"].clone())
}

#[track_caller]
fn assert_close(verdict: &Value, key: &str, expected: f64) {
    let found = verdict[key].as_f64().unwrap();
    assert!((found - expected).abs() < 1e-9, "{key}: {found}, expected {expected}, in {verdict}");
}

/// What the figures of a run are made of.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    outcomes: BTreeMap<String, u32>,
    /// Against a run without failures.
    flips: u32,
    right: u32,
    votes: u32,
}

impl Figures {
    fn add(&mut self, circle: &Circle, question: &str, (outcome, winner): (&str, &Value), votes: u32) {
        *self.outcomes.entry(outcome.to_owned()).or_default() += 1;
        let sound = said(foreseen(&uneven(0.0), question).0);
        self.flips += u32::from((outcome, winner) != (sound.0, &sound.1));
        self.right += u32::from(*winner == truth(circle.seed, question));
        self.votes += votes;
    }
}

#[tokio::test]
async fn outcomes_coverage_and_flips_are_the_seeded_truth_and_early_decisions_change_no_outcome() {
    let settings = |early: bool| json!({ "early": early, "retries": 0, "breaker": null });
    let council = Council::start(uneven(0.0), EXPERTS, settings(false)).await;
    let mut kinds = BTreeMap::new();
    let mut voted = 0;
    for failure_rate in [0.0, 0.2, 0.4] {
        let circle = uneven(failure_rate);
        council.behave(&circle).await;
        council.tune(settings(false)).await;
        let (mut found, mut expected) = (Figures::default(), Figures::default());
        for question in questions() {
            let (last, tally) = foreseen(&circle, &question);
            let (status, verdict) = council.ask(&question).await;
            assert_eq!(decided(&verdict), said(last), "{verdict}");
            assert_eq!(status, if last == Outcome::NoQuorum { 503 } else { 200 });
            assert_close(&verdict, "coverage", tally.coverage());
            assert_close(&verdict, "support", tally.support());
            assert_close(&verdict, "margin", tally.margin());
            assert_close(&verdict, "agreement", tally.agreement());
            let unanimous = tally.answered > 0 && tally.leader == tally.weight;
            assert_eq!(verdict["unanimous"], unanimous);
            assert_eq!((&verdict["attempts"], &verdict["early"]), (&json!(EXPERTS), &json!(false)));
            let votes = all(&verdict, "vote");
            for (expert, vote) in (0..EXPERTS).zip(votes) {
                let plan = plan(circle.seed, circle.of(expert), expert, &question);
                let planned = if plan.failure.is_none() { json!(plan.vote) } else { Value::Null };
                assert_eq!(*vote, planned, "expert {expert} in {verdict}");
            }
            let (outcome, winner) = decided(&verdict);
            let voters = verdict["voters"].as_u64().unwrap() as u32;
            found.add(&circle, &question, (outcome, &winner), voters);
            let (outcome, winner) = said(last);
            expected.add(&circle, &question, (outcome, &winner), tally.answered);
        }
        assert_eq!(found, expected);
        assert_eq!(found.flips == 0, failure_rate == 0.0, "{found:?}");
        for outcome in found.outcomes.keys() {
            *kinds.entry(outcome.clone()).or_insert(0) += 1;
        }
        voted += found.votes;

        council.tune(settings(true)).await;
        for question in questions() {
            let (_, verdict) = council.ask(&question).await;
            assert_eq!(decided(&verdict), said(foreseen(&circle, &question).0), "{verdict}");
            voted += verdict["voters"].as_u64().unwrap() as u32;
        }
    }
    // The seed is one with which all of them are there.
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    let metrics = council.metrics().await;
    let counted = metrics.lines().filter(|line| line.contains("end=\"voted\""));
    let counted: u32 = counted.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u32>().unwrap()).sum();
    assert_eq!(counted, voted, "the availability matrix has every vote:\n{metrics}");
}

#[tokio::test]
async fn replicas_agree() {
    let council =
        Council::start(uneven(0.3), EXPERTS, json!({ "retries": 1, "backoff_ms": 1, "breaker": null })).await;
    let settings = json!({ "retries": 0, "early": false, "breaker": null });
    let other = Running::start(options(&council.experts, settings)).unwrap();
    ready(&council.client, &other).await;
    for question in questions().take(20) {
        let other_url = other.url();
        let urls = [council.orchestrator.url(), other_url.clone(), other_url];
        let verdicts = join_all(urls.iter().map(|url| ask(&council.client, url, &question))).await;
        for (_, verdict) in &verdicts {
            assert_eq!(decided(verdict), said(foreseen(&uneven(0.3), &question).0), "{verdict}");
        }
    }
}
