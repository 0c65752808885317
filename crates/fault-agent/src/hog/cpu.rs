//! Threads that use up CPU time.

use std::hint::black_box;
use std::sync::mpsc;
use std::thread;

use crate::inject::Refusal;

/// What the threads are called, so that they can be counted from outside.
pub(crate) const NAME: &str = "gauntlet-spin";

/// Starts them, and returns when all spin; they end with the process.
pub(super) fn spin(threads: u32) -> Result<(), Refusal> {
    let (begins, began) = mpsc::channel();
    for _ in 0..threads {
        let begins = begins.clone();
        let work = move || {
            // Who waits for it is there until all have said so.
            let _ = begins.send(());
            let mut number = 1_u64;
            loop {
                number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            }
        };
        thread::Builder::new().name(NAME.to_owned()).spawn(work).map_err(|error| {
            Refusal::new(format!("threads cannot be started: {error}"), "allow more with ulimit -u")
        })?;
    }
    drop(begins);
    // Each has its name by then.
    began.iter().take(threads as usize).for_each(drop);
    Ok(())
}
