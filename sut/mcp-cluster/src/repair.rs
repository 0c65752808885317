//! Copies that are missing are made again: what a server gets back when it starts, and what it brings to others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::cluster::{Cluster, View};
use crate::members::Member;
use crate::peer::{Answer, Ask, Compared, Known, MESSAGE};
use crate::records::{Kept, Record};

/// Records that are looked at in one round.
const PAGE: usize = 1_000;
/// The wait between two rounds while this server recovers.
const RECOVERING: Duration = Duration::from_millis(50);

impl Cluster {
    /// Recovers, and looks after copies from then on, until it is dropped.
    pub(crate) async fn maintain(&self, every: Duration) {
        let mut after = None;
        loop {
            let view = self.view();
            if !view.recovered.load(Ordering::Acquire) {
                self.recover(&view).await;
            }
            let recovered = view.recovered.load(Ordering::Acquire);
            if recovered {
                self.ask_doubted(&view).await;
                after = self.bring(&view, after).await;
            }
            tokio::time::sleep(if recovered { every } else { RECOVERING.min(every) }).await;
        }
    }

    /// Gets from all others what is at home here. With `n` copies of each object, and those of this server gone, one of the
    /// others has it as long as fewer than `n - 1` of them are silent. Others that recover, too, have lost theirs and count as
    /// silent, but when everyone answers, there is no more to be had: so a new cluster begins.
    async fn recover(&self, view: &View) {
        let others: Vec<&Member> = view.members.servers.iter().filter(|m| m.name != self.me).collect();
        let (mut silent, mut recovering) = (0, 0);
        for member in &others {
            match self.fetch(view, member).await {
                Some(true) => recovering += 1,
                Some(false) => {}
                None => silent += 1,
            }
        }
        if silent == 0 || silent + recovering <= view.members.replication.saturating_sub(2) {
            view.recovered.store(true, Ordering::Release);
        }
    }

    /// Gets one server's copies; whether it is recovering itself, or nothing if it did not give all.
    async fn fetch(&self, view: &View, member: &Member) -> Option<bool> {
        let (mut after, mut was_recovering) = (None, false);
        loop {
            let ask = Ask::Records { home: self.me.clone(), after };
            let Ok(Answer::Records { records, next, recovering }) = self.ask(view, member, ask).await else {
                return None;
            };
            was_recovering |= recovering;
            for (key, record) in records {
                if self.records.put(&key, record) == Kept::Full {
                    return None;
                }
            }
            if next.is_none() {
                return Some(was_recovering);
            }
            after = next;
        }
    }

    async fn ask_doubted(&self, view: &View) {
        let doubted: Vec<&Member> = view.members.servers.iter().filter(|m| self.doubts(m)).collect();
        let ask = |member| self.ask(view, member, Ask::Compare { known: Vec::new() });
        // Whoever answers is doubted no longer.
        futures::future::join_all(doubted.into_iter().map(ask)).await;
    }

    /// Brings a page of what is here to the homes that lack it, and forgets what is here only in place of others when all its
    /// homes have it. Returns where to go on.
    async fn bring(&self, view: &View, after: Option<Arc<str>>) -> Option<Arc<str>> {
        let page = self.records.page(after.as_deref(), PAGE);
        let mut wanted: BTreeMap<&str, (&Member, Vec<usize>)> = BTreeMap::new();
        for (n, (key, _)) in page.iter().enumerate() {
            for home in view.members.homes(key) {
                wanted.entry(&home.name).or_insert_with(|| (home, Vec::new())).1.push(n);
            }
        }
        // How many homes have each.
        let mut have = vec![0; page.len()];
        for (name, (home, numbers)) in wanted {
            if name == self.me {
                numbers.iter().for_each(|n| have[*n] = usize::MAX);
            } else if !self.doubts(home) {
                for n in self.bring_to(view, home, &page, &numbers).await {
                    have[n] = have[n].saturating_add(1);
                }
            }
        }
        for ((key, record), have) in page.iter().zip(have) {
            // At home here it stays.
            if have == view.members.replication {
                self.records.drop_copy(key, &record.version);
            }
        }
        (page.len() == PAGE).then(|| page.last().map(|(key, _)| Arc::clone(key))).flatten()
    }

    /// Brings a home what it lacks, and says what it has then.
    async fn bring_to(
        &self,
        view: &View,
        home: &Member,
        page: &[(Arc<str>, Record)],
        numbers: &[usize],
    ) -> Vec<usize> {
        let known =
            |n: &usize| Known { key: Arc::clone(&page[*n].0), version: page[*n].1.version, checksum: None };
        let ask = Ask::Compare { known: numbers.iter().map(known).collect() };
        let Ok(Answer::Compared(compared)) = self.ask(view, home, ask).await else { return Vec::new() };
        let (mut has, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (n, compared) in numbers.iter().zip(compared) {
            if compared != Compared::Lacking {
                has.push(*n);
                continue;
            }
            bytes += page[*n].0.len() + page[*n].1.content.as_ref().map_or(0, |content| content.len());
            batch.push(*n);
            if bytes >= MESSAGE {
                has.extend(self.keep(view, home, page, std::mem::take(&mut batch)).await);
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            has.extend(self.keep(view, home, page, batch).await);
        }
        has
    }

    async fn keep(
        &self,
        view: &View,
        home: &Member,
        page: &[(Arc<str>, Record)],
        batch: Vec<usize>,
    ) -> Vec<usize> {
        let records = batch.iter().map(|n| page[*n].clone()).collect();
        let Ok(Answer::Kept(kept)) = self.ask(view, home, Ask::Keep { records }).await else {
            return Vec::new();
        };
        let there: Vec<usize> =
            batch.into_iter().zip(kept).filter(|(_, kept)| *kept != Kept::Full).map(|(n, _)| n).collect();
        self.counters.repaired.fetch_add(there.len() as u64, Ordering::Relaxed);
        there
    }
}
