//! The http guest: weighted steps, feeders, checks, extraction, think time and cookies.
