//! The reference circle as a target: what a plan's load gets to hear of an orchestrator is what its experts' plans say
//! beforehand.

use std::time::Duration;

use circle_of_experts::model::{Circle, Model};
use circle_of_experts::orchestrator::{self, Orchestrator, Settings};
use circle_of_experts::plan::{LABELS, plan};
use circle_of_experts::shape::Shape;
use circle_of_experts::{Options, Running, Server};
use consensus::{Ballot, Outcome, Rules, Tally, Tie, outcome};
use gauntlet_tests::{Beside, gauntlet};
use serde_json::Value;

use crate::plans::{OnePhase, assert_closes, count, phase};

const EXPERTS: u32 = 10;
const QUESTIONS: u64 = 100;

/// The share of (question, expert) for which the experts fail in the tests that name none.
const FAILING: f64 = 0.4;

fn circle(failure_rate: f64) -> Circle {
    let all = Model {
        quality: 0.6,
        failure_rate,
        first_token_ms: [0.0, 5.0],
        token_ms: [0.0, 0.5],
        ..Model::default()
    };
    Circle { seed: 9, all, ..Circle::default() }
}

/// What is decided on a question.
fn foreseen(failure_rate: f64, question: &str) -> (Outcome, Tally) {
    let circle = circle(failure_rate);
    let ballots = (0..EXPERTS).map(|expert| {
        let plan = plan(circle.seed, circle.of(expert), expert, question);
        let label = plan.vote.and_then(|vote| LABELS.iter().position(|label| *label == vote));
        match (plan.failure, label) {
            (None, Some(label)) => Ballot::Vote(label as u64),
            _ => Ballot::Abstained,
        }
    });
    let ballots: Vec<_> = ballots.collect();
    let weights = vec![1; EXPERTS as usize];
    let rules =
        Rules { weights, min_experts: EXPERTS / 2, coverage: 500_000, support: 500_000, tie: Tie::Tie };
    outcome(&rules, &ballots)
}

fn experts(failure_rate: f64) -> Running<Server> {
    let circle = circle(failure_rate);
    Running::start(Options { experts: EXPERTS, circle, ..Options::default() }).unwrap()
}

/// How many of the outcomes that are known beforehand are of a kind.
fn known(kind: impl Fn(Outcome) -> bool) -> u64 {
    let outcomes = (0..QUESTIONS).map(|arrival| foreseen(FAILING, &format!("Question {arrival}?")).0);
    outcomes.filter(|outcome| kind(*outcome)).count() as u64
}

/// How often a check passed and failed in a phase, found by a part of its name.
fn check(phase: &Value, name: &str) -> (u64, u64) {
    let checks = phase["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"].as_str().unwrap().contains(name));
    let check = check.unwrap_or_else(|| panic!("no check of {name} in {phase}"));
    (check["passed"].as_u64().unwrap(), check["failed"].as_u64().unwrap())
}

#[test]
fn load_on_the_orchestrator_hears_the_outcomes_that_are_known_beforehand() {
    let dir = Beside::new();
    let experts = experts(FAILING);
    let orchestrator = Running::<Orchestrator>::start(orchestrator::Options {
        lists: vec![experts.url()],
        settings: Settings { retries: 0, breaker: None, ..Settings::default() },
        ..orchestrator::Options::default()
    })
    .unwrap();

    let mut plan =
        OnePhase::new(&orchestrator.url(), "rate = 50\nduration = \"2s\"\nconnections = 20\nmax-users = 20");
    plan.target = format!("health = \"{}/ready\"", orchestrator.url());
    let checks = r#"json = { "$.outcome" = "winner", "$.winner" = "B" }"#;
    let ask = r#"name = "ask", post = "/v1/consensus", json = { question = "Question {arrival}?" }"#;
    plan.step = format!("{{ {ask}, check = {{ {checks} }} }}");
    let summary = gauntlet::start_run(dir.path(), &plan.text(), &[]).wait(Duration::from_secs(180)).summary();
    let phase = phase(&summary);
    assert_closes(phase);
    assert_eq!(count(phase, "scheduled"), QUESTIONS);

    // Without quorum the status is 503, and there is nothing to look into.
    let no_quorum = known(|found| found == Outcome::NoQuorum);
    assert!(no_quorum > 0);
    let statuses = phase["statuses"].as_array().unwrap();
    let unavailable = statuses.iter().find(|status| status["name"] == "503").unwrap();
    assert_eq!(unavailable["count"], no_quorum, "{phase}");
    assert_eq!(count(phase, "answered"), QUESTIONS, "{phase}");
    let winners = known(|found| matches!(found, Outcome::Winner(_)));
    assert_eq!(check(phase, "$.outcome").0, winners, "{phase}");
    assert_eq!(check(phase, "$.winner").0, known(|found| found == Outcome::Winner(1)), "{phase}");
}

