//! From the text of an answer to a vote that can be compared.

use core::hash::Hasher as _;
use std::hash::DefaultHasher;

/// What of an answer is the vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vote {
    /// The whole text; case and white space do not matter.
    Text,
    /// The last number in it.
    Number,
    /// The one of these that it names, each in lower case; its label is its place, from 1 on.
    Choices(Vec<String>),
}

/// The label of an answer; none when what it says is no vote, or more than one.
///
/// Labels of texts and numbers are 64 bits of a hash that is the same everywhere: that two different ones share a label is
/// as likely as one in 10¹⁹.
#[must_use]
pub fn label(vote: &Vote, text: &str) -> Option<u64> {
    match vote {
        Vote::Text => whole(text),
        Vote::Number => number(text),
        Vote::Choices(choices) => choice(choices, text),
    }
}

/// The whole text: lower case, white space as single blanks, without what ends a sentence.
fn whole(text: &str) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    let text = text.trim().trim_end_matches(['.', '!']);
    let mut is_empty = true;
    for word in text.split_whitespace() {
        is_empty = false;
        for letter in word.chars().flat_map(char::to_lowercase) {
            hasher.write_u32(letter.into());
        }
        hasher.write_u32(' '.into());
    }
    (!is_empty).then(|| hasher.finish())
}

/// The last number: 7, 7.0 and 7.00 are the same, and 1,000 is a thousand.
fn number(text: &str) -> Option<u64> {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',');
    let end = text.rfind(|c: char| c.is_ascii_digit())? + 1;
    let begin = text[..end]
        .rfind(|c: char| !is_part(c))
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let digits = text[begin..end].trim_start_matches(['.', ',']).replace(',', "");
    let before = text[..begin].chars().next_back();
    let value: f64 = digits.parse().ok()?;
    let value = if before == Some('-') && value != 0.0 { -value } else { value };
    Some(value.to_bits())
}

/// The one choice that stands in the text as words of its own; none when it names several.
fn choice(choices: &[String], text: &str) -> Option<u64> {
    let text = text.to_lowercase();
    let mut found = choices.iter().enumerate().filter(|(_, choice)| has_word(&text, choice));
    let (first, _) = found.next()?;
    // The label is the choice's place, from 1 on.
    found.next().is_none().then_some(first as u64 + 1)
}

fn has_word(text: &str, word: &str) -> bool {
    let is_edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(word).any(|(at, found)| {
        is_edge(text[..at].chars().next_back()) && is_edge(text[at + found.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_agree_but_for_case_and_space() {
        let label = |text| label(&Vote::Text, text);
        assert_eq!(label("Paris"), label("  paris.\n"));
        assert_eq!(label("New  York"), label("new york"));
        assert_ne!(label("newyork"), label("new york"));
        assert_ne!(label("a b"), label("ab"));
        assert_eq!(label(" \n"), None);
        assert_eq!(label("."), None);
    }

    #[test]
    fn the_last_number_is_the_vote() {
        let label = |text| label(&Vote::Number, text);
        assert_eq!(label("6 times 7 is 42."), label("42"));
        assert_eq!(label("42.0"), label("42"));
        assert_eq!(label("1,000"), label("it is 1000, I think"));
        assert_eq!(label("x = -3"), label("-3.00"));
        assert_ne!(label("-3"), label("3"));
        assert_eq!(label("-0"), label("0"));
        assert_eq!(label("é7é"), label("7"));
        assert_eq!(label("1.2.3"), None);
        assert_eq!(label("none"), None);
    }

    #[test]
    fn a_choice_is_named_alone() {
        let vote = Vote::Choices(vec!["yes".into(), "no".into()]);
        assert_eq!(label(&vote, "Yes, it is."), Some(1));
        assert_eq!(label(&vote, "NO"), Some(2));
        assert_eq!(label(&vote, "I know nothing"), None);
        assert_eq!(label(&vote, "yes and no"), None);
    }
}
