//! Running a guest: one store, one thread, one scenario.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{PoolConcurrencyLimitError, ResourceLimiter, Store, Trap, UpdateDeadline};

use crate::abi::{self, bindings};
use crate::error::{Fault, FaultKind};
use crate::host::Shared;
use crate::output::{self, Bounds};

/// A guest that runs one scenario for one thread.
pub struct Instance {
    machine: Machine,
    setup: abi::Setup,
    bounds: Bounds,
    ticks: u64,
    faulted: bool,
}

impl Instance {
    pub(crate) fn new(machine: Machine, setup: abi::Setup, users: u32) -> Result<Self, Fault> {
        let bounds = output::check_setup(&setup, users)
            .map_err(|message| machine.fault_of(FaultKind::BadOutput, "configure", &message))?;
        let ticks = machine.shared.ticker.ticks(machine.shared.limits.call_deadline);
        Ok(Self { machine, setup, bounds, ticks, faulted: false })
    }

    /// What the scenario consists of, checked: every index in it is in range.
    #[must_use]
    pub fn setup(&self) -> &abi::Setup {
        &self.setup
    }

    /// The hot call. `starts` are turns that begin now, `done` is what happened since the last call, both over `arena`;
    /// `now_us` is microseconds since the phase began.
    ///
    /// Of the output every slice lies inside its arena, every header block is whole, every user, step, method, check
    /// and metric is one of the setup's, and every observed value is finite. The endpoint is for the caller to check,
    /// and so are the bytes of targets and headers: [`abi::is_target`] and its like.
    ///
    /// # Errors
    /// A fault; the instance then takes no further calls.
    pub fn step(
        &mut self,
        now_us: u64,
        starts: &[abi::Start],
        done: &[abi::Completion],
        arena: &[u8],
    ) -> Result<abi::Output, Fault> {
        const CALL: &str = "step";
        if self.faulted {
            return Err(self.machine.fault_of(FaultKind::Trap, CALL, "it has faulted before"));
        }
        self.machine.begin(self.ticks, self.machine.shared.limits.call_deadline);
        let generator = self.machine.scenario.gauntlet_scenario_generator();
        let said = generator.call_step(&mut self.machine.store, now_us, starts, done, arena);
        let checked = match said {
            Ok(output) => output::check(&output, self.bounds)
                .map(|()| output)
                .map_err(|message| self.machine.fault_of(FaultKind::BadOutput, CALL, &message)),
            Err(error) => Err(self.machine.fault(CALL, &error)),
        };
        self.faulted = checked.is_err();
        checked
    }

    /// Bytes of linear memory that it has now. It never gives one back, so that is also the most that it ever had.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.machine.store.data().memory.granted
    }

    /// How many lines it has logged.
    #[must_use]
    pub fn log_lines(&self) -> LogLines {
        self.machine.store.data().log.lines
    }

    /// Its latest lines of level warn or error, in their order, but for those that were taken before; eight at most.
    pub fn take_warnings(&mut self) -> Vec<String> {
        self.machine.store.data_mut().log.warnings.drain(..).collect()
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { machine, bounds, faulted, .. } = self;
        let mut all = f.debug_struct("Instance");
        all.field("who", &machine.who)
            .field("bounds", bounds)
            .field("faulted", faulted)
            .finish_non_exhaustive()
    }
}

/// Log lines of an instance since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogLines {
    /// Passed on.
    pub written: u64,
    /// Dropped, because they were over the limit per second.
    pub dropped: u64,
}

/// A guest in a store of its own, not configured as yet.
pub(crate) struct Machine {
    store: Store<State>,
    scenario: bindings::Scenario,
    shared: Arc<Shared>,
    who: Arc<str>,
}

