//! A network link between two processes, which a test can cut: what is sent into it then arrives when it is mended.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a cut link looks whether it is mended, and an idle one whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// A running link; ends with the value.
pub struct Link {
    /// Its port on 127.0.0.1.
    pub port: u16,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    cut: AtomicBool,
    over: AtomicBool,
    pumps: Mutex<Vec<JoinHandle<()>>>,
}

impl Link {
    /// A link to a port on this machine.
    ///
    /// # Panics
    /// When there is no port for it.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for a link");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(State::default());
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
        Self { port, state, accepting: Some(accepting) }
    }

    /// Lets nothing through, in neither direction, and closes nothing, as a broken cable would.
    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::SeqCst);
    }

    /// Lets everything through again.
    pub fn mend(&self) {
        self.state.cut.store(false, Ordering::SeqCst);
    }
}

impl State {
    fn join(self: &Arc<Self>, here: &TcpStream, there: &TcpStream) {
        for (from, to) in [(here, there), (there, here)] {
            if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
                let state = Arc::clone(self);
                let pump = std::thread::spawn(move || state.pump(from, to));
                self.pumps.lock().unwrap_or_else(PoisonError::into_inner).push(pump);
            }
        }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 << 10];
        let _ = from.set_read_timeout(Some(LOOK));
        while !self.over.load(Ordering::SeqCst) {
            if self.cut.load(Ordering::SeqCst) {
                std::thread::park_timeout(LOOK);
                continue;
            }
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    // What was read just before the cut was not through yet.
                    while self.cut.load(Ordering::SeqCst) && !self.over.load(Ordering::SeqCst) {
                        std::thread::park_timeout(LOOK);
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

impl Drop for Link {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        let pumps = std::mem::take(&mut *self.state.pumps.lock().unwrap_or_else(PoisonError::into_inner));
        for pump in pumps {
            let _ = pump.join();
        }
    }
}
