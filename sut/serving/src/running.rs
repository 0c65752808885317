//! A system under test on a thread of the caller's process, for tests.

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

/// A system under test: bound first, then run.
pub trait Target: Sized {
    /// How it is set up.
    type Options: Send + 'static;
    /// Why it could not be started or went down.
    type Error: From<io::Error> + Send + 'static;
    /// What its thread is called.
    const NAME: &'static str;

    /// Binds its port.
    ///
    /// # Errors
    /// Its own.
    fn bind(options: Self::Options) -> impl Future<Output = Result<Self, Self::Error>>;

    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// Serves until `stop` ends, and finishes what is in progress.
    ///
    /// # Errors
    /// Its own.
    fn run(self, stop: impl Future<Output = ()>) -> impl Future<Output = Result<(), Self::Error>>;
}

/// A target in this process, on a thread and runtime of its own. Dropped, it stops.
pub struct Running<T: Target> {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), T::Error>>>,
}

impl<T: Target> Running<T> {
    /// Starts it and returns when it listens.
    ///
    /// # Errors
    /// Those of the target.
    pub fn start(options: T::Options) -> Result<Self, T::Error> {
        let (stop, stopped) = oneshot::channel();
        let (bound, binding) = std::sync::mpsc::sync_channel(1);
        // The runtime lives on its own thread from its first to its last moment, so that a caller may be inside
        // another one.
        let thread = std::thread::Builder::new().name(T::NAME.into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let target = runtime.block_on(T::bind(options))?;
            let _ = bound.send(target.address());
            runtime.block_on(target.run(async {
                let _ = stopped.await;
            }))
        })?;
        let Ok(address) = binding.recv() else {
            return Err(match join::<T>(thread) {
                Err(error) => error,
                Ok(()) => io::Error::other("the target ended before it listened").into(),
            });
        };
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops it as SIGTERM would and waits until its logs are complete. Blocks for its grace at most.
    ///
    /// # Errors
    /// Those of the target.
    pub fn stop(mut self) -> Result<(), T::Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), T::Error> {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        self.thread.take().map_or(Ok(()), join::<T>)
    }
}

impl<T: Target> Drop for Running<T> {
    fn drop(&mut self) {
        // Nobody is left to hear about an error here; `stop` is for those who want it.
        let _ = self.end();
    }
}

fn join<T: Target>(thread: JoinHandle<Result<(), T::Error>>) -> Result<(), T::Error> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the target's thread panicked").into()))
}
