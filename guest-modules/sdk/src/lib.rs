//! What a scenario author builds on: an ordinary Rust trait over gauntlet:scenario.
