//! How far each fault of a run is, and which may begin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plan::Plan;
use plan::chaos::{Clash, Hit, clash};
use protocol::faults::{FaultState, FaultView};
use tokio::sync::watch;

use crate::schedule::Item;

/// All faults of a run. Clones mean the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    inner: Arc<Mutex<Inner>>,
    /// How many are neither ended nor to come.
    live: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Inner {
    faults: Vec<Entry>,
    /// Faults of the plan that come no more, by name, and why.
    halted: BTreeMap<String, String>,
    /// Faults that an earlier life of this service held when it was killed, by id, and how they ended.
    earlier: BTreeMap<String, String>,
    /// Why none may begin; `None` = they may.
    closed: Option<String>,
    /// Why none may begin, whatever `closed` says: nobody steers them.
    unsteered: Option<String>,
}

#[derive(Debug)]
struct Entry {
    item: Arc<Item>,
    state: FaultState,
    detail: String,
    /// Has it end, with a reason; there as long as it is alive.
    end: Option<watch::Sender<Option<String>>>,
}

/// The right to inject a fault. Dropped without [`Claim::settle`], as in a panic, the fault counts as unrecovered.
#[derive(Debug)]
pub(crate) struct Claim {
    board: Board,
    id: String,
    end: watch::Receiver<Option<String>>,
    settled: bool,
}

