//! The code under test of `tests/tests/guard`: small services, each of which can be used so that
//! it leaks a task, and so that it doesn't. One file for each leak of the design's list.
//!
//! It knows nothing of taskleak, as the code of those who use it. What keeps the peer of a leaked
//! task alive is a static or a service that its test keeps, so that the leak outlives the test.

pub mod accounts;
pub mod backend;
pub mod crew;
pub mod feed;
pub mod gateway;
pub mod heartbeat;
pub mod inbox;
pub mod journal;
pub mod ledger;
pub mod outbox;
pub mod replies;
pub mod search;
pub mod settings;
pub mod uploads;
pub mod worker;
