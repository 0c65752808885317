//! Reference system under test: a small HTTP service with knobs for latency, errors and stalls.
