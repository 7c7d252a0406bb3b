//! A runtime at work: two tasks that send messages there and back, for a third of a core, and a
//! ticker that notes how late it comes.
//!
//! A third, because an answer's thread is to have a core of the two: where three threads want to
//! run, the kernel keeps one waiting, whatever the detector does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

const PERIOD: Duration = Duration::from_millis(1);
/// How long the pair sends messages before it sleeps, which takes one to two milliseconds.
const BURST: Duration = Duration::from_micros(700);

/// How many tasks it is.
pub(crate) const TASKS: u64 = 3;

pub(crate) struct AtWork {
    ticks: Arc<Ticks>,
}

#[derive(Default)]
struct Ticks {
    count: AtomicU64,
    longest_delay_ns: AtomicU64,
}

impl AtWork {
    pub(crate) fn start(runtime: &Runtime) -> AtWork {
        let ticks = Arc::new(Ticks::default());
        runtime.spawn(tick(Arc::clone(&ticks)));
        let (to_echo, from_caller) = mpsc::channel(1);
        let (to_caller, from_echo) = mpsc::channel(1);
        runtime.spawn(echo(from_caller, to_caller));
        runtime.spawn(call(to_echo, from_echo));
        AtWork { ticks }
    }

    /// Does `work`, and returns by how much the latest tick was late meanwhile.
    pub(crate) fn longest_delay<T>(&self, work: impl FnOnce() -> T) -> (T, Duration) {
        self.ticks.longest_delay_ns.store(0, Ordering::Relaxed);
        let done = work();
        // The tick that was due within is only known once it has come.
        let count = || self.ticks.count.load(Ordering::Relaxed);
        let at_end = count();
        while count() < at_end + 2 {
            thread::sleep(PERIOD);
        }
        let longest = self.ticks.longest_delay_ns.load(Ordering::Relaxed);
        (done, Duration::from_nanos(longest))
    }
}

async fn tick(ticks: Arc<Ticks>) {
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    period.tick().await;
    let mut last = Instant::now();
    loop {
        period.tick().await;
        let since = last.elapsed();
        last += since;
        let delay = since.saturating_sub(PERIOD).as_nanos() as u64;
        ticks.longest_delay_ns.fetch_max(delay, Ordering::Relaxed);
        ticks.count.fetch_add(1, Ordering::Relaxed);
    }
}

async fn call(to: mpsc::Sender<()>, mut from: mpsc::Receiver<()>) {
    loop {
        let start = Instant::now();
        while start.elapsed() < BURST {
            let _never_closed = to.send(()).await;
            from.recv().await;
        }
        sleep(PERIOD).await;
    }
}

async fn echo(mut from: mpsc::Receiver<()>, to: mpsc::Sender<()>) {
    while from.recv().await.is_some() {
        let _never_closed = to.send(()).await;
    }
}
