//! One server's part in the cluster: whom it knows, what it holds, and whom it doubts.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::ledger::Ledger;
use crate::members::{Member, Members};
use crate::peer::{self, Answer, Ask, Client, Silent};
use crate::records::{Limits, Records};

/// The members as this server knows them at one time.
pub(crate) struct View {
    pub(crate) members: Members,
    pub(crate) placement: u64,
    /// Whether this server has all copies that it should have. Until then it must not be counted on: where it has nothing,
    /// it may have lost something.
    pub(crate) recovered: AtomicBool,
}

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) unanswered: AtomicU64,
    pub(crate) stand_ins: AtomicU64,
    pub(crate) repaired: AtomicU64,
    pub(crate) refused_writes: AtomicU64,
    pub(crate) refused_reads: AtomicU64,
}

pub(crate) struct Cluster {
    pub(crate) me: String,
    pub(crate) records: Records,
    pub(crate) counters: Counters,
    pub(crate) client: Client,
    token: String,
    view: RwLock<Arc<View>>,
    /// Those that did not answer the last time.
    doubted: Mutex<BTreeSet<String>>,
    ledger: Mutex<Ledger>,
}

impl Cluster {
    pub(crate) fn new(me: String, members: Members, limits: Limits, client: Client, token: String) -> Self {
        let placement = members.placement();
        let view = View { members, placement, recovered: AtomicBool::new(false) };
        Self {
            me,
            records: Records::new(limits),
            counters: Counters::default(),
            client,
            token,
            view: RwLock::new(Arc::new(view)),
            doubted: Mutex::default(),
            ledger: Mutex::default(),
        }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes other members. Where they place keys otherwise, this server has to recover first.
    pub(crate) fn set_members(&self, members: Members) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let placement = members.placement();
        let still = view.placement == placement && view.recovered.load(Ordering::Acquire);
        *view = Arc::new(View { members, placement, recovered: AtomicBool::new(still) });
        drop(view);
        self.doubted().clear();
    }

    /// Asks a member, this server itself without a detour.
    pub(crate) async fn ask(&self, view: &View, member: &Member, ask: Ask) -> Result<Answer, Silent> {
        let asked = if member.name == self.me {
            Ok(peer::answer(self, view, ask))
        } else {
            self.client.ask(view, member, &ask).await
        };
        match &asked {
            Ok(_) => drop(self.doubted().remove(&member.name)),
            Err(_) => {
                self.counters.unanswered.fetch_add(1, Ordering::Relaxed);
                self.doubted().insert(member.name.clone());
            }
        }
        match asked? {
            Answer::Recovering => Err(Silent::Recovering(member.name.clone())),
            answer => Ok(answer),
        }
    }

    pub(crate) fn doubts(&self, member: &Member) -> bool {
        self.doubted().contains(&member.name)
    }

    pub(crate) fn doubted(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
