//! The `walproof` program.

fn main() {}