/// Questions with a winner when nobody fails, and which one that is.
fn decided_without_failures() -> Vec<(String, u64)> {
    let questions = (0..).map(|n| format!("Question {n}?")).filter_map(|question| {
        let Outcome::Winner(winner) = foreseen(0.0, &question).0 else { return None };
        Some((question, winner))
    });
    questions.take(QUESTIONS as usize).collect()
}

/// The same experts, asked by load itself: outcomes, quorums and flips against a run without failures are those of the plans, decided
/// early or not.
#[test]
fn the_expert_guest_decides_as_is_known_beforehand_whoever_fails() {
    let dir = Beside::new();
    let questions = decided_without_failures();
    let rows =
        questions.iter().map(|(question, winner)| format!("{question},{}\n", LABELS[*winner as usize]));
    let rows = format!("question,answer\n{}", rows.collect::<String>());
    std::fs::write(dir.path().join("questions.csv"), rows).unwrap();
    for failure_rate in [0.0, 0.2, 0.4] {
        let experts = experts(failure_rate);
        let foreseen: Vec<_> =
            questions.iter().map(|(question, _)| foreseen(failure_rate, question)).collect();
        let known =
            |kind: fn(Outcome) -> bool| foreseen.iter().filter(|(outcome, _)| kind(*outcome)).count() as u64;
        let no_quorum = known(|outcome| outcome == Outcome::NoQuorum);
        let ties = known(|outcome| outcome == Outcome::Tie);
        let winners = known(|outcome| matches!(outcome, Outcome::Winner(_)));
        let same = questions.iter().zip(&foreseen);
        let same =
            same.filter(|((_, winner), (outcome, _))| *outcome == Outcome::Winner(*winner)).count() as u64;
        assert_eq!(same == QUESTIONS, failure_rate == 0.0, "failures are such that outcomes flip");
        for early in [false, true] {
            let text = asked_by_the_guest(&experts.url(), early);
            let summary =
                gauntlet::start_run(dir.path(), &text, &[]).wait(Duration::from_secs(180)).summary();
            let phase = phase(&summary);
            let at = format!("{failure_rate} failing, early {early}: {phase}");
            assert_closes(phase);
            assert_eq!(count(phase, "scheduled"), QUESTIONS, "{at}");
            assert_eq!(check(phase, "circle: quorum"), (QUESTIONS - no_quorum, no_quorum), "{at}");
            assert_eq!(check(phase, "circle: consensus"), (winners, QUESTIONS - winners), "{at}");
            assert_eq!(check(phase, "circle: no tie"), (QUESTIONS - no_quorum - ties, ties), "{at}");
            // What is right here is what a circle without failures decides: whatever is wrong is a flip.
            assert_eq!(check(phase, "circle: right outcome"), (same, QUESTIONS - same), "{at}");
            if !early {
                let metrics = phase["metrics"].as_array().unwrap();
                let found = metrics.iter().find(|one| one["name"].as_str().unwrap().starts_with("coverage:"));
                let found = found.unwrap()["values"]["mean"].as_f64().unwrap();
                let exact =
                    foreseen.iter().map(|(_, tally)| tally.coverage()).sum::<f64>() / QUESTIONS as f64;
                // Histograms have three digits.
                assert!((found - exact).abs() < 0.002, "coverage {found}, expected {exact}: {at}");
            }
        }
    }
}

/// A plan whose load asks a circle of all experts.
fn asked_by_the_guest(url: &str, early: bool) -> String {
    let members = (0..EXPERTS).map(|expert| {
        let shape = Shape::of(expert);
        let api = ["anthropic", "gemini", "deepseek", "openrouter"][(expert % 4) as usize];
        format!(
            r#"{{ name = "e{expert}", api = "{api}", model = "expert", key = "k", path = "/experts/{expert}{}" }}"#,
            shape.path()
        )
    });
    let members = members.collect::<Vec<_>>().join(", ");
    let mut plan = OnePhase::new(url, "rate = 20\nduration = \"5s\"\nconnections = 100\nmax-users = 10");
    plan.target = format!("health = \"{url}/health\"");
    let config = format!(
        "guest = \"expert\"\ntarget = \"shop\"\n\n[scenarios.config]\nprompt = \"{{question}}\"\nfeed = \"questions.csv\"\n\
         expect = \"answer\"\nretries = 0\nbreaker = false\n\
         circle = {{ vote = [\"A\", \"B\", \"C\", \"D\"], early = {early} }}\nexperts = [{members}]"
    );
    let text = plan.text();
    let (begin, end) = (text.find("guest = \"http\"").unwrap(), text.find("[phases.baseline]").unwrap());
    format!("{}{config}\n\n{}", &text[..begin], &text[end..])
}
