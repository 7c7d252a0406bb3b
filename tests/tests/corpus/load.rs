//! The load: requests at a steady rate, each in a task of its own.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// Between two requests.
const EVERY: Duration = Duration::from_millis(40);

/// Spawns `handle(n)` for n = 0, 1, … at a steady rate, each in a task of its own, for ever.
///
/// The requests' own tasks are children of whoever awaits this, as those of a server's accept
/// loop are; with nothing between, of the `block_on` that runs the program.
pub(crate) async fn requests<F>(handle: impl Fn(u64) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0.. {
        ticks.tick().await;
        tokio::spawn(handle(n));
    }
}
