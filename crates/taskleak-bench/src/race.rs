//! The time of an operation: contestants run batches of it in turn, round after round.
//!
//! They take turns in short batches because the machine's own pace changes (clock rate, other
//! work on it): within a round it is about the same for all. Each round has another order, so
//! that nobody always comes after the same one. And all of them start anew every few rounds,
//! because where a process happens to have its memory makes a tenth of difference for as long
//! as it lives. What counts is each one's median batch.

use std::time::Duration;

use crate::contestant::Contestant;
use crate::error::Error;
use crate::process::Worker;
use crate::program::Program;
use crate::protocol::Request;
use crate::stats;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// How often new processes are started.
    pub(crate) heats: usize,
    /// The batches of each process.
    pub(crate) rounds: usize,
    /// How long a batch is to take: long against the waking of a worker, short against changes
    /// of the machine's pace.
    pub(crate) batch: Duration,
}

/// Operations of the run that tells how many of them make a batch.
const TRIAL: u32 = 200;
/// Each batch comes after an unmeasured one of this part of it: the worker has slept.
const WARM_UP_PART: u32 = 8;

/// The time of one operation for one contestant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time {
    /// Of the median batch.
    pub(crate) ns: f64,
    /// See [`stats::spread`].
    pub(crate) spread: f64,
}

/// Races contestants at the operation of a program. Returns their times, in their order.
pub(crate) fn race<const CONTESTANTS: usize>(
    contestants: [Contestant; CONTESTANTS],
    program: Program,
    effort: Effort,
) -> Result<[Time; CONTESTANTS], Error> {
    let mut batches = contestants.map(|_| Vec::new());
    for _ in 0..effort.heats {
        let lanes = contestants.iter().zip(&mut batches);
        let lanes = lanes
            .map(|(contestant, batches)| Lane::start(*contestant, program, effort.batch, batches));
        run_heat(&mut lanes.collect::<Result<Vec<_>, _>>()?, effort.rounds)?;
    }
    Ok(batches.map(|batches| Time {
        ns: stats::median(batches.iter().copied()),
        spread: stats::spread(batches),
    }))
}

fn run_heat(lanes: &mut [Lane<'_>], rounds: usize) -> Result<(), Error> {
    let contestants = lanes.len();
    for round in 0..rounds {
        let first = round / 2;
        let step = if round % 2 == 0 { 1 } else { contestants - 1 };
        for turn in 0..contestants {
            lanes[(first + turn * step) % contestants].run_batch()?;
        }
    }
    Ok(())
}

/// One contestant's part of a heat.
struct Lane<'a> {
    worker: Worker,
    program: Program,
    /// Those of a batch.
    operations: u32,
    /// The nanoseconds of one operation, for each batch.
    batches: &'a mut Vec<f64>,
}

impl Lane<'_> {
    fn start(
        contestant: Contestant,
        program: Program,
        batch: Duration,
        batches: &mut Vec<f64>,
    ) -> Result<Lane<'_>, Error> {
        let mut lane = Lane {
            worker: Worker::start(contestant)?,
            program,
            operations: 0,
            batches,
        };
        let operations = batch.as_nanos() as f64 / lane.run(TRIAL)?;
        lane.operations = (operations as u32).max(WARM_UP_PART);
        Ok(lane)
    }

    fn run_batch(&mut self) -> Result<(), Error> {
        self.run(self.operations / WARM_UP_PART)?;
        let ns = self.run(self.operations)?;
        self.batches.push(ns);
        Ok(())
    }

    /// Returns the nanoseconds of one operation.
    fn run(&mut self, operations: u32) -> Result<f64, Error> {
        let program = self.program;
        let took: Duration = self.worker.ask(Request::Run {
            program,
            operations,
        })?;
        Ok(took.as_nanos() as f64 / f64::from(operations))
    }
}
