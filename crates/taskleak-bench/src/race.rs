//! The time of an operation: contestants run batches of it in turn, round after round.
//!
//! They take turns in short batches because the machine's own pace changes (clock rate, other
//! work on it): within a round it is about the same for all. Each round begins with another one,
//! so that nobody always follows the same. What is reported is each one's median batch, and the
//! ratio of that to the baseline's.

use std::time::Duration;

use crate::error::Error;
use crate::process::Worker;
use crate::program::Program;
use crate::protocol::Request;
use crate::stats;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// How long a batch is to take: long against the waking of the worker, short against what
    /// changes the machine's pace.
    pub(crate) batch: Duration,
}

/// Operations of the run that tells how many there are in a batch.
const TRIAL: u32 = 1_000;
/// Each batch comes after an unmeasured one of this part of it: the worker has slept.
const WARM_UP_PART: u32 = 8;

/// The time of one operation for one contestant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    pub(crate) median_ns: f64,
    /// See [`stats::spread`].
    pub(crate) spread: f64,
}

/// Races contestants at the operation of a program. Returns their times, in their order.
pub(crate) fn race<const CONTESTANTS: usize>(
    workers: &mut [Worker; CONTESTANTS],
    program: Program,
    effort: Effort,
) -> Result<[Time; CONTESTANTS], Error> {
    let lane = |worker| Lane {
        worker,
        program,
        operations: TRIAL,
        batches: Vec::new(),
    };
    let mut lanes = workers.each_mut().map(lane);
    for lane in &mut lanes {
        lane.size_batches(effort.batch)?;
    }
    for round in 0..effort.rounds {
        for turn in 0..CONTESTANTS {
            lanes[(round + turn) % CONTESTANTS].run_batch()?;
        }
    }
    Ok(lanes.map(Lane::time))
}

/// One contestant's part of a race.
struct Lane<'a> {
    worker: &'a mut Worker,
    program: Program,
    /// Those of a batch.
    operations: u32,
    batches: Vec<Duration>,
}

impl Lane<'_> {
    fn size_batches(&mut self, batch: Duration) -> Result<(), Error> {
        let trial = self.run(TRIAL)?.as_secs_f64();
        let operations = batch.as_secs_f64() / trial * f64::from(TRIAL);
        self.operations = (operations as u32).max(WARM_UP_PART);
        Ok(())
    }

    fn run_batch(&mut self) -> Result<(), Error> {
        self.run(self.operations / WARM_UP_PART)?;
        let batch = self.run(self.operations)?;
        self.batches.push(batch);
        Ok(())
    }

    fn run(&mut self, operations: u32) -> Result<Duration, Error> {
        self.worker.ask(Request::Run {
            program: self.program,
            operations,
        })
    }

    fn time(self) -> Time {
        let median = stats::median(self.batches.iter().copied());
        Time {
            median_ns: median.as_secs_f64() * 1e9 / f64::from(self.operations),
            spread: stats::spread(self.batches),
        }
    }
}
