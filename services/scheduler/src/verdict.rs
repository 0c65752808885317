//! What came of a run: reasons, each with the exit code that it alone would give, and which of them rules (R12).

use protocol::event::Verdict;

/// Exit codes of requirement R12, as far as a scheduler gives them.
pub mod code {
    /// Everything asked for held.
    pub const PASSED: u8 = 0;
    /// A bug of ours.
    pub const BUG: u8 = 1;
    /// The plan, a guest or a flag is wrong.
    pub const BAD_INPUT: u8 = 2;
    /// Target, store, port, disk or workers.
    pub const ENVIRONMENT: u8 = 3;
    /// Ended by a person, the API, or a lost service.
    pub const ABORTED: u8 = 96;
    /// A fault could not be undone.
    pub const UNRECOVERED: u8 = 97;
    /// The generator was the bottleneck.
    pub const INVALID: u8 = 98;
    /// A threshold did not hold.
    pub const FAILED: u8 = 99;
    /// Ended by SIGINT.
    pub const SIGINT: u8 = 130;
    /// Ended by SIGTERM.
    pub const SIGTERM: u8 = 143;
}

/// Most severe first: 1 > 2 > 3 > 97 > 98 > 130/143 > 96 > 99.
const PRECEDENCE: [u8; 9] = [
    code::BUG,
    code::BAD_INPUT,
    code::ENVIRONMENT,
    code::UNRECOVERED,
    code::INVALID,
    code::SIGINT,
    code::SIGTERM,
    code::ABORTED,
    code::FAILED,
];

/// One reason why a run did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The exit code that this alone would give.
    pub code: u8,
    /// For the user.
    pub text: String,
}

impl Reason {
    /// A reason with its code.
    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// A fault that could not be undone: its id, and what was seen.
    pub(crate) fn unrecovered((fault, detail): &(String, String)) -> Self {
        Self::new(code::UNRECOVERED, format!("fault {fault} could not be undone: {detail}"))
    }

    fn rank(&self) -> usize {
        // A code that the table does not know is a bug of ours.
        PRECEDENCE.iter().position(|code| *code == self.code).unwrap_or(0)
    }
}

/// The exit code when somebody asked a run to stop: `signal SIGINT` and `signal SIGTERM` have their own.
#[must_use]
pub fn stop_code(by: &str) -> u8 {
    match by {
        "signal SIGINT" => code::SIGINT,
        "signal SIGTERM" => code::SIGTERM,
        _ => code::ABORTED,
    }
}

/// Puts the reasons in order, most severe first and each once, and derives verdict and exit code.
#[must_use]
pub fn settle(mut reasons: Vec<Reason>) -> (Verdict, u8, Vec<String>) {
    reasons.sort_by_key(Reason::rank);
    let code = reasons.first().map_or(code::PASSED, |reason| reason.code);
    let verdict = match code {
        code::PASSED => Verdict::Passed,
        code::INVALID => Verdict::Invalid,
        code::FAILED | code::UNRECOVERED => Verdict::Failed,
        _ => Verdict::Aborted,
    };
    let mut texts: Vec<String> = Vec::with_capacity(reasons.len());
    for reason in reasons {
        if !texts.contains(&reason.text) {
            texts.push(reason.text);
        }
    }
    (verdict, code, texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_severe_reason_rules() {
        let order = [1, 2, 3, 97, 98, 130, 96, 99];
        for (severe, window) in order.iter().zip(order.windows(2)) {
            let reasons = window.iter().rev().map(|code| Reason::new(*code, code.to_string())).collect();
            let (_, code, texts) = settle(reasons);
            assert_eq!(code, *severe);
            assert_eq!(texts, window.iter().map(u8::to_string).collect::<Vec<_>>());
        }
        assert_eq!(settle(vec![Reason::new(96, "a"), Reason::new(143, "b")]).1, 143);
    }

    #[test]
    fn verdicts_follow_the_code() {
        let verdict = |code| settle(vec![Reason::new(code, "x")]).0;
        assert_eq!(settle(Vec::new()), (Verdict::Passed, 0, Vec::new()));
        assert_eq!(verdict(99), Verdict::Failed);
        assert_eq!(verdict(97), Verdict::Failed);
        assert_eq!(verdict(98), Verdict::Invalid);
        for aborted in [1, 2, 3, 96, 130, 143] {
            assert_eq!(verdict(aborted), Verdict::Aborted);
        }
    }

    #[test]
    fn signals_have_codes_of_their_own() {
        assert_eq!(stop_code("signal SIGINT"), 130);
        assert_eq!(stop_code("signal SIGTERM"), 143);
        assert_eq!(stop_code("api"), 96);
    }
}
