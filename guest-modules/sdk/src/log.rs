//! Lines for the run's log. The worker limits them per second and counts what is over.

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the scenario's author.
    Debug,
    /// Worth knowing once.
    Info,
    /// Something is not as it should be; the scenario goes on.
    Warn,
    /// Something failed.
    Error,
}

/// A line for the scenario's author.
pub fn debug(message: &str) {
    line(Level::Debug, message);
}

/// A line worth knowing once.
pub fn info(message: &str) {
    line(Level::Info, message);
}

/// Something is not as it should be; the scenario goes on.
pub fn warn(message: &str) {
    line(Level::Warn, message);
}

/// Something failed.
pub fn error(message: &str) {
    line(Level::Error, message);
}

#[cfg(target_arch = "wasm32")]
fn line(level: Level, message: &str) {
    use crate::bindings::gauntlet::scenario::host;
    let level = match level {
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    };
    host::log(level, message);
}

#[cfg(not(target_arch = "wasm32"))]
fn line(level: Level, message: &str) {
    native::LINES.with_borrow_mut(|lines| {
        if lines.len() < native::KEPT {
            lines.push((level, message.to_owned()));
        }
    });
}

/// Takes the lines logged on this thread since the last call; natively only, for tests. At most 1000 are kept.
#[cfg(not(target_arch = "wasm32"))]
#[must_use]
pub fn take_lines() -> Vec<(Level, String)> {
    native::LINES.take()
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::cell::RefCell;

    use super::Level;

    pub(super) const KEPT: usize = 1000;

    thread_local! {
        pub(super) static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
    }
}

/// Has a panic say where and why before it traps: without this the worker learns only that `unreachable` was executed.
pub(crate) fn report_panics() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|info| error(&info.to_string())));
}
