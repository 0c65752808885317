//! The generator: one GET a turn, nothing heard of the answer.

use std::sync::Arc;

use load_worker::engine::{Generator, Source};
use sandbox::{Fault, abi};

/// What is done beside making requests, on the load thread.
pub(crate) trait Beside: Send {
    /// So many turns have begun with this call.
    fn begun(&mut self, _turns: u64) {}

    /// Asked in each call while a user is kept; `true` = again in the loop's next turn, `false` = the user's turn is over.
    fn again(&mut self) -> bool {
        false
    }

    /// Whether a user is kept whose turn makes no request, so that there are calls when nothing else is to be done.
    fn keeps_a_user(&self) -> bool {
        false
    }
}

/// Nothing is done beside it.
struct Nothing;

impl Beside for Nothing {}

/// Makes generators that do nothing beside.
pub(crate) fn gets() -> Arc<dyn Source> {
    Gets(|| -> Box<dyn Beside> { Box::new(Nothing) }).source()
}

/// Makes generators; what each does beside it.
pub(crate) struct Gets<F>(pub(crate) F);

impl<F: Fn() -> Box<dyn Beside> + Send + Sync + 'static> Gets<F> {
    pub(crate) fn source(self) -> Arc<dyn Source> {
        Arc::new(self)
    }
}

impl<F: Fn() -> Box<dyn Beside> + Send + Sync> Source for Gets<F> {
    fn instantiate(&self, _: &str, _: u64, _: u32) -> Result<Box<dyn Generator>, String> {
        let setup = abi::Setup {
            steps: vec!["get".into()],
            checks: vec![],
            metrics: vec![],
            methods: vec!["GET".into()],
            feeds: vec![],
            expectations: vec![],
            body_limit: 0,
            stateless: true,
        };
        Ok(Box::new(Get { setup, beside: (self.0)(), kept: None }))
    }
}

struct Get {
    setup: abi::Setup,
    beside: Box<dyn Beside>,
    /// The user whose turn makes no request.
    kept: Option<u32>,
}

impl Generator for Get {
    fn setup(&self) -> &abi::Setup {
        &self.setup
    }

    fn step(
        &mut self,
        _: u64,
        mut starts: &[abi::Start],
        _: &[abi::Completion],
        _: &[u8],
    ) -> Result<abi::Output, Fault> {
        if self.kept.is_none()
            && self.beside.keeps_a_user()
            && let Some((first, others)) = starts.split_first()
        {
            self.kept = Some(first.user);
            starts = others;
        }
        self.beside.begun(starts.len() as u64);
        let none = abi::Slice { off: 0, len: 0 };
        let request = |start: &abi::Start| abi::Request {
            user: start.user,
            seq: 0,
            operation: 0,
            step: 0,
            endpoint: 0,
            method: 0,
            delay_us: 0,
            timeout_us: 0,
            attempt: 0,
            connection: abi::Connection::Any,
            interest: abi::Interest::empty(),
            target: abi::Slice { off: 0, len: 1 },
            headers: none,
            body: none,
        };
        let mut output = abi::Output {
            arena: b"/".to_vec(),
            requests: starts.iter().map(request).collect(),
            verdicts: vec![],
            finished: starts.iter().map(|start| abi::Finish { user: start.user, think_us: 0 }).collect(),
            commands: vec![],
        };
        if let Some(user) = self.kept {
            if self.beside.again() {
                output.commands.push(abi::Command::WakeAt(abi::Wake { user, seq: 0, after_us: 0 }));
            } else {
                self.kept = None;
                output.finished.push(abi::Finish { user, think_us: 0 });
            }
        }
        Ok(output)
    }
}