impl Machine {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        pre: &bindings::ScenarioPre<State>,
        who: &Arc<str>,
        users: u32,
    ) -> Result<Self, Fault> {
        let limits = &shared.limits;
        let memory =
            limits.memory_bytes.saturating_add(limits.memory_bytes_per_user.saturating_mul(users.into()));
        let state = State {
            memory: Memory { limit: usize::try_from(memory).unwrap_or(usize::MAX), granted: 0, denied: None },
            log: Log::new(Arc::clone(who), limits.log_lines_per_second),
            watch: Watch::default(),
        };
        let mut store = Store::new(&shared.engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(limits.output_bytes);
        store.epoch_deadline_callback(|mut context| Ok(context.data_mut().watch.expired()));
        // Instantiation may run the guest's start functions.
        begin(&mut store, shared.ticker.ticks(limits.describe_deadline), limits.describe_deadline);
        match pre.instantiate(&mut store) {
            Ok(scenario) => Ok(Self { store, scenario, shared: Arc::clone(shared), who: Arc::clone(who) }),
            Err(error) => Err(fault(store.data(), shared, who, "instantiation", &error)),
        }
    }

    pub(crate) fn describe(&mut self) -> Result<abi::Descriptor, Fault> {
        let deadline = self.shared.limits.describe_deadline;
        self.begin(self.shared.ticker.ticks(deadline), deadline);
        let said = self.scenario.gauntlet_scenario_generator().call_describe(&mut self.store);
        said.map_err(|error| self.fault("describe", &error))
    }

    pub(crate) fn configure(
        &mut self,
        config: &str,
        seed: u64,
        users: u32,
    ) -> Result<Result<abi::Setup, Vec<abi::Problem>>, Fault> {
        let deadline = self.shared.limits.configure_deadline;
        self.begin(self.shared.ticker.ticks(deadline), deadline);
        let generator = self.scenario.gauntlet_scenario_generator();
        let said = generator.call_configure(&mut self.store, config, seed, users);
        said.map_err(|error| self.fault("configure", &error))
    }

    fn begin(&mut self, ticks: u64, deadline: Duration) {
        begin(&mut self.store, ticks, deadline);
    }

    fn fault(&self, call: &str, error: &wasmtime::Error) -> Fault {
        fault(self.store.data(), &self.shared, &self.who, call, error)
    }

    fn fault_of(&self, kind: FaultKind, call: &str, message: &str) -> Fault {
        Fault { kind, message: format!("{}: {call}: {message}", self.who) }
    }
}

/// Before every call: what is counted per call starts anew.
fn begin(store: &mut Store<State>, ticks: u64, deadline: Duration) {
    store.set_epoch_deadline(ticks);
    let state = store.data_mut();
    state.watch = Watch { ticks, deadline, since: None, interrupted: false };
    state.memory.denied = None;
}

/// Says what went wrong, and whose doing it was.
fn fault(state: &State, shared: &Shared, who: &str, call: &str, error: &wasmtime::Error) -> Fault {
    let limits = &shared.limits;
    let trap = error.downcast_ref::<Trap>();
    let (kind, message) = if state.watch.interrupted || trap == Some(&Trap::Interrupt) {
        (FaultKind::Deadline, format!("took more than {:?} of CPU time", state.watch.deadline))
    } else if let Some(wanted) = state.memory.denied {
        let limit = state.memory.limit;
        (FaultKind::Memory, format!("wanted {wanted} bytes of memory and may have {limit}"))
    } else if is_output_limit(error) {
        (FaultKind::Output, format!("said more than {} bytes at once", limits.output_bytes))
    } else if error.is::<PoolConcurrencyLimitError>() {
        (FaultKind::Memory, format!("there is no room for one more instance ({error:#})"))
    } else if let Some(trap) = trap {
        let last =
            state.log.warnings.back().map_or_else(String::new, |line| format!("; it last said: {line}"));
        (FaultKind::Trap, format!("{trap}{last}"))
    } else {
        // The rest is found while the output is read: pointers out of bounds, broken text, impossible variants.
        (FaultKind::BadOutput, format!("{error:#}"))
    };
    Fault { kind, message: format!("{who}: {call}: {message}") }
}

