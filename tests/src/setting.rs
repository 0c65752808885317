//! Where a test's run is done: the same test is run on the suite in one process and on the deployed one.

use std::path::Path;
use std::time::Duration;

use crate::gauntlet::{self, Ended, Running};
use crate::suite::Suite;
use crate::turn::{self, Held};

/// How many load-workers the deployed suite has.
const WORKERS: usize = 3;

/// A test's turn, its directory, and where its runs are done.
pub struct Setting {
    /// Ends before the directory goes.
    suite: Option<Suite>,
    dir: tempfile::TempDir,
    _held: Held,
}

impl Setting {
    /// Runs are done by `gauntlet run` itself, in one process, and no other test runs meanwhile.
    #[must_use]
    pub fn embedded() -> Self {
        Self::new(Held::all(), false)
    }

    /// Runs are done by services over NATS and PostgreSQL, with three load-workers, and no other test runs meanwhile.
    #[must_use]
    pub fn deployed() -> Self {
        Self::new(Held::all(), true)
    }

    /// As [`Self::embedded`], beside other tests.
    #[must_use]
    pub fn embedded_beside() -> Self {
        Self::new(Held::one(), false)
    }

    /// As [`Self::deployed`], beside other tests.
    #[must_use]
    pub fn deployed_beside() -> Self {
        Self::new(Held::one(), true)
    }

    fn new(held: Held, deployed: bool) -> Self {
        let dir = turn::directory();
        let suite = deployed.then(|| Suite::start(dir.path(), WORKERS));
        Self { suite, dir, _held: held }
    }

    /// The test's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Starts `gauntlet run` on a plan.
    #[must_use]
    pub fn start_run(&self, plan: &str) -> Running {
        self.start_with_plan("run", plan, &[])
    }

    /// Starts a command on a plan.
    #[must_use]
    pub fn start_with_plan(&self, command: &str, plan: &str, more: &[&str]) -> Running {
        match &self.suite {
            None => gauntlet::start_with_plan(self.path(), command, plan, more),
            Some(suite) => suite.start_with_plan(self.path(), command, plan, more),
        }
    }

    /// Runs a plan to its end.
    #[must_use]
    pub fn run(&self, plan: &str) -> Ended {
        self.start_run(plan).wait(Duration::from_secs(180))
    }

    /// Where the HTTP API is that controls a run.
    #[must_use]
    pub fn api(&self, running: &Running) -> String {
        self.suite.as_ref().map_or_else(|| running.api(), Suite::api)
    }
}

/// Makes a test of each function, on the embedded and on the deployed suite. A function takes `&Setting`. With `beside` before the
/// names each test runs beside another: for those that count, and measure nothing.
#[macro_export]
macro_rules! on_both_suites {
    (beside $($test:ident),+ $(,)?) => {
        $crate::on_both_suites! { @ embedded_beside deployed_beside $($test),+ }
    };
    (@ $embedded:ident $deployed:ident $($test:ident),+) => {
        mod embedded {
            $(#[test] fn $test() { super::$test(&$crate::setting::Setting::$embedded()); })+
        }
        mod deployed {
            $(#[test] fn $test() { super::$test(&$crate::setting::Setting::$deployed()); })+
        }
    };
    ($($test:ident),+ $(,)?) => {
        $crate::on_both_suites! { @ embedded deployed $($test),+ }
    };
}
