//! The workers that have part in a run, how its load is divided among them, and those that were lost.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::event::{Life, LoadShare};
use protocol::id::{IncarnationId, WorkerId};
use protocol::v1;
use tokio::time::Instant;

use crate::division::{Strength, segments, weights};
use crate::workers::Worker;

/// A worker that is prepared for the run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) id: WorkerId,
    /// What it is good for, against the others.
    pub(crate) strength: Strength,
    /// The life in which it was prepared: its samples are recorded under it.
    pub(crate) incarnation: Vec<u8>,
    /// Since when it has part in the run.
    pub(crate) admitted: Instant,
}

impl Member {
    /// A worker that was prepared just now.
    pub(crate) fn new(worker: &Worker, reply: &v1::PrepareRunReply) -> Self {
        Self {
            id: worker.id,
            strength: worker.strength(reply),
            incarnation: reply.incarnation.clone(),
            admitted: Instant::now(),
        }
    }
}

impl Member {
    /// As the history names it.
    pub(crate) fn life(&self) -> Option<Life> {
        let incarnation = IncarnationId::from_bytes(&self.incarnation).ok()?.to_string();
        let Strength { load_threads, weight, thread_speed } = self.strength;
        Some(Life { incarnation, load_threads, weight, thread_speed })
    }
}

/// A life of a worker that was lost in a phase. What it had recorded comes from its spool, when it does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LostLife {
    pub(crate) member: Member,
    pub(crate) phase: u32,
    /// It ended when it was told to, and gave its part to others before: nothing of the load is missing.
    pub(crate) left: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    members: BTreeMap<WorkerId, Member>,
    lost: Vec<LostLife>,
    /// The latest number that was given out, and that of the latest division.
    epoch: u32,
    division: u32,
    /// The shares that the history tells of.
    told: Vec<LoadShare>,
}

/// How the load is divided.
pub(crate) struct Division {
    /// Its number.
    pub(crate) epoch: u32,
    /// Each worker's arrivals.
    pub(crate) parts: Vec<(WorkerId, v1::Segment)>,
    /// The same for the history.
    pub(crate) shares: Vec<LoadShare>,
}

impl Fleet {
    /// Takes a worker in. A life of it that was lost and is this one is lost no more.
    pub(crate) fn admit(&mut self, member: Member) {
        self.lost.retain(|life| life.member.id != member.id || life.member.incarnation != member.incarnation);
        self.members.insert(member.id, member);
    }

    /// Takes a worker out that was lost in `phase`, or between phases.
    pub(crate) fn lose(&mut self, id: WorkerId, phase: Option<u32>) -> Option<Member> {
        let member = self.members.remove(&id)?;
        self.lost.extend(phase.map(|phase| LostLife { member: member.clone(), phase, left: false }));
        Some(member)
    }

    /// Takes a worker out that has given up its part.
    pub(crate) fn leave(&mut self, id: WorkerId, phase: u32) -> Option<Member> {
        let member = self.members.remove(&id)?;
        self.lost.push(LostLife { member: member.clone(), phase, left: true });
        Some(member)
    }

    /// Whether a worker was lost in a phase, so that some of its load may be missing.
    pub(crate) fn is_broken_in(&self, phase: u32) -> bool {
        self.lost.iter().any(|life| life.phase == phase && !life.left)
    }

    /// Whether this very life of a worker has part in the run.
    pub(crate) fn is_life(&self, id: WorkerId, incarnation: &[u8]) -> bool {
        self.members.get(&id).is_some_and(|member| member.incarnation == incarnation)
    }

    /// Whether there are members, and something holds for the life of each.
    pub(crate) fn all_lives(&self, holds: impl Fn(WorkerId, &[u8]) -> bool) -> bool {
        !self.is_empty() && self.members.values().all(|member| holds(member.id, &member.incarnation))
    }

    /// The life of a worker that has part in the run, as the history names it.
    pub(crate) fn life(&self, id: WorkerId) -> Option<Life> {
        self.members.get(&id)?.life()
    }

    /// Takes all out; the numbers go on.
    pub(crate) fn dismiss(&mut self) {
        self.members.clear();
    }

    /// Numbers from here on are higher than this one.
    pub(crate) fn begin_epochs(&mut self, after: u32) {
        self.epoch = self.epoch.max(after);
    }