impl Board {
    /// The faults of the plan, none of which has begun; none may before [`Board::open`].
    pub(crate) fn new(items: Vec<Arc<Item>>) -> Self {
        let inner = Inner {
            faults: items.into_iter().map(Entry::new).collect(),
            closed: Some("no phase is under way".to_owned()),
            ..Inner::default()
        };
        Self { inner: Arc::new(Mutex::new(inner)), live: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The state is whole between any two statements.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on faults may begin.
    pub(crate) fn open(&self) {
        self.lock().closed = None;
    }

    /// From now on none may begin, and those that are there are to end, for this reason.
    pub(crate) fn close(&self, reason: &str) {
        let mut inner = self.lock();
        inner.closed = Some(reason.to_owned());
        for entry in &inner.faults {
            entry.ask_to_end(reason);
        }
    }

    /// The same until [`Board::steer`], also when a phase is opened meanwhile.
    pub(crate) fn unsteer(&self, reason: &str) {
        let mut inner = self.lock();
        inner.unsteered = Some(reason.to_owned());
        for entry in &inner.faults {
            entry.ask_to_end(reason);
        }
    }

    /// Somebody steers them; `true` = nobody did until now.
    pub(crate) fn steer(&self) -> bool {
        self.lock().unsteered.take().is_some()
    }

    /// Whether somebody steers them.
    pub(crate) fn is_steered(&self) -> bool {
        self.lock().unsteered.is_none()
    }

    /// Adds a fault that is to begin now. Its id must be free.
    pub(crate) fn add(&self, item: Arc<Item>) {
        self.lock().faults.push(Entry::new(item));
    }

    /// Whether a fault has this id.
    pub(crate) fn has(&self, id: &str) -> bool {
        let inner = self.lock();
        inner.find(id).is_some() || inner.earlier.contains_key(id)
    }

    /// How many faults were asked for by hand.
    pub(crate) fn by_hand(&self) -> usize {
        self.lock().faults.iter().filter(|entry| !entry.item.is_planned()).count()
    }

    /// The faults of a phase that have not begun, in their order.
    pub(crate) fn to_come(&self, phase: u32) -> Vec<Arc<Item>> {
        let inner = self.lock();
        let waiting =
            |entry: &&Entry| entry.item.planned.phase == phase && entry.state == FaultState::Planned;
        inner.faults.iter().filter(waiting).map(|entry| Arc::clone(&entry.item)).collect()
    }

    /// Takes the right to inject a fault that has not begun; or says why not.
    pub(crate) fn claim(&self, plan: &Plan, item: &Item) -> Result<Claim, String> {
        let mut inner = self.lock();
        let closed = inner.closed.as_ref().or(inner.unsteered.as_ref());
        if let Some(why) = closed.or_else(|| inner.halted.get(&item.fault.name)) {
            return Err(why.clone());
        }
        let target = plan.targets.get(item.target as usize);
        let target = target.ok_or_else(|| format!("the plan has no target {}", item.fault.target))?;
        let hit = |entry: &Entry| (entry.item.fault.clone(), entry.item.victims.clone());
        let live: Vec<_> = inner.faults.iter().filter(|entry| entry.end.is_some()).map(hit).collect();
        let live: Vec<Hit<'_>> = live.iter().map(|(fault, victims)| Hit { fault, victims }).collect();
        let next = Hit { fault: &item.fault, victims: &item.victims };
        if let Some(Clash { message, mend }) = clash(target, &live, &next) {
            return Err(format!("{message}; {mend}"));
        }
        let entry = inner.find_mut(item.id()).ok_or_else(|| format!("there is no fault {}", item.id()))?;
        let (sender, end) = watch::channel(None);
        entry.end = Some(sender);
        entry.state = FaultState::Beginning;
        drop(inner);
        self.live.send_modify(|live| *live += 1);
        Ok(Claim { board: self.clone(), id: item.id().to_owned(), end, settled: false })
    }

    /// It came in an earlier life of this service, and ended so. It may come again.
    pub(crate) fn came_before(&self, id: &str, how: &str) {
        self.lock().earlier.insert(id.to_owned(), how.to_owned());
    }

    /// Marks one that has not begun as skipped; `false` = it is not waiting any more, or it came in an earlier life of this
    /// service and so is over instead.
    pub(crate) fn skip(&self, id: &str, why: &str) -> bool {
        let mut inner = self.lock();
        let earlier = inner.earlier.get(id).cloned();
        let Some(entry) = inner.find_mut(id).filter(|entry| entry.state == FaultState::Planned) else {
            return false;
        };
        if let Some(how) = earlier {
            entry.state = FaultState::Ended;
            entry.detail = format!("{how}; it does not come again: {why}");
            return false;
        }
        entry.state = FaultState::Skipped;
        why.clone_into(&mut entry.detail);
        true
    }

    /// No coming of a fault of the plan is injected any more, for this reason.
    pub(crate) fn halt(&self, name: &str, why: String) {
        self.lock().halted.entry(name.to_owned()).or_insert(why);
    }

    /// Has a fault end; or says why that cannot be.
    pub(crate) fn end(&self, id: &str, reason: &str) -> Result<(), String> {
        let inner = self.lock();
        let entry = inner.find(id).ok_or_else(|| {
            format!("there is no fault {id:?} in this run; `gauntlet chaos list` shows those that there are")
        })?;
        if entry.ask_to_end(reason) {
            return Ok(());
        }
        Err(match entry.state {
            FaultState::Planned => format!("the fault {id} has not begun"),
            FaultState::Skipped => format!("the fault {id} was skipped: {}", entry.detail),
            _ => format!("the fault {id} is over: {}", entry.detail),
        })
    }

    /// Has all faults end that are there; their ids.
    pub(crate) fn end_all(&self, reason: &str) -> Vec<String> {
        let inner = self.lock();
        let asked = inner.faults.iter().filter(|entry| entry.ask_to_end(reason));
        asked.map(|entry| entry.item.id().to_owned()).collect()
    }

    /// Waits until no fault is alive, at most so long; those that are then.
    pub(crate) async fn idle(&self, within: Duration) -> Vec<Arc<Item>> {
        let mut live = self.live.subscribe();
        // It ends with this board only, which is there.
        let _ = tokio::time::timeout(within, live.wait_for(|live| *live == 0)).await;
        let inner = self.lock();
        let alive = inner.faults.iter().filter(|entry| entry.end.is_some());
        alive.map(|entry| Arc::clone(&entry.item)).collect()
    }

    /// Waits until these faults are not alive, at most so long; those that were seen to be gone.
    pub(crate) async fn ended(&self, ids: &[String], within: Duration) -> Vec<String> {
        let mut live = self.live.subscribe();
        let over = async {
            while self.any_alive(ids) {
                if live.changed().await.is_err() {
                    return;
                }
            }
        };
        // Those that take longer are not among those that have ended.
        let _ = tokio::time::timeout(within, over).await;
        let inner = self.lock();
        let ended = |id: &&String| inner.find(id).is_some_and(|entry| entry.state == FaultState::Ended);
        ids.iter().filter(ended).cloned().collect()
    }

    fn any_alive(&self, ids: &[String]) -> bool {
        let inner = self.lock();
        ids.iter().any(|id| inner.find(id).is_some_and(|entry| entry.end.is_some()))
    }

    /// Ids of those that could not be seen to be gone.
    pub(crate) fn unrecovered(&self) -> Vec<String> {
        let inner = self.lock();
        let lost = inner.faults.iter().filter(|entry| entry.state == FaultState::Unrecovered);
        lost.map(|entry| entry.item.id().to_owned()).collect()
    }

    /// All of them, in their order.
    pub(crate) fn views(&self) -> Vec<FaultView> {
        let view = |entry: &Entry| FaultView {
            planned: entry.item.planned.clone(),
            state: entry.state,
            detail: entry.detail.clone(),
        };
        self.lock().faults.iter().map(view).collect()
    }

    /// Notes how far one is.
    pub(crate) fn note(&self, id: &str, state: FaultState, detail: &str) {
        if let Some(entry) = self.lock().find_mut(id) {
            entry.state = state;
            detail.clone_into(&mut entry.detail);
        }
    }

    fn release(&self, id: &str, state: FaultState, detail: &str) {
        if let Some(entry) = self.lock().find_mut(id) {
            entry.state = state;
            detail.clone_into(&mut entry.detail);
            entry.end = None;
        }
        self.live.send_modify(|live| *live = live.saturating_sub(1));
    }
}

impl Inner {
    fn find(&self, id: &str) -> Option<&Entry> {
        self.faults.iter().find(|entry| entry.item.id() == id)
    }

    fn find_mut(&mut self, id: &str) -> Option<&mut Entry> {
        self.faults.iter_mut().find(|entry| entry.item.id() == id)
    }
}

impl Entry {
    const fn new(item: Arc<Item>) -> Self {
        Self { item, state: FaultState::Planned, detail: String::new(), end: None }
    }

    /// `true` = it is alive. The first reason stands.
    fn ask_to_end(&self, reason: &str) -> bool {
        let Some(end) = &self.end else { return false };
        end.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert_with(|| reason.to_owned());
            first
        });
        true
    }
}

impl Claim {
    /// Waits until somebody wants it to end; why.
    pub(crate) async fn asked_to_end(&mut self) -> String {
        match self.end.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The board is gone, which it is not while this claim holds it.
            Err(_) => "its run is gone".to_owned(),
        }
    }

    /// Notes how far it is.
    pub(crate) fn note(&self, state: FaultState, detail: &str) {
        self.board.note(&self.id, state, detail);
    }

    /// It is over.
    pub(crate) fn settle(mut self, state: FaultState, detail: &str) {
        self.settled = true;
        self.board.release(&self.id, state, detail);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            let detail = "what carried it out broke off: a defect of Gauntlet";
            self.board.release(&self.id, FaultState::Unrecovered, detail);
        }
    }
}
