//! The crowd: tasks that wait for ever on a runtime of two workers, and snapshots of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use taskleak::Detector;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::protocol::{Gaps, Snapshots};
use crate::resident;

const WORKERS: usize = 2;
/// Tasks that are started before anything is measured, so that what is made but once is there.
const VANGUARD: usize = 1_000;
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Tasks of which each waits for a message that nobody sends.
pub(crate) struct Crowd {
    runtime: Runtime,
    tasks: usize,
}

impl Crowd {
    /// Starts the tasks. Returns with them the bytes by which resident memory grew for each.
    pub(crate) fn gather(tasks: usize) -> Result<(Crowd, f64), Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .build()
            .map_err(Error::Runtime)?;
        start(&runtime, VANGUARD);
        let before = resident::bytes()?;
        start(&runtime, tasks);
        let grown = resident::bytes()?.saturating_sub(before);
        let crowd = Crowd { runtime, tasks };
        Ok((crowd, grown as f64 / tasks as f64))
    }

    /// How many there are, with the vanguard.
    pub(crate) fn tasks(&self) -> u64 {
        (VANGUARD + self.tasks) as u64
    }

    /// Takes a first snapshot, so many further ones, and as many while a task watches for pauses.
    pub(crate) fn snapshots(
        &self,
        detector: &Detector,
        further: usize,
    ) -> Result<Snapshots, Error> {
        let first = self.snapshot(detector)?;
        let times = (0..further).map(|_| self.snapshot(detector));
        let times = times.collect::<Result<_, Error>>()?;
        let watch = PauseWatch::start(&self.runtime);
        let watched = (0..further).map(|_| {
            watch.longest_gap();
            let took = self.snapshot(detector)?;
            let snapshot = watch.longest_gap();
            spin(took);
            let busy_thread = watch.longest_gap();
            thread::sleep(took);
            Ok(Gaps {
                snapshot,
                busy_thread,
                neither: watch.longest_gap(),
            })
        });
        Ok(Snapshots {
            first,
            further: times,
            watched: watched.collect::<Result<_, Error>>()?,
        })
    }

    /// Times a snapshot.
    fn snapshot(&self, detector: &Detector) -> Result<Duration, Error> {
        let start = Instant::now();
        let snapshot = detector.snapshot();
        let took = start.elapsed();
        let (seen, started) = (snapshot.totals.tasks, self.tasks());
        if seen < started {
            return Err(Error::TooFew { seen, started });
        }
        Ok(took)
    }
}

/// Starts so many tasks that wait for ever, from a task, and returns when they wait.
fn start(runtime: &Runtime, tasks: usize) {
    let begun = Arc::new(AtomicUsize::new(0));
    let to_begin = Arc::clone(&begun);
    runtime.spawn(async move {
        for _ in 0..tasks {
            tokio::spawn(wait(Arc::clone(&to_begin)));
        }
    });
    // The last ones may be about to wait still: that is one task for each worker.
    while begun.load(Ordering::Relaxed) < tasks {
        thread::sleep(LOOK_EVERY);
    }
}

async fn wait(begun: Arc<AtomicUsize>) {
    begun.fetch_add(1, Ordering::Relaxed);
    drop(begun);
    // The task holds the sender itself, so the channel never closes.
    let (_sender, receiver) = oneshot::channel::<()>();
    let _never = receiver.await;
}

/// Keeps a thread of its own busy, as a snapshot does.
fn spin(time: Duration) {
    let start = Instant::now();
    thread::scope(|threads| {
        threads.spawn(|| while start.elapsed() < time {});
    });
}

/// A task that does nothing but yield, and notes how long it has to wait for its next turn.
///
/// One and no more, so that with the thread of a snapshot there are two that run: on two cores a
/// third would be kept waiting by the kernel, whatever the detector does.
struct PauseWatch {
    longest_ns: Arc<AtomicU64>,
}

impl PauseWatch {
    fn start(runtime: &Runtime) -> PauseWatch {
        let longest_ns = Arc::new(AtomicU64::new(0));
        let longest = Arc::clone(&longest_ns);
        runtime.spawn(async move {
            let mut turn = Instant::now();
            loop {
                tokio::task::yield_now().await;
                let gap = turn.elapsed();
                turn += gap;
                longest.fetch_max(gap.as_nanos() as u64, Ordering::Relaxed);
            }
        });
        PauseWatch { longest_ns }
    }

    /// The longest wait for a turn since this was last asked.
    fn longest_gap(&self) -> Duration {
        Duration::from_nanos(self.longest_ns.swap(0, Ordering::Relaxed))
    }
}
