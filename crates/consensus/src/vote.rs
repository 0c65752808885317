//! Weighted voting. A pure function of rules and ballots, in whole numbers: no order of arrival, of adding or of tables can
//! change an outcome.

/// How a vote is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Weight of each expert, in a unit of the caller's choice.
    pub weights: Vec<u32>,
    /// Votes without which there is no outcome.
    pub min_experts: u32,
    /// Weight of those who voted, in millionths of all, that is needed at least.
    pub coverage: u32,
    /// Weight of the winner's voters, in millionths of that of all who voted, that has to be exceeded.
    pub support: u32,
    /// What equal scores at the top mean.
    pub tie: Tie,
}

/// What equal scores at the top mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tie {
    /// There is no winner.
    #[default]
    Tie,
    /// Of the leaders, that with the heaviest single voter wins, then that of the expert who stands first.
    Heaviest,
}

/// What an expert has said. Labels are only compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ballot {
    /// Nothing yet.
    Outstanding,
    /// It votes for this.
    Vote(u64),
    /// It will not vote.
    Abstained,
}

/// What came of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This label won.
    Winner(u64),
    /// Too few voted.
    NoQuorum,
    /// Equal scores at the top.
    Tie,
    /// The leader has not enough support.
    NoConsensus,
}

/// The count of a vote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Experts who voted.
    pub answered: u32,
    /// Their weight.
    pub weight: u64,
    /// Weight of the leader's voters.
    pub leader: u64,
    /// Weight of the runner-up's voters; 0 with fewer than two labels.
    pub runner_up: u64,
    /// Weight of all experts.
    pub all: u64,
    /// Pairs of voters who agree.
    pub agreeing: u64,
    /// All pairs of voters.
    pub pairs: u64,
}

impl Tally {
    /// Weight of the leader's voters as a share of that of all who voted.
    #[must_use]
    pub fn support(&self) -> f64 {
        share(self.leader, self.weight)
    }

    /// By how much the leader is ahead, as a share of the weight of all who voted.
    #[must_use]
    pub fn margin(&self) -> f64 {
        share(self.leader - self.runner_up, self.weight)
    }

    /// Weight of those who voted as a share of all.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        share(self.weight, self.all)
    }

    /// Pairs of voters who agree as a share of all pairs; 1 with fewer than two.
    #[must_use]
    pub fn agreement(&self) -> f64 {
        if self.pairs == 0 { 1.0 } else { share(self.agreeing, self.pairs) }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A label with its voters.
#[derive(Clone, Copy, Debug)]
struct Score {
    label: u64,
    weight: u64,
    voters: u64,
    /// Weight of its heaviest voter, and that one's place.
    heaviest: (u32, usize),
}

/// What came of a vote in which all have said something; an outstanding ballot counts as an abstention.
///
/// Ballots are in the order of the weights; those that have no weight, and weights that have no ballot, are not counted.
#[must_use]
pub fn outcome(rules: &Rules, ballots: &[Ballot]) -> (Outcome, Tally) {
    let (scores, tally) = count(rules, ballots);
    (judge(rules, &scores, &tally), tally)
}

/// The outcome, if no ballot that is outstanding can change it any more, whatever it says.
#[must_use]
pub fn decided(rules: &Rules, ballots: &[Ballot]) -> Option<Outcome> {
    let outstanding =
        || ballots.iter().zip(&rules.weights).filter(|(ballot, _)| **ballot == Ballot::Outstanding);
    let open: u64 = outstanding().map(|(_, &weight)| u64::from(weight)).sum();
    let voters = outstanding().count() as u64;
    let (scores, tally) = count(rules, ballots);
    if voters == 0 {
        return Some(judge(rules, &scores, &tally));
    }
    let best = Tally {
        answered: tally.answered.saturating_add(voters as u32),
        weight: tally.weight + open,
        ..tally
    };
    if !has_quorum(rules, &best) {
        return Some(Outcome::NoQuorum);
    }
    // All that is open may go to the runner-up, to somebody new, or to nobody.
    let leads = tally.leader > tally.runner_up + open;
    let supported = exceeds(tally.leader, rules.support, tally.weight + open);
    match scores.first() {
        Some(first) if has_quorum(rules, &tally) && leads && supported => Some(Outcome::Winner(first.label)),
        _ => None,
    }
}

/// Labels with their scores, the leader first.
fn count(rules: &Rules, ballots: &[Ballot]) -> (Vec<Score>, Tally) {
    let mut scores: Vec<Score> = Vec::new();
    let mut tally =
        Tally { all: rules.weights.iter().map(|&weight| u64::from(weight)).sum(), ..Tally::default() };
    for (place, (ballot, &weight)) in ballots.iter().zip(&rules.weights).enumerate() {
        let &Ballot::Vote(label) = ballot else { continue };
        tally.answered += 1;
        tally.weight += u64::from(weight);
        match scores.iter_mut().find(|score| score.label == label) {
            Some(score) => {
                score.weight += u64::from(weight);
                score.voters += 1;
                // The first of equals stays.
                if weight > score.heaviest.0 {
                    score.heaviest = (weight, place);
                }
            }
            None => scores.push(Score { label, weight: weight.into(), voters: 1, heaviest: (weight, place) }),
        }
    }
    // By weight, then by the rule of ties; places differ, so that no two are equal.
    let rank = |score: &Score| (score.weight, score.heaviest.0, std::cmp::Reverse(score.heaviest.1));
    scores.sort_by_key(|score| std::cmp::Reverse(rank(score)));
    tally.leader = scores.first().map_or(0, |score| score.weight);
    tally.runner_up = scores.get(1).map_or(0, |score| score.weight);
    tally.agreeing = scores.iter().map(|score| pairs(score.voters)).sum();
    tally.pairs = pairs(tally.answered.into());
    (scores, tally)
}

fn judge(rules: &Rules, scores: &[Score], tally: &Tally) -> Outcome {
    let Some(first) = scores.first().filter(|_| has_quorum(rules, tally)) else { return Outcome::NoQuorum };
    if rules.tie == Tie::Tie && scores.len() > 1 && tally.leader == tally.runner_up {
        return Outcome::Tie;
    }
    if !exceeds(tally.leader, rules.support, tally.weight) {
        return Outcome::NoConsensus;
    }
    Outcome::Winner(first.label)
}

/// Whether enough voted: by number, and by weight.
fn has_quorum(rules: &Rules, tally: &Tally) -> bool {
    let enough = u128::from(tally.weight) * MILLION >= u128::from(rules.coverage) * u128::from(tally.all);
    tally.answered >= rules.min_experts.max(1) && enough
}

/// Whether a part is more than so many millionths of a whole.
fn exceeds(part: u64, millionths: u32, whole: u64) -> bool {
    u128::from(part) * MILLION > u128::from(millionths) * u128::from(whole)
}

const MILLION: u128 = 1_000_000;

const fn pairs(voters: u64) -> u64 {
    voters * voters.saturating_sub(1) / 2
}

#[cfg(test)]
mod tests;
