//! A fixed number of requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::Result;
use crate::get::{Beside, Gets};
use crate::rig::{Rig, closed, endpoint, phase};

/// What one call of the generator allocates: arena, requests and finished users of the output that it gives away.
const ALLOCATIONS_A_CALL: u64 = 3;

/// Tells when so many turns have begun.
struct Limit {
    turns: u64,
    begun: u64,
    reached: Option<Sender<()>>,
    calls: Arc<AtomicU64>,
}

impl Beside for Limit {
    fn begun(&mut self, turns: u64) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.begun += turns;
        if self.begun >= self.turns
            && let Some(reached) = self.reached.take()
        {
            // Whoever does not listen needs to hear nothing.
            let _ = reached.send(());
        }
    }
}

pub(crate) fn run(addr: SocketAddr, turns: u64, connections: u32) -> Result<()> {
    let (reached, limit) = channel();
    let calls = Arc::<AtomicU64>::default();
    let guest = {
        let calls = Arc::clone(&calls);
        Gets(move || -> Box<dyn Beside> {
            Box::new(Limit { turns, begun: 0, reached: Some(reached.clone()), calls: Arc::clone(&calls) })
        })
    };
    let rig = Rig::start(endpoint(addr), None, guest.source())?;
    let hour = Duration::from_secs(3_600);
    rig.begin(phase(1, closed(connections), hour, connections, connections))?;
    limit.recv_timeout(Duration::from_secs(600)).map_err(|_| "not so many turns within ten minutes")?;
    rig.tell_end(1);
    let (arrivals, _) = rig.ended()?;
    let calls = calls.load(Ordering::Relaxed);
    println!(
        "{}",
        serde_json::json!({
            "requests": arrivals.answered,
            "failed": arrivals.failed + arrivals.dropped,
            "allocations_in_generator": calls * ALLOCATIONS_A_CALL,
            "generator_calls": calls,
        })
    );
    rig.join();
    Ok(())
}
