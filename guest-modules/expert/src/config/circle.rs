//! The circle's part of a configuration.

use consensus::{Tie, Vote};
use guest_config::{Keys, Problems};
use serde_json::{Map, Value};

use super::Circle;

const CHOICES: &str = "write vote = \"text\", \"number\" or a list of the choices";

/// Reads the table `circle` of a scenario with so many experts.
pub(super) fn circle(table: &Map<String, Value>, experts: usize, problems: &mut Problems) -> Circle {
    let mut keys = Keys::new("circle", table);
    let min_experts = keys.whole("min-experts", 100, problems);
    if let Some(wanted) =
        min_experts.filter(|&wanted| experts > 0 && (wanted as usize > experts || wanted == 0))
    {
        problems.add(
            "circle.min-experts",
            format!("expected 1 to {experts}, the number of experts, found {wanted}"),
            "lower it, or name more experts",
        );
    }
    let coverage = millionths(&mut keys, "coverage", problems).unwrap_or(500_000);
    let support = millionths(&mut keys, "support", problems).unwrap_or(500_000);
    let ties = [("tie", Tie::Tie), ("heaviest", Tie::Heaviest)];
    let tie = keys.word("tie", &ties, problems).unwrap_or_default();
    let early = keys.flag("early", problems).unwrap_or(true);
    let vote = vote(&mut keys, problems);
    keys.finish(problems);
    Circle { min_experts, coverage, support, tie, early, vote }
}

/// A share from 0 to 1 as millionths.
fn millionths(keys: &mut Keys<'_>, key: &'static str, problems: &mut Problems) -> Option<u32> {
    let value = keys.get(key)?;
    let share = value.as_f64().filter(|share| (0.0..=1.0).contains(share));
    if share.is_none() {
        problems.kind(&keys.at(key), "a number from 0 to 1", value, &format!("write {key} = 0.5"));
    }
    // Within 32 bits by the bound.
    share.map(|share| (share * 1e6).round() as u32)
}

fn vote(keys: &mut Keys<'_>, problems: &mut Problems) -> Vote {
    match keys.get("vote") {
        None => Vote::Text,
        Some(Value::String(word)) if word == "text" => Vote::Text,
        Some(Value::String(word)) if word == "number" => Vote::Number,
        Some(Value::Array(list)) => {
            let choices: Vec<String> = list
                .iter()
                .filter_map(|choice| choice.as_str().map(|choice| choice.trim().to_lowercase()))
                .filter(|choice| !choice.is_empty())
                .collect();
            let twice = choices.iter().enumerate().any(|(at, choice)| choices[..at].contains(choice));
            if choices.len() != list.len() || choices.len() < 2 || twice {
                let message = "expected two or more different texts that are not empty";
                problems.add("circle.vote", message, "write vote = [\"yes\", \"no\"]");
            }
            Vote::Choices(choices)
        }
        Some(other) => {
            problems.kind("circle.vote", "what of an answer is the vote", other, CHOICES);
            Vote::Text
        }
    }
}
