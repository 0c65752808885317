//! The load engine: virtual users, connections, guests and timing.