/// wasmtime keeps the type of this error to itself, so it is known by its words; a test notices when they change.
fn is_output_limit(error: &wasmtime::Error) -> bool {
    error.root_cause().to_string().contains("fuel allocated for hostcalls")
}

/// What the store keeps for the host.
pub(crate) struct State {
    memory: Memory,
    log: Log,
    watch: Watch,
}

/// Times a call in the thread's own CPU time.
///
/// The epoch deadline is in wall time, and on a busy or throttled machine a thread may not run for 100 ms: that must
/// not count against the guest. Reading the thread's clock costs a system call, so it is read only when the wall time
/// is over: from then on the guest may spend half its deadline.
#[derive(Default)]
struct Watch {
    ticks: u64,
    deadline: Duration,
    /// The thread's clock when the wall time was over for the first time.
    since: Option<Duration>,
    interrupted: bool,
}

impl Watch {
    fn expired(&mut self) -> UpdateDeadline {
        let now = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) >= self.deadline / 2 {
            self.interrupted = true;
            return UpdateDeadline::Interrupt;
        }
        UpdateDeadline::Continue(self.ticks.div_ceil(2))
    }
}

/// Limits linear memory and remembers what it denied: the guest itself only traps.
struct Memory {
    limit: usize,
    granted: usize,
    denied: Option<usize>,
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= self.limit;
        if granted {
            self.granted += desired.saturating_sub(current);
        } else {
            self.denied = Some(desired);
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        const ELEMENTS: usize = 64 << 10;
        Ok(desired <= ELEMENTS)
    }
}

/// Passes on what a guest logs, so many lines a second.
struct Log {
    who: Arc<str>,
    per_second: u32,
    second: Option<Instant>,
    in_second: u32,
    lines: LogLines,
    /// The latest lines of level warn or error: a panic's words come this way, just before its trap.
    warnings: VecDeque<String>,
}

/// How many warnings are kept.
const WARNINGS: usize = 8;

impl Log {
    fn new(who: Arc<str>, per_second: u32) -> Self {
        let warnings = VecDeque::new();
        Self { who, per_second, second: None, in_second: 0, lines: LogLines::default(), warnings }
    }

    fn line(&mut self, level: abi::Level, message: &str) {
        const LENGTH: usize = 1000;
        let end = message.floor_char_boundary(LENGTH.min(message.len()));
        let message = message[..end].replace(char::is_control, " ");
        if self.takes_one_more() {
            self.lines.written += 1;
            let who = &*self.who;
            match level {
                abi::Level::Debug => tracing::debug!(target: "guest", guest = who, "{message}"),
                abi::Level::Info => tracing::info!(target: "guest", guest = who, "{message}"),
                abi::Level::Warn => tracing::warn!(target: "guest", guest = who, "{message}"),
                abi::Level::Error => tracing::error!(target: "guest", guest = who, "{message}"),
            }
        } else {
            self.lines.dropped += 1;
        }
        if matches!(level, abi::Level::Warn | abi::Level::Error) {
            if self.warnings.len() == WARNINGS {
                self.warnings.pop_front();
            }
            self.warnings.push_back(message);
        }
    }

    fn takes_one_more(&mut self) -> bool {
        let now = Instant::now();
        let same =
            self.second.is_some_and(|begin| now.saturating_duration_since(begin) < Duration::from_secs(1));
        if !same {
            self.second = Some(now);
            self.in_second = 0;
        }
        if self.in_second == self.per_second {
            return false;
        }
        self.in_second += 1;
        if self.in_second == self.per_second {
            tracing::warn!(target: "guest", guest = &*self.who, "logs a lot: further lines of this second are dropped");
        }
        true
    }
}

impl bindings::gauntlet::scenario::types::Host for State {}

impl bindings::gauntlet::scenario::host::Host for State {
    fn log(&mut self, level: abi::Level, message: String) -> wasmtime::Result<()> {
        self.log.line(level, &message);
        Ok(())
    }
}
