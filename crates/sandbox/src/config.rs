//! What a host is made with. Every limit has a test that shows it bites.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Limits on a running guest.
#[derive(Clone, Debug)]
pub struct Limits {
    /// CPU time of one `step`. A call that spends more is interrupted; it may spend up to twice as much, and a tenth
    /// more, before it is noticed. At least 1 ms.
    pub call_deadline: Duration,
    /// CPU time of `describe`.
    pub describe_deadline: Duration,
    /// CPU time of `configure`.
    pub configure_deadline: Duration,
    /// Bytes of linear memory an instance may have, whatever its users.
    pub memory_bytes: u64,
    /// Bytes of linear memory on top of that for each virtual user.
    pub memory_bytes_per_user: u64,
    /// Bytes that one call may say, in the host's representation.
    pub output_bytes: usize,
    /// Log lines a second; more are counted and dropped.
    pub log_lines_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call_deadline: Duration::from_millis(50),
            describe_deadline: Duration::from_millis(250),
            configure_deadline: Duration::from_secs(2),
            memory_bytes: 64 << 20,
            memory_bytes_per_user: 4 << 10,
            output_bytes: 8 << 20,
            log_lines_per_second: 100,
        }
    }
}

/// Where guests are compiled.
#[derive(Clone, Debug)]
pub enum Compile {
    /// In this process, without limits: for tests and for guests that one has built oneself.
    InProcess,
    /// In a child process, which is given the paths of the guest and of its output after `args` and calls
    /// [`crate::compile_file`].
    Child {
        /// The program, usually our own.
        program: PathBuf,
        /// Its arguments before the two paths.
        args: Vec<OsString>,
    },
}

/// What a [`crate::Host`] is made with.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Limits on running guests.
    pub limits: Limits,
    /// Where compiled guests are kept; without it each load compiles. Made if missing, for this user only.
    pub cache_dir: Option<PathBuf>,
    /// Where guests are compiled.
    pub compile: Compile,
    /// Wall time that a child may take to compile.
    pub compile_time: Duration,
    /// Address space that a child may have to compile.
    pub compile_memory_bytes: u64,
    /// Instances that can live at once, at most: the load threads, and one more for each [`crate::Host::load`] under
    /// way. Room is kept for each.
    pub instances: u32,
    /// Bytes that a guest's file may have.
    pub wasm_bytes: u64,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            cache_dir: None,
            compile: Compile::InProcess,
            compile_time: Duration::from_secs(60),
            compile_memory_bytes: 4 << 30,
            instances: 16,
            wasm_bytes: 64 << 20,
        }
    }
}
