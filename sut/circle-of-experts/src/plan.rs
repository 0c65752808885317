//! What an expert does with a question: a function of (seed, question, expert) and its model, so that whoever asks can know it
//! beforehand, in whatever order questions arrive and however often they are asked.

use std::time::Duration;

use crate::model::{Failure, Model};

/// What can be voted for.
pub const LABELS: [&str; 4] = ["A", "B", "C", "D"];

/// Words that answers are filled with, a token each with the space before it.
const WORDS: [&str; 8] = [" amber", " bell", " clock", " drum", " easel", " flute", " globe", " harp"];
/// Said instead of an answer.
const REFUSAL: [&str; 8] = ["I", " am", " not", " able", " to", " help", " with", " that."];

/// Purposes of the draws, each of which is independent of the others; tokens have those from `TOKENS` on.
const QUALITY: u64 = 0;
const WRONG: u64 = 1;
const FAILS: u64 = 2;
const HOW: u64 = 3;
const LENGTH: u64 = 4;
const FIRST: u64 = 5;
const TOKENS: u64 = 16;

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What it votes for, if it gets so far; nothing = it refuses.
    pub vote: Option<&'static str>,
    /// How it fails, if it does.
    pub failure: Option<Failure>,
    /// The tokens, and when each is said, since the request arrived.
    pub tokens: Vec<(Duration, &'static str)>,
}

/// The right answer to a question.
#[must_use]
pub fn truth(seed: u64, question: &str) -> &'static str {
    let draw = draws::at(draws::at(seed, 1) ^ draws::text(question), 0);
    LABELS[pick(LABELS.len(), draw)]
}

/// What an expert does with a question.
#[must_use]
pub fn plan(seed: u64, model: &Model, expert: u32, question: &str) -> Plan {
    let key = draws::at(draws::at(draws::at(seed, 0) ^ draws::text(question), 0), u64::from(expert));
    let draw = |purpose: u64| draws::at(key, purpose);
    let failure = (share(draw(FAILS)) < model.failure_rate).then(|| {
        let ways: &[Failure] = if model.failures.is_empty() { &Failure::USUAL } else { &model.failures };
        ways[pick(ways.len(), draw(HOW))]
    });
    let right = truth(seed, question);
    let vote = if share(draw(QUALITY)) < model.quality {
        right
    } else {
        let mut wrong = LABELS.into_iter().filter(|label| *label != right);
        wrong.nth(pick(LABELS.len() - 1, draw(WRONG))).unwrap_or(right)
    };
    let [least, most] = model.tokens;
    let length = least + u32::try_from(draws::up_to(u64::from(most - least), draw(LENGTH))).unwrap_or(0);
    let vote = (failure != Some(Failure::Refusal)).then_some(vote);
    let text: Vec<&'static str> = match vote {
        Some(vote) => {
            let filler = (2..length).map(|n| WORDS[pick(WORDS.len(), draws::at(key ^ 1, u64::from(n)))]);
            ["Answer:", spaced(vote)].into_iter().chain(filler).collect()
        }
        None => REFUSAL.to_vec(),
    };
    let mut at = within(model.first_token_ms, draw(FIRST));
    let tokens = text.into_iter().zip(TOKENS..).map(|(token, purpose)| {
        let said = (at, token);
        at += within(model.token_ms, draw(purpose));
        said
    });
    Plan { vote, failure, tokens: tokens.collect() }
}

/// The tokens that a text is counted as: its words.
#[must_use]
pub fn count(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

fn spaced(label: &str) -> &'static str {
    match label {
        "A" => " A",
        "B" => " B",
        "C" => " C",
        _ => " D",
    }
}

fn pick(of: usize, draw: u64) -> usize {
    usize::try_from(draws::up_to(of.saturating_sub(1) as u64, draw)).unwrap_or(0)
}

/// A draw as a share from [0, 1): its upper 53 bits fill a double exactly.
fn share(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1_u64 << 53) as f64
}

fn within([least, most]: [f64; 2], draw: u64) -> Duration {
    Duration::from_secs_f64((least + (most - least) * share(draw)) / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions() -> impl Iterator<Item = String> {
        (0..4_000).map(|n| format!("Question {n}?"))
    }

    #[test]
    fn experts_are_right_as_often_as_their_quality_says_and_independently() {
        let model = Model { quality: 0.7, ..Model::default() };
        let right =
            |expert, question: &str| plan(9, &model, expert, question).vote == Some(truth(9, question));
        let votes: Vec<_> = questions().map(|question| (right(0, &question), right(1, &question))).collect();
        let share = |of: &dyn Fn(&(bool, bool)) -> bool| {
            votes.iter().filter(|vote| of(vote)).count() as f64 / votes.len() as f64
        };
        assert!((0.67..0.73).contains(&share(&|vote| vote.0)));
        assert!((0.67..0.73).contains(&share(&|vote| vote.1)));
        assert!((0.46..0.52).contains(&share(&|vote| vote.0 && vote.1)), "0.7 of 0.7");
    }

    #[test]
    fn failures_are_as_many_and_of_the_kinds_that_are_asked_for() {
        let failures = vec![Failure::Overloaded, Failure::Truncated];
        let model = Model { failure_rate: 0.4, failures, ..Model::default() };
        let mut counts = [0, 0];
        for question in questions() {
            match plan(1, &model, 3, &question).failure {
                None => {}
                Some(Failure::Overloaded) => counts[0] += 1,
                Some(Failure::Truncated) => counts[1] += 1,
                Some(other) => panic!("{other:?}"),
            }
        }
        assert!(counts.iter().all(|count| (720..880).contains(count)), "{counts:?}");
    }

    #[test]
    fn answers_have_the_length_and_the_times_of_the_model() {
        let model =
            Model { tokens: [5, 9], first_token_ms: [10.0, 20.0], token_ms: [1.0, 2.0], ..Model::default() };
        let mut lengths = std::collections::BTreeSet::new();
        for question in questions() {
            let tokens = plan(1, &model, 0, &question).tokens;
            lengths.insert(tokens.len());
            assert!((10..=20).contains(&tokens[0].0.as_millis()));
            for pair in tokens.windows(2) {
                assert!((1_000_000..=2_000_001).contains(&(pair[1].0 - pair[0].0).as_nanos()));
            }
            assert_eq!(tokens[0].1, "Answer:");
        }
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
    }

    #[test]
    fn the_same_question_gets_the_same_answer_and_another_seed_another() {
        let model = Model::default();
        assert_eq!(plan(1, &model, 2, "Why?"), plan(1, &model, 2, "Why?"));
        assert_ne!(plan(1, &model, 2, "Why?"), plan(2, &model, 2, "Why?"));
        let truths = questions().filter(|question| truth(1, question) == truth(2, question)).count();
        assert!((850..1_150).contains(&truths), "{truths}");
    }
}
