//! Snapshots of tokio tasks as inert data, and everything that is done with them.
//!
//! This crate is pure: it knows no tokio, does no I/O, reads no clock and holds no unsafe code.

#![forbid(unsafe_code)]

pub mod allow;
pub mod census;
#[cfg(test)]
mod fake;
pub mod flags;
mod frames;
pub mod group;
mod hide;
pub mod leaks;
mod name;
pub mod noise;
pub mod query;
pub mod raw;
pub mod render;
pub mod resolve;
pub mod rules;
pub mod snapshot;
mod tasks;
mod thresholds;
pub mod trend;
pub mod verdict;
mod wait;
mod watched;
mod words;
