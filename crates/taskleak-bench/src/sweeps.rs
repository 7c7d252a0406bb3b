//! What a sweep of the watchdog costs: the processor time of its thread (Linux).

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use taskleak::Detector;

use crate::error::Error;

/// The name that the thread has; the kernel keeps 15 bytes of it.
const THREAD: &str = "taskleak-watchd";

/// The watchdog sweeps so often if it is not told otherwise.
const PERIOD: Duration = Duration::from_secs(1);
const GIVE_UP: Duration = Duration::from_secs(60);

/// The time of each of so many sweeps, once the watchdog has found that `stuck` tasks are.
pub(crate) fn measure(
    detector: &Detector,
    stuck: u64,
    sweeps: usize,
) -> Result<Vec<Duration>, Error> {
    let give_up = Instant::now() + GIVE_UP;
    let all = format!("stalled: {stuck} tasks ");
    while !has_said(detector, &all) {
        if Instant::now() > give_up {
            return Err(Error::NoVerdict { stuck });
        }
        thread::sleep(PERIOD);
    }
    let file = statistics().map_err(Error::Watchdog)?;
    let mut before = processor_time(&file)?;
    let times = (0..sweeps).map(|_| {
        thread::sleep(PERIOD);
        let now = processor_time(&file)?;
        let took = now.saturating_sub(before);
        before = now;
        Ok(took)
    });
    times.collect()
}

fn has_said(detector: &Detector, begin: &str) -> bool {
    let groups = detector.snapshot().groups;
    let mut evidence = groups
        .iter()
        .filter_map(|group| group.verdict.as_ref())
        .flat_map(|verdict| &verdict.evidence);
    evidence.any(|fact| fact.starts_with(begin))
}

/// The file of the watchdog's thread in which the kernel counts its time.
fn statistics() -> io::Result<PathBuf> {
    for thread in fs::read_dir("/proc/self/task")? {
        let thread = thread?.path();
        if fs::read_to_string(thread.join("comm"))?.trim() == THREAD {
            return Ok(thread.join("schedstat"));
        }
    }
    Err(ErrorKind::NotFound.into())
}

fn processor_time(schedstat: &PathBuf) -> Result<Duration, Error> {
    let text = fs::read_to_string(schedstat).map_err(Error::Watchdog)?;
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    let nanoseconds = nanoseconds.ok_or_else(|| Error::Watchdog(ErrorKind::InvalidData.into()))?;
    Ok(Duration::from_nanos(nanoseconds))
}
