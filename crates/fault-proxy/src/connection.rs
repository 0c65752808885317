//! A connection: two flows, one each way, in one task.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::budget::Budget;
use crate::draw::Identity;
use crate::flow::{Chain, Done, Flow, Traffic};
use crate::link::Link;
use crate::splice::{Pipes, Shortcut, Socket};
use crate::toxic::Direction;

/// How a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// As usual.
    Plainly,
    /// With a reset on both sides.
    Reset,
}

/// What a connection needs of its proxy.
pub(crate) struct Setting {
    pub(crate) identity: Identity,
    pub(crate) chain: watch::Receiver<Chain>,
    pub(crate) budget: Budget,
    pub(crate) upstream: Arc<Traffic>,
    pub(crate) downstream: Arc<Traffic>,
    pub(crate) pipes: Pipes,
}

/// Carries both directions until both have ended, or until one ends the connection.
pub(crate) async fn carry<CR, CW, SR, SW>(client: (CR, CW), server: (SR, SW), mut setting: Setting) -> Closing
where
    CR: AsyncRead + Socket + Unpin,
    CW: AsyncWrite + Socket + Unpin,
    SR: AsyncRead + Socket + Unpin,
    SW: AsyncWrite + Socket + Unpin,
{
    let chain = Arc::clone(&setting.chain.borrow_and_update());
    let now = Instant::now();
    let link =
        |direction| Link::new(setting.identity.clone(), direction, &chain, setting.budget.clone(), now);
    let (up, down) = (link(Direction::Upstream), link(Direction::Downstream));
    drop(chain);
    let shortcut = || Shortcut::new(setting.pipes.clone());
    let up = Flow::new(client.0, server.1, up, setting.chain.clone(), setting.upstream, shortcut());
    let down = Flow::new(server.0, client.1, down, setting.chain.clone(), setting.downstream, shortcut());
    let (mut up, mut down) = (Way { flow: up, done: None }, Way { flow: down, done: None });
    let mut changed = setting.chain;
    let mut both = poll_fn(|context| {
        let (up, down) = (up.poll(context), down.poll(context));
        match (up, down) {
            (Some(Done::Reset), _) | (_, Some(Done::Reset)) => Poll::Ready(Closing::Reset),
            (Some(Done::Close), _) | (_, Some(Done::Close)) | (Some(_), Some(_)) => {
                Poll::Ready(Closing::Plainly)
            }
            _ => Poll::Pending,
        }
    });
    loop {
        tokio::select! {
            biased;
            closing = &mut both => return closing,
            // Only wakes the flows: each takes over the change by itself.
            still = changed.changed() => if still.is_err() {
                return Closing::Plainly;
            },
        }
    }
}

/// A flow, and how it ended. It is kept until the connection ends: its sockets are dropped together.
struct Way<R, W> {
    flow: Flow<R, W>,
    done: Option<Done>,
}

impl<R: AsyncRead + Socket + Unpin, W: AsyncWrite + Socket + Unpin> Way<R, W> {
    fn poll(&mut self, context: &mut Context<'_>) -> Option<Done> {
        if self.done.is_none()
            && let Poll::Ready(done) = self.flow.poll(context)
        {
            self.done = Some(done);
        }
        self.done
    }
}

#[cfg(test)]
mod tests;
