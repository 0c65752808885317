//! Objects in copies on several servers: how they are written, read and listed.
//!
//! With `n` copies (three by default), a key has `n` homes. What is acknowledged
//! * is on `n` servers, all of them different, and
//! * on a majority of the key's homes: for one that is away, the next server in the key's order stands in.
//!
//! So any `n - 1` of an object's holders may die and one is left. A read asks the homes; a majority of them that answers has met
//! every acknowledged write. With fewer it asks everyone, and only if `n` or more are silent, all holders may be among
//! those: then it says that it cannot know, rather than what may be old.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::join_all;
use uuid::Uuid;

use crate::cluster::{Cluster, View};
use crate::members::Member;
use crate::peer::{Answer, Ask, Silent};
use crate::records::{Kept, Listed, Record, Version};

/// How often a write tries to be newer than what others write at the same time.
const ATTEMPTS: usize = 16;

/// Why an object was not written or read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{there} of {wanted} copies are possible now: {why}")]
    TooFewCopies { there: usize, wanted: usize, why: String },
    #[error("{silent} servers do not answer, and all {copies} copies may be on them")]
    Unknown { silent: usize, copies: usize },
    #[error("the object is written by too many at once")]
    Contended,
}

/// An acknowledged write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) number: u64,
    pub(crate) holders: Vec<String>,
}

enum Tried {
    Newer(u64),
    Refused(Refused),
}

/// A majority of so many.
fn majority(count: usize) -> usize {
    count / 2 + 1
}

impl Cluster {
    /// Writes an object, or that there is none any more, and returns when it may be acknowledged.
    pub(crate) async fn write(&self, key: &str, content: Option<Arc<str>>) -> Result<Written, Refused> {
        let view = self.view();
        let mut number = self.records.get(key).map_or(0, |record| record.version.number) + 1;
        for _ in 0..ATTEMPTS {
            let version = Version { number, write: Uuid::now_v7() };
            let record = Record { version, content: content.clone() };
            match self.try_write(&view, key, &record).await {
                Ok(holders) => {
                    self.ledger().add(key, &record);
                    return Ok(Written { number, holders });
                }
                Err(Tried::Newer(newer)) => number = newer + 1,
                Err(Tried::Refused(refused)) => {
                    self.counters.refused_writes.fetch_add(1, Ordering::Relaxed);
                    return Err(refused);
                }
            }
        }
        self.counters.refused_writes.fetch_add(1, Ordering::Relaxed);
        Err(Refused::Contended)
    }

    async fn try_write(&self, view: &View, key: &str, record: &Record) -> Result<Vec<String>, Tried> {
        let wanted = view.members.replication;
        let order = view.members.order(key);
        let (homes, others) = order.split_at(wanted);
        let mut asked: Vec<&Member> = homes.iter().copied().filter(|home| !self.doubts(home)).collect();
        if asked.len() < majority(wanted) {
            asked = homes.to_vec();
        }
        let (mut holders, mut why) = (Vec::new(), String::new());
        let mut take = |member: &Member, answer: Result<Answer, Silent>| {
            match answer {
                Ok(Answer::Kept(kept)) => match kept.first() {
                    Some(Kept::There) => holders.push(member.name.clone()),
                    Some(Kept::Newer(number)) => return Err(Tried::Newer(*number)),
                    _ => why = format!("{} is full", member.name),
                },
                Ok(_) => why = format!("{} says something else", member.name),
                Err(silent) => why = silent.to_string(),
            }
            Ok(holders.len())
        };
        let write = |member| self.ask(view, member, Ask::Write { key: key.into(), record: record.clone() });
        let answers = join_all(asked.iter().map(|home| write(home))).await;
        let mut there = 0;
        let mut newer = None;
        for (home, answer) in asked.iter().zip(answers) {
            match take(home, answer) {
                Ok(count) => there = count,
                Err(Tried::Newer(number)) => newer = newer.max(Some(number)),
                Err(refused) => return Err(refused),
            }
        }
        if let Some(number) = newer {
            return Err(Tried::Newer(number));
        }
        if there >= majority(wanted) {
            // Those that answered last time come first, in the key's order.
            let (sound, doubted): (Vec<&Member>, Vec<&Member>) =
                others.iter().copied().partition(|other| !self.doubts(other));
            for stand_in in sound.into_iter().chain(doubted) {
                if there == wanted {
                    break;
                }
                there = take(stand_in, write(stand_in).await)?;
                self.counters.stand_ins.fetch_add(1, Ordering::Relaxed);
            }
        }
        if there == wanted {
            return Ok(holders);
        }
        Err(Tried::Refused(Refused::TooFewCopies { there, wanted, why }))
    }

