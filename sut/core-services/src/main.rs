//! The reference target.
fn main() {}
