use proptest::prelude::*;

use super::*;

fn rules(weights: &[u32]) -> Rules {
    let min_experts = (weights.len() as u32).div_ceil(2);
    Rules { weights: weights.to_vec(), min_experts, coverage: 500_000, support: 500_000, tie: Tie::Tie }
}

fn votes(labels: &[u64]) -> Vec<Ballot> {
    // 0 = abstains.
    labels.iter().map(|&label| if label == 0 { Ballot::Abstained } else { Ballot::Vote(label) }).collect()
}

#[test]
fn the_majority_wins() {
    let (found, tally) = outcome(&rules(&[1000; 5]), &votes(&[1, 2, 1, 1, 0]));
    assert_eq!(found, Outcome::Winner(1));
    assert_eq!((tally.answered, tally.leader, tally.runner_up), (4, 3000, 1000));
    let shares = (tally.support(), tally.margin(), tally.coverage(), tally.agreement());
    assert_eq!(shares, (0.75, 0.5, 0.8, 0.5));
}

#[test]
fn weights_count_and_not_heads() {
    assert_eq!(outcome(&rules(&[3000, 1000, 1000]), &votes(&[1, 2, 2])).0, Outcome::Winner(1));
}

#[test]
fn without_quorum_nobody_wins() {
    // Too few heads, then too little weight.
    assert_eq!(outcome(&rules(&[1000; 5]), &votes(&[1, 1, 0, 0, 0])).0, Outcome::NoQuorum);
    assert_eq!(outcome(&rules(&[5000, 1000, 1000]), &votes(&[0, 1, 1])).0, Outcome::NoQuorum);
    assert_eq!(outcome(&rules(&[1000]), &votes(&[0])).0, Outcome::NoQuorum);
    // Half is enough, by heads and by weight.
    assert_eq!(outcome(&rules(&[1000; 4]), &votes(&[1, 1, 0, 0])).0, Outcome::Winner(1));
}

#[test]
fn equal_scores_are_a_tie_unless_the_rule_says_otherwise() {
    let mut rules = rules(&[1000, 2000, 1500, 1500]);
    let ballots = votes(&[7, 7, 8, 8]);
    assert_eq!(outcome(&rules, &ballots).0, Outcome::Tie);
    rules.tie = Tie::Heaviest;
    // A winner still needs support, which half is not.
    assert_eq!(outcome(&rules, &ballots).0, Outcome::NoConsensus);
    rules.support = 400_000;
    assert_eq!(outcome(&rules, &ballots).0, Outcome::Winner(7));
    rules.weights = vec![1000; 4];
    assert_eq!(outcome(&rules, &votes(&[9, 8, 8, 9])).0, Outcome::Winner(9), "the first expert's");
}

#[test]
fn a_plurality_without_support_is_no_consensus() {
    assert_eq!(outcome(&rules(&[1000; 5]), &votes(&[1, 1, 2, 3, 4])).0, Outcome::NoConsensus);
}

#[test]
fn what_cannot_change_any_more_is_decided() {
    let rules = rules(&[1000; 5]);
    let mut ballots = vec![Ballot::Outstanding; 5];
    assert_eq!(decided(&rules, &ballots), None);
    ballots[..2].copy_from_slice(&votes(&[1, 1]));
    assert_eq!(decided(&rules, &ballots), None);
    ballots[2] = Ballot::Vote(1);
    assert_eq!(decided(&rules, &ballots), Some(Outcome::Winner(1)));
    ballots[..3].copy_from_slice(&votes(&[0, 0, 0]));
    assert_eq!(
        decided(&rules, &ballots),
        Some(Outcome::NoQuorum),
        "two of five are too few, whatever they say"
    );
}

fn ballot() -> impl Strategy<Value = Ballot> {
    prop_oneof![1 => Just(Ballot::Abstained), 4 => (1_u64..4).prop_map(Ballot::Vote)]
}

