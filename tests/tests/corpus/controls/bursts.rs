//! Every few seconds ten thousand tasks at once, which all wait for a moment and end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::load::{requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "bursts",
    program,
    suspect: None,
};

const TASKS: usize = 10_000;
const EVERY: Duration = Duration::from_secs(5);

fn program() -> Program {
    Box::pin(async {
        tokio::spawn(burst_again_and_again());
        requests(|_| work()).await;
    })
}

async fn burst_again_and_again() {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tokio::spawn(burst());
    }
}

async fn burst() {
    let start = Arc::new(Semaphore::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        tasks.spawn(run_after_start(Arc::clone(&start)));
    }
    sleep(Duration::from_millis(500)).await;
    start.add_permits(TASKS);
    while tasks.join_next().await.is_some() {}
}

async fn run_after_start(start: Arc<Semaphore>) {
    let _permit = start.acquire().await.expect("it is never closed");
    tokio::task::yield_now().await;
}