    /// The newest state of an object that any acknowledged write can have left; absent = none was ever written.
    pub(crate) async fn read(&self, key: &str) -> Result<Option<Record>, Refused> {
        let view = self.view();
        let copies = view.members.replication;
        let order = view.members.order(key);
        let (homes, others) = order.split_at(copies);
        let read = |member: &Member| {
            let (view, member) = (&view, member.clone());
            async move { self.ask(view, &member, Ask::Read { key: key.into() }).await }
        };
        let sound: Vec<&Member> = homes.iter().copied().filter(|home| !self.doubts(home)).collect();
        let asked = if sound.len() < majority(copies) { homes.to_vec() } else { sound };
        let mut answers = Vec::new();
        for (home, answer) in asked.iter().zip(join_all(asked.iter().map(|home| read(home))).await) {
            if let Ok(Answer::Record(record)) = answer {
                answers.push((*home, record));
            }
        }
        let homes_there = answers.len();
        let mut newest = answers.iter().filter_map(|(_, record)| record.clone()).max_by_key(|r| r.version);
        if homes_there < majority(copies) {
            let mut silent = copies - homes_there;
            for answer in join_all(others.iter().map(|other| read(other))).await {
                match answer {
                    Ok(Answer::Record(record)) => {
                        newest = newest.into_iter().chain(record).max_by_key(|record| record.version);
                    }
                    _ => silent += 1,
                }
            }
            if silent >= copies {
                self.counters.refused_reads.fetch_add(1, Ordering::Relaxed);
                return Err(Refused::Unknown { silent, copies });
            }
        }
        if let Some(newest) = &newest {
            self.repair_read(&view, key, newest, &answers).await;
        }
        Ok(newest)
    }

    /// Homes that have less get the newest before a client hears of it, or the next read might not find it.
    async fn repair_read(
        &self,
        view: &View,
        key: &str,
        newest: &Record,
        answers: &[(&Member, Option<Record>)],
    ) {
        let older = |found: &Option<Record>| found.as_ref().is_none_or(|f| f.version < newest.version);
        for (home, _) in answers.iter().filter(|(_, found)| older(found)) {
            let records = vec![(Arc::from(key), newest.clone())];
            if let Ok(Answer::Kept(_)) = self.ask(view, home, Ask::Keep { records }).await {
                self.counters.repaired.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The keys of the objects that begin so, `limit` at most, and where to go on; absent = these are all.
    pub(crate) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<String>, Option<String>), Refused> {
        let view = self.view();
        let list = |member: &Member| {
            let ask = Ask::List { prefix: prefix.into(), after: after.map(Into::into), limit };
            let (view, member) = (&view, member.clone());
            async move { self.ask(view, &member, ask).await }
        };
        let (mut silent, mut lists) = (0, Vec::new());
        for answer in join_all(view.members.servers.iter().map(list)).await {
            match answer {
                Ok(Answer::Listed(listed)) => lists.push(listed),
                _ => silent += 1,
            }
        }
        let copies = view.members.replication;
        if silent >= copies {
            self.counters.refused_reads.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::Unknown { silent, copies });
        }
        Ok(merged(lists, limit))
    }
}

/// What several servers list together.
fn merged(lists: Vec<Vec<Listed>>, limit: usize) -> (Vec<String>, Option<String>) {
    // Who gave as many as were asked for may have more behind its last: nothing behind that is known of it.
    let full = lists.iter().filter(|list| list.len() >= limit).filter_map(|list| list.last());
    let horizon = full.map(|last| last.key.clone()).min();
    let mut newest: BTreeMap<String, (Version, bool)> = BTreeMap::new();
    for listed in lists.into_iter().flatten() {
        if horizon.as_ref().is_some_and(|horizon| listed.key > *horizon) {
            continue;
        }
        let state = (listed.version, listed.deleted);
        let known = newest.entry(listed.key).or_insert(state);
        *known = (*known).max(state);
    }
    let mut next = horizon;
    if newest.len() > limit {
        next = newest.keys().nth(limit - 1).cloned();
    }
    let known = newest.into_iter().take(limit);
    (known.filter(|(_, (_, deleted))| !deleted).map(|(key, _)| key).collect(), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(key: &str, number: u64, deleted: bool) -> Listed {
        Listed { key: key.into(), version: Version { number, write: Uuid::nil() }, deleted }
    }

    #[test]
    fn lists_merge_by_the_newest_and_end_where_one_ends() {
        let one = vec![listed("a", 1, false), listed("b", 2, true)];
        let other = vec![listed("b", 1, false), listed("d", 1, false)];
        // Both may have more: nothing is known behind `b`.
        assert_eq!(merged(vec![one.clone(), other.clone()], 2), (vec!["a".into()], Some("b".into())));
        assert_eq!(merged(vec![one, other], 3), (vec!["a".into(), "d".into()], None));
        assert_eq!(merged(vec![Vec::new()], 3), (Vec::new(), None));
    }

    #[test]
    fn a_page_of_many_lists_is_cut_and_goes_on_behind() {
        let lists = ["a", "b", "c"].map(|key| vec![listed(key, 1, false)]).to_vec();
        assert_eq!(merged(lists, 2), (vec!["a".into(), "b".into()], Some("b".into())));
    }
}
