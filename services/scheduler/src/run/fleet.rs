//! The workers that have part in a run, how its load is divided among them, and those that were lost.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::event::Life;
use protocol::id::{IncarnationId, WorkerId};
use protocol::v1;
use tokio::time::Instant;

use crate::workers::{Worker, segments};

/// A worker that is prepared for the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: WorkerId,
    /// What it is good for, against the others.
    pub(crate) load_threads: u32,
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
            load_threads: reply.load_threads,
            incarnation: reply.incarnation.clone(),
            admitted: Instant::now(),
        }
    }
}

impl Member {
    /// As the history names it.
    pub(crate) fn life(&self) -> Option<Life> {
        let incarnation = IncarnationId::from_bytes(&self.incarnation).ok()?.to_string();
        Some(Life { incarnation, load_threads: self.load_threads })
    }
}

/// A life of a worker that was lost in a phase. What it had recorded comes from its spool, when it does.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        self.members.values().map(|member| member.load_threads).sum()
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

    /// Divides the load anew: each worker's segment, and the number of this division.
    pub(crate) fn divide(&mut self) -> (u32, Vec<(WorkerId, v1::Segment)>) {
        self.division = self.next_epoch();
        let threads: Vec<u32> = self.members.values().map(|member| member.load_threads).collect();
        (self.division, self.ids().into_iter().zip(segments(&threads)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(life: u8) -> Member {
        Member { id: WorkerId::new(), load_threads: 2, incarnation: vec![life], admitted: Instant::now() }
    }

    #[test]
    fn each_division_has_a_number_and_an_owner_for_every_stripe() {
        let mut fleet = Fleet::default();
        let members = [member(1), member(1), member(1)];
        members.iter().cloned().for_each(|member| fleet.admit(member));
        let owned = |fleet: &mut Fleet| {
            let (epoch, division) = fleet.divide();
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
    fn who_left_has_broken_nothing_and_is_still_asked_for_his_samples() {
        let mut fleet = Fleet::default();
        let (one, other) = (member(1), member(1));
        [&one, &other].into_iter().for_each(|member| fleet.admit(member.clone()));
        let (division, _) = fleet.divide();
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
