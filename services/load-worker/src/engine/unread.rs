//! Transports whose sockets hold more than is read at once: they are read on from in the next turn, so that a peer that
//! writes faster than it is read keeps nobody waiting.

use super::slots::Key;
use super::thread::LoadThread;

impl LoadThread {
    /// Reads on where more may lie in a socket than was read at once.
    pub(super) fn read_unread(&mut self) {
        let known = self.unread.len();
        for at in 0..known {
            let Some(key) = self.unread.get(at).copied() else { break };
            let Some(transport) = self.transports.get_mut(key) else { continue };
            transport.unread = false;
            if transport.paused {
                // Its guest comes first; then it is read until the socket is empty.
                continue;
            }
            let closing = transport.closing;
            let now = self.clock.now();
            self.receive(key, closing, now);
        }
        self.unread.drain(..known);
    }

    pub(super) fn leave_unread(&mut self, key: Key, closing: bool) {
        let Some(transport) = self.transports.get_mut(key) else { return };
        transport.closing |= closing;
        if !transport.unread {
            transport.unread = true;
            self.unread.push(key);
        }
    }
}