fn circle() -> impl Strategy<Value = (Rules, Vec<Ballot>)> {
    (1_usize..9).prop_flat_map(|experts| {
        let weights = prop::collection::vec(0_u32..3_000, experts);
        let tie = prop_oneof![Just(Tie::Tie), Just(Tie::Heaviest)];
        let shares = (0_u32..=1_000_000, 0_u32..=1_000_000);
        let rules = (weights, 1..=experts as u32, shares, tie).prop_map(
            |(weights, min_experts, (coverage, support), tie)| Rules {
                weights,
                min_experts,
                coverage,
                support,
                tie,
            },
        );
        (rules, prop::collection::vec(ballot(), experts))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Ballots come in any order; whenever a vote is called decided, the rest changes nothing.
    #[test]
    fn any_order_of_arrival_gives_the_same_outcome(
        (rules, ballots) in circle(),
        order in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let (last, _) = outcome(&rules, &ballots);
        let mut places: Vec<usize> = (0..ballots.len()).collect();
        // A permutation of the seed's.
        for at in (1..places.len()).rev() {
            places.swap(at, (seed.rotate_left(at as u32 * 7) % (at as u64 + 1)) as usize);
        }
        let turn = order.index(places.len());
        places.rotate_left(turn);
        let mut known = vec![Ballot::Outstanding; ballots.len()];
        let mut early = None;
        for place in places {
            known[place] = ballots[place];
            early = early.or_else(|| decided(&rules, &known));
            if let Some(early) = early {
                prop_assert_eq!(early, last);
            }
        }
        prop_assert_eq!(early, Some(last), "when all have spoken it is decided");
    }

    #[test]
    fn nobody_wins_without_quorum((rules, ballots) in circle()) {
        let (found, tally) = outcome(&rules, &ballots);
        let quorum = tally.answered >= rules.min_experts
            && u128::from(tally.weight) * 1_000_000 >= u128::from(rules.coverage) * u128::from(tally.all);
        prop_assert_eq!(found == Outcome::NoQuorum, !quorum);
    }

    #[test]
    fn a_tie_is_one_for_every_name_of_its_labels((rules, ballots) in circle(), shift in 1_u64..1_000) {
        // Labels are only compared: other names for the same votes give the same outcome under its other name.
        let renamed: Vec<_> = ballots
            .iter()
            .map(|ballot| match ballot {
                Ballot::Vote(label) => Ballot::Vote(u64::MAX - label * shift),
                other => *other,
            })
            .collect();
        let expected = match outcome(&rules, &ballots).0 {
            Outcome::Winner(label) => Outcome::Winner(u64::MAX - label * shift),
            other => other,
        };
        prop_assert_eq!(outcome(&rules, &renamed).0, expected);
    }

    #[test]
    fn ties_are_broken_as_the_rule_says((rules, ballots) in circle()) {
        // Counted anew, label by label.
        let voters = |label: u64| {
            let of = |at: &usize| ballots[*at] == Ballot::Vote(label);
            (0..ballots.len()).filter(of).collect::<Vec<_>>()
        };
        let score = |label: u64| voters(label).iter().map(|&at| u64::from(rules.weights[at])).sum::<u64>();
        let labels: Vec<u64> = (1..4).filter(|&label| !voters(label).is_empty()).collect();
        let top = labels.iter().map(|&label| score(label)).max();
        let leaders: Vec<u64> = labels.into_iter().filter(|&label| Some(score(label)) == top).collect();
        let (found, tally) = outcome(&rules, &ballots);
        if leaders.len() < 2 || found == Outcome::NoQuorum {
            return Ok(());
        }
        // The heaviest voter of a leader; of equals the first.
        let first = leaders.iter().flat_map(|&label| voters(label).into_iter().map(move |at| (at, label)));
        let first = first.max_by_key(|&(at, _)| (rules.weights[at], std::cmp::Reverse(at)));
        let supported = tally.leader * 1_000_000 > u64::from(rules.support) * tally.weight;
        let expected = match (rules.tie, first) {
            (Tie::Tie, _) => Outcome::Tie,
            (Tie::Heaviest, Some((_, label))) if supported => Outcome::Winner(label),
            (Tie::Heaviest, _) => Outcome::NoConsensus,
        };
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn shares_are_shares((rules, ballots) in circle()) {
        let (_, tally) = outcome(&rules, &ballots);
        for share in [tally.support(), tally.margin(), tally.coverage(), tally.agreement()] {
            prop_assert!((0.0..=1.0).contains(&share), "{:?}", tally);
        }
    }
}
