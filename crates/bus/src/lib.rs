//! How services talk: broadcast, command and record, in process or over NATS.
