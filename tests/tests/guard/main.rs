//! `#[taskleak::test]`, end to end: ignored tests that use it, and tests that run those, each in
//! processes of its own, and look at what comes of it.

mod crates;
mod driver;
mod failures;
mod process;
mod sample;
mod subscribers;
mod unended;
mod whole;
