//! What makes requests: a guest in the sandbox, or in tests and benches a native generator.

use sandbox::{Fault, abi};

/// One instance of a scenario: a state machine over many users, called with batches.
pub trait Generator: Send {
    /// What the scenario consists of.
    fn setup(&self) -> &abi::Setup;

    /// The hot call of `wit/scenario.wit`.
    ///
    /// # Errors
    /// [`Fault`]: the instance broke a limit, and is of no more use.
    fn step(
        &mut self,
        now_us: u64,
        starts: &[abi::Start],
        done: &[abi::Completion],
        arena: &[u8],
    ) -> Result<abi::Output, Fault>;

    /// What it has warned of since this was asked last.
    fn take_warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Where instances come from. Shared by the load threads.
pub trait Source: Send + Sync {
    /// Makes an instance for users 0 to `users` − 1.
    ///
    /// # Errors
    /// What the guest says against its configuration, for the user.
    fn instantiate(&self, config: &str, seed: u64, users: u32) -> Result<Box<dyn Generator>, String>;
}

impl Generator for sandbox::Instance {
    fn setup(&self) -> &abi::Setup {
        Self::setup(self)
    }

    fn step(
        &mut self,
        now_us: u64,
        starts: &[abi::Start],
        done: &[abi::Completion],
        arena: &[u8],
    ) -> Result<abi::Output, Fault> {
        Self::step(self, now_us, starts, done, arena)
    }

    fn take_warnings(&mut self) -> Vec<String> {
        Self::take_warnings(self)
    }
}

impl Source for sandbox::Guest {
    fn instantiate(&self, config: &str, seed: u64, users: u32) -> Result<Box<dyn Generator>, String> {
        match Self::instantiate(self, config, seed, users) {
            Ok(instance) => Ok(Box::new(instance)),
            Err(error) => Err(error.to_string()),
        }
    }
}
