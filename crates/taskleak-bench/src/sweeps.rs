//! What a sweep of the watchdog costs: the processor time of its thread (Linux), and the delay of
//! a ticker.

use std::thread;
use std::time::{Duration, Instant};

use taskleak::{Detector, Wait};

use crate::at_work::AtWork;
use crate::crowd::Crowd;
use crate::error::Error;
use crate::processor;
use crate::protocol::{Sweeps, Swept};

/// The name that the thread has; the kernel keeps 15 bytes of it.
const THREAD: &str = "taskleak-watchd";

/// The watchdog sweeps so often if it is not told otherwise.
const PERIOD: Duration = Duration::from_secs(1);
/// Long against a sweep, short against its period.
const WINDOW: Duration = Duration::from_millis(20);
const GIVE_UP: Duration = Duration::from_secs(60);

/// Looks at so many sweeps, once the watchdog has found that all tasks are stalled that can be.
pub(crate) fn measure(
    crowd: &mut Crowd,
    detector: &Detector,
    sweeps: usize,
) -> Result<Sweeps, Error> {
    // The tasks at work are judged too, so they are there before the verdicts are.
    let at_work = crowd.work();
    wait_for_verdicts(detector, crowd.expected().receivers())?;
    let as_usual = watch(&at_work, sweeps)?;
    let preferred = match crowd.prefer()? {
        Some(_for_now) => Some(watch(&at_work, sweeps)?),
        None => None,
    };
    Ok(Sweeps {
        as_usual,
        preferred,
    })
}

fn watch(at_work: &AtWork, sweeps: usize) -> Result<Swept, Error> {
    let mut seen = Swept::default();
    let give_up = Instant::now() + PERIOD * sweeps as u32 + GIVE_UP;
    let mut before = used()?;
    // The sweep that goes on, which may reach into the next window.
    let mut sweep = Sweep::default();
    let mut quiet = None;
    while seen.processor.len() < sweeps {
        let ((), delay) = at_work.longest_delay(|| thread::sleep(WINDOW));
        let now = used()?;
        let used = now.saturating_sub(before);
        before = now;
        // A sweep that goes on when this begins to look is not counted: it has no window before.
        if !used.is_zero() && quiet.is_some() {
            sweep.processor += used;
            sweep.delay = sweep.delay.max(delay);
        } else if used.is_zero() {
            if !sweep.processor.is_zero() {
                seen.processor.push(sweep.processor);
                seen.delays.push(sweep.delay);
                seen.quiet.extend(quiet);
                sweep = Sweep::default();
            }
            quiet = Some(delay);
        }
        if Instant::now() > give_up {
            return Err(Error::NoSweep { sweeps });
        }
    }
    Ok(seen)
}

#[derive(Default)]
struct Sweep {
    processor: Duration,
    delay: Duration,
}

/// Those that receive count after a second: by then each task has been placed in the census.
fn wait_for_verdicts(detector: &Detector, receivers: u64) -> Result<(), Error> {
    let give_up = Instant::now() + GIVE_UP;
    loop {
        let groups = detector.snapshot().groups;
        let receive = groups
            .iter()
            .filter(|group| group.wait == [Wait::ChanReceive]);
        let verdicts = receive.filter_map(|group| group.verdict.as_ref());
        if verdicts.map(|verdict| verdict.tasks).sum::<u64>() >= receivers {
            return Ok(());
        }
        if Instant::now() > give_up {
            return Err(Error::NoVerdict { stuck: receivers });
        }
        thread::sleep(PERIOD);
    }
}

fn used() -> Result<Duration, Error> {
    processor::of_thread(THREAD).map_err(Error::Processor)
}