    /// The ids of all, in order.
    pub(crate) fn ids(&self) -> Vec<WorkerId> {
        self.members.keys().copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn contains(&self, id: WorkerId) -> bool {
        self.members.contains_key(&id)
    }

    /// Whether heartbeats are another life's than the one that was prepared. Those that arrived within `stale` of its
    /// admission may have been sent before.
    pub(crate) fn restarted(&self, worker: &Worker, run: &[u8], stale: Duration) -> bool {
        self.members.get(&worker.id).is_some_and(|member| {
            let told = worker.heard > member.admitted + stale;
            told && (worker.beat.run != run || worker.beat.incarnation != member.incarnation)
        })
    }

    /// Load threads of all together.
    pub(crate) fn load_threads(&self) -> u32 {
        self.members.values().map(|member| member.strength.load_threads).sum()
    }

    /// The lives that were lost in a phase.
    pub(crate) fn lost_in(&self, phase: u32) -> impl Iterator<Item = &Member> {
        self.lost.iter().filter(move |life| life.phase == phase).map(|life| &life.member)
    }

    /// A lost life of a worker, if this is one.
    pub(crate) fn lost_life(&self, id: WorkerId, incarnation: &[u8]) -> Option<&Member> {
        let life = self.lost.iter().find(|l| l.member.id == id && l.member.incarnation == incarnation);
        life.map(|life| &life.member)
    }

    /// The present division's number; 0 = none was made.
    pub(crate) const fn division(&self) -> u32 {
        self.division
    }

    /// A number for what one worker is told beside the divisions; the next of them counts on from it.
    pub(crate) const fn next_epoch(&mut self) -> u32 {
        self.epoch += 1;
        self.epoch
    }

    /// Divides the load anew.
    pub(crate) fn divide(&mut self) -> Division {
        self.division = self.next_epoch();
        let strengths: Vec<Strength> = self.members.values().map(|member| member.strength).collect();
        let weights = weights(&strengths);
        let parts: Vec<_> = self.ids().into_iter().zip(segments(&weights)).collect();
        let share = |((id, segment), weight): (&(WorkerId, v1::Segment), &u32)| LoadShare {
            worker: id.to_string(),
            weight: f64::from(*weight) / 100.0,
            stripes: u32::try_from(segment.stripes.len()).unwrap_or(u32::MAX),
            of: segment.stripe_count,
        };
        let shares = parts.iter().zip(&weights).map(share).collect();
        Division { epoch: self.division, parts, shares }
    }

    /// Whether the history does not tell of these shares yet; from now on it does.
    pub(crate) fn is_news(&mut self, shares: &[LoadShare]) -> bool {
        let news = self.told != shares;
        self.told = shares.to_vec();
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(life: u8) -> Member {
        let strength = Strength { load_threads: 2, ..Strength::default() };
        Member { id: WorkerId::new(), strength, incarnation: vec![life], admitted: Instant::now() }
    }

    #[test]
    fn each_division_has_a_number_and_an_owner_for_every_stripe() {
        let mut fleet = Fleet::default();
        let members = [member(1), member(1), member(1)];
        members.iter().cloned().for_each(|member| fleet.admit(member));
        let owned = |fleet: &mut Fleet| {
            let Division { epoch, parts: division, shares } = fleet.divide();
            assert_eq!(shares.iter().map(|share| share.stripes).sum::<u32>(), shares[0].of);
            let mut stripes: Vec<u32> = division.iter().flat_map(|(_, part)| part.stripes.clone()).collect();
            stripes.sort_unstable();
            let count = division[0].1.stripe_count;
            assert!(division.iter().all(|(_, part)| part.stripe_count == count));
            (epoch, stripes == (0..count).collect::<Vec<_>>())
        };
        assert_eq!(owned(&mut fleet), (1, true));
        fleet.lose(members[1].id, Some(3));
        assert_eq!(owned(&mut fleet), (2, true));
    }

    #[test]
    fn shares_follow_weights_and_are_news_once() {
        let mut fleet = Fleet::default();
        let weighed = |weight| Strength { weight: Some(weight), ..Strength::default() };
        let members =
            [Member { strength: weighed(1.0), ..member(1) }, Member { strength: weighed(3.0), ..member(1) }];
        members.iter().cloned().for_each(|member| fleet.admit(member));
        let shares = fleet.divide().shares;
        let share = |of: &Member| shares.iter().find(|share| share.worker == of.id.to_string()).unwrap();
        let seen = members.each_ref().map(|of| (share(of).weight, share(of).stripes, share(of).of));
        assert_eq!(seen, [(1.0, 1, 4), (3.0, 3, 4)]);
        let again = fleet.divide().shares;
        assert!(fleet.is_news(&shares) && !fleet.is_news(&again));
        fleet.lose(members[0].id, None);
        let left = fleet.divide().shares;
        assert!(fleet.is_news(&left));
        assert_eq!((left[0].weight, left[0].stripes, left[0].of), (3.0, 1, 1));
    }

    #[test]
    fn who_left_has_broken_nothing_and_is_still_asked_for_his_samples() {
        let mut fleet = Fleet::default();
        let (one, other) = (member(1), member(1));
        [&one, &other].into_iter().for_each(|member| fleet.admit(member.clone()));
        let division = fleet.divide().epoch;
        assert_eq!(fleet.next_epoch(), division + 1);
        assert_eq!(fleet.division(), division, "what one worker is told beside is no division");
        fleet.leave(one.id, 2);
        assert_eq!((fleet.is_broken_in(2), fleet.lost_in(2).count(), fleet.len()), (false, 1, 1));
        fleet.lose(other.id, Some(2));
        assert!(fleet.is_broken_in(2) && !fleet.is_broken_in(1));
    }

    #[test]
    fn a_lost_life_that_comes_back_is_lost_no_more_and_another_one_is_no_substitute() {
        let mut fleet = Fleet::default();
        let first = member(1);
        fleet.admit(first.clone());
        fleet.lose(first.id, Some(0));
        assert_eq!(fleet.lost_in(0).collect::<Vec<_>>(), [&first]);
        let mut second = first.clone();
        second.incarnation = vec![2];
        fleet.admit(second);
        assert_eq!((fleet.lost_in(0).count(), fleet.lost_in(1).count()), (1, 0));
        assert!(fleet.lost_life(first.id, &[1]).is_some() && fleet.lost_life(first.id, &[2]).is_none());
        fleet.admit(first);
        assert_eq!(fleet.lost_in(0).count(), 0);
    }
}
