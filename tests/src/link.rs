//! A network link between two processes, which a test can cut: what is sent into it then arrives when it is mended. It can be
//! slow, too, and lose what it holds.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a cut link looks whether it is mended, and an idle one whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// A running link; ends with the value.
pub struct Link {
    /// Its port.
    pub port: u16,
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

/// What holds up what is sent to the far end.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    /// What has these bytes in it …
    pub what: &'static [u8],
    /// … waits for so long, and all that follows it.
    pub by: Duration,
}

#[derive(Default)]
struct State {
    cut: AtomicBool,
    slow: Option<Slow>,
    /// So many pieces are held up just now.
    held: AtomicU32,
    /// How often all connections were broken.
    broken: AtomicU32,
    over: AtomicBool,
    pumps: Mutex<Vec<JoinHandle<()>>>,
}

impl Link {
    /// A link to a port on this machine.
    ///
    /// # Panics
    /// When there is no port for it.
    #[must_use]
    pub fn to(target: u16) -> Self {
        Self::between(Ipv4Addr::LOCALHOST, target, None)
    }

    /// A link to a port on this machine that is slow where it says.
    ///
    /// # Panics
    /// When there is no port for it.
    #[must_use]
    pub fn slow_to(target: u16, slow: Slow) -> Self {
        Self::between(Ipv4Addr::LOCALHOST, target, Some(slow))
    }

    /// A link from an address of this machine to a port on its loopback.
    ///
    /// # Panics
    /// When there is no port for it at that address.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn between(from: Ipv4Addr, target: u16, slow: Option<Slow>) -> Self {
        let listener = TcpListener::bind((from, 0)).expect("a port for a link");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State { slow, ..State::default() });
        let shared = Arc::clone(&state);
        let accepting = std::thread::spawn(move || {
            for here in listener.incoming() {
                if shared.over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(here), Ok(there)) = (here, TcpStream::connect(("127.0.0.1", target))) else {
                    continue;
                };
                shared.join(&here, &there);
            }
        });
        Self { port: address.port(), address, state, accepting: Some(accepting) }
    }

    /// Lets nothing through, in neither direction, and closes nothing, as a broken cable would.
    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::SeqCst);
    }

    /// Whether something is held up just now.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.state.held.load(Ordering::SeqCst) > 0
    }

    /// Breaks all connections: what was sent and is not through is lost. New ones can be made.
    pub fn sever(&self) {
        self.state.broken.fetch_add(1, Ordering::SeqCst);
    }

    /// Lets everything through again.
    pub fn mend(&self) {
        self.state.cut.store(false, Ordering::SeqCst);
    }
}

impl State {
    fn join(self: &Arc<Self>, here: &TcpStream, there: &TcpStream) {
        for (from, to, slow) in [(here, there, self.slow), (there, here, None)] {
            if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
                let state = Arc::clone(self);
                let pump = std::thread::spawn(move || state.pump(from, to, slow));
                self.pumps.lock().unwrap_or_else(PoisonError::into_inner).push(pump);
            }
        }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, slow: Option<Slow>) {
        let mut buffer = [0; 16 << 10];
        let _ = to.set_nodelay(true);
        let _ = from.set_read_timeout(Some(LOOK));
        let broken = self.broken.load(Ordering::SeqCst);
        while !self.is_over(broken) {
            if self.cut.load(Ordering::SeqCst) {
                std::thread::park_timeout(LOOK);
                continue;
            }
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    if let Some(slow) = slow.filter(|slow| holds(&buffer[..read], slow.what)) {
                        self.held.fetch_add(1, Ordering::SeqCst);
                        self.wait(slow.by, broken);
                        self.held.fetch_sub(1, Ordering::SeqCst);
                    }
                    // What was read just before the cut was not through yet.
                    while self.cut.load(Ordering::SeqCst) && !self.is_over(broken) {
                        std::thread::park_timeout(LOOK);
                    }
                    if self.is_over(broken) {
                        break;
                    }
                    if to.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(_) => break,
            }
        }
        // The other direction sees the end, too.
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}

impl State {
    /// Whether a connection is over that was made when they had been broken so often.
    fn is_over(&self, broken: u32) -> bool {
        self.over.load(Ordering::SeqCst) || self.broken.load(Ordering::SeqCst) != broken
    }

    fn wait(&self, time: Duration, broken: u32) {
        let start = Instant::now();
        while let Some(left) = time.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            if self.is_over(broken) {
                return;
            }
            std::thread::park_timeout(left.min(LOOK));
        }
    }
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        let pumps = std::mem::take(&mut *self.state.pumps.lock().unwrap_or_else(PoisonError::into_inner));
        for pump in pumps {
            let _ = pump.join();
        }
    }
}
