//! The reference circle as a target: what a plan's load gets to hear of an orchestrator is what its experts' plans say
//! beforehand.

use std::time::Duration;

use circle_of_experts::model::{Circle, Model};
use circle_of_experts::orchestrator::{self, Orchestrator, Settings};
use circle_of_experts::plan::{LABELS, plan};
use circle_of_experts::shape::Shape;
use circle_of_experts::{Options, Running, Server};
use consensus::{Ballot, Outcome, Rules, Tie, outcome};
use gauntlet_tests::{Beside, gauntlet};
use serde_json::Value;

use crate::plans::{OnePhase, assert_closes, count, phase};

const EXPERTS: u32 = 10;
const QUESTIONS: u64 = 100;

fn circle() -> Circle {
    let all = Model {
        quality: 0.6,
        failure_rate: 0.4,
        first_token_ms: [0.0, 5.0],
        token_ms: [0.0, 0.5],
        ..Model::default()
    };
    Circle { seed: 9, all, ..Circle::default() }
}

/// What is decided on the question of an arrival.
fn foreseen(arrival: u64) -> Outcome {
    let circle = circle();
    let ballots = (0..EXPERTS).map(|expert| {
        let plan = plan(circle.seed, circle.of(expert), expert, &format!("Question {arrival}?"));
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
    outcome(&rules, &ballots).0
}

fn experts() -> Running<Server> {
    Running::start(Options { experts: EXPERTS, circle: circle(), ..Options::default() }).unwrap()
}

/// How many of the outcomes that are known beforehand are of a kind.
fn known(kind: impl Fn(Outcome) -> bool) -> u64 {
    (0..QUESTIONS).filter(|arrival| kind(foreseen(*arrival))).count() as u64
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
    let experts = experts();
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

/// The same experts, asked by load itself: the expert guest comes to the same outcomes as the orchestrator.
#[test]
fn the_expert_guest_decides_as_the_orchestrator_does() {
    let dir = Beside::new();
    let experts = experts();
    let members = (0..EXPERTS).map(|expert| {
        let shape = Shape::of(expert);
        let api = ["anthropic", "gemini", "deepseek", "openrouter"][(expert % 4) as usize];
        format!(
            r#"{{ name = "e{expert}", api = "{api}", model = "expert", key = "k", path = "/experts/{expert}{}" }}"#,
            shape.path()
        )
    });
    let members = members.collect::<Vec<_>>().join(", ");
    let mut plan =
        OnePhase::new(&experts.url(), "rate = 50\nduration = \"2s\"\nconnections = 100\nmax-users = 10");
    plan.target = format!("health = \"{}/health\"", experts.url());
    let config = format!(
        "guest = \"expert\"\ntarget = \"shop\"\n\n[scenarios.config]\nprompt = \"Question {{arrival}}?\"\nretries = 0\n\
         breaker = false\ncircle = {{ vote = [\"A\", \"B\", \"C\", \"D\"] }}\nexperts = [{members}]"
    );
    let text = plan.text();
    let (begin, end) = (text.find("guest = \"http\"").unwrap(), text.find("[phases.baseline]").unwrap());
    let text = format!("{}{config}\n\n{}", &text[..begin], &text[end..]);
    let summary = gauntlet::start_run(dir.path(), &text, &[]).wait(Duration::from_secs(180)).summary();
    let phase = phase(&summary);
    assert_closes(phase);
    assert_eq!(count(phase, "scheduled"), QUESTIONS, "{phase}");
    let no_quorum = known(|found| found == Outcome::NoQuorum);
    let winners = known(|found| matches!(found, Outcome::Winner(_)));
    let ties = known(|found| found == Outcome::Tie);
    assert_eq!(check(phase, "circle: quorum"), (QUESTIONS - no_quorum, no_quorum), "{phase}");
    assert_eq!(check(phase, "circle: consensus"), (winners, QUESTIONS - winners), "{phase}");
    assert_eq!(check(phase, "circle: no tie"), (QUESTIONS - no_quorum - ties, ties), "{phase}");
}
