//! The load: requests at a steady rate, and clients of whom some hang up.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

/// Between two requests of a program.
const EVERY: Duration = Duration::from_millis(40);

/// How long a handler waits for others before it gives up.
pub(crate) const PATIENCE: Duration = Duration::from_millis(30);

/// The client has gone before its request was done.
#[derive(Debug)]
pub(crate) struct HungUp;

/// Spawns `handle(n)` for n = 0, 1, … at a steady rate, each in a task of its own, for ever.
/// What it returns is dropped, as where nobody is left to answer to.
///
/// The requests' tasks are children of whoever awaits this, as those of a server's accept loop
/// are: with nothing between, of the `block_on` that runs the program.
pub(crate) async fn requests<F>(handle: impl Fn(u64) -> F)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0.. {
        ticks.tick().await;
        tokio::spawn(handle(n));
    }
}

/// Whether request `n` goes wrong: one in five does.
pub(crate) fn goes_wrong(n: u64) -> bool {
    n % 5 == 4
}

/// What takes a request a few milliseconds.
pub(crate) async fn work() {
    sleep(Duration::from_millis(5)).await;
}

/// Talks to the client of request `n`.
pub(crate) async fn converse(n: u64) -> Result<(), HungUp> {
    work().await;
    if goes_wrong(n) { Err(HungUp) } else { Ok(()) }
}
