//! The time of an operation: variants run batches of it in turn, round after round.
//!
//! They take turns in short batches because the machine's own pace changes (clock rate, other
//! work on it): within a round it is about the same for all. Each round has another order, so
//! that nobody always comes after the same one. And all of them start anew every few rounds,
//! because where a process happens to have its memory makes a tenth of difference for as long
//! as it lives. What counts is each one's median batch, and the median of what its batches are to
//! those of the base in the same round.
//!
//! After the first heat each process proves that what it recorded is right.

use std::fmt;
use std::time::Duration;

use super::error::Error;
use super::load::Load;
use super::process::Worker;
use super::progress::Progress;
use super::stats;
use super::units;
use crate::case::Case;
use crate::protocol::{Request, Took};
use crate::variant::Variant;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// How often new processes are started.
    pub(crate) heats: usize,
    /// The batches of each process.
    pub(crate) rounds: usize,
    pub(crate) batch: Batch,
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (heats, rounds) = (self.heats, self.rounds);
        write!(f, "{heats} × {rounds} batches ")?;
        match self.batch {
            Batch::Lasting(time) => write!(f, "of {}", units::time(units::ns(time))),
            Batch::Of(operations) => {
                write!(f, "of {} operations", units::count(operations as usize))
            }
        }
    }
}

/// How much is done in one turn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Batch {
    /// As many operations as take about so long: long against the waking of a process, short
    /// against changes of the machine's pace.
    Lasting(Duration),
    /// So many operations.
    Of(u32),
}

/// Operations of the run that tells how many of them make a batch.
const TRIAL: u32 = 200;
/// Each batch comes after an unmeasured one of this part of it: the process has slept.
const WARM_UP_PART: u32 = 8;

/// The nanoseconds of one operation, for each batch of a variant.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) wall: Vec<f64>,
    pub(crate) cpu: Vec<f64>,
}

/// A case, as it is raced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    pub(crate) case: Case,
    /// Steps of work in each operation of a case that works.
    pub(crate) work: u32,
}

/// Races variants at a case. Returns their times, in their order.
pub(crate) fn race(
    variants: &[Variant],
    course: Course,
    effort: Effort,
    progress: &Progress,
) -> Result<Vec<Times>, Error> {
    let mut times: Vec<Times> = variants.iter().map(|_| Times::default()).collect();
    for heat in 0..effort.heats {
        let mut lanes = Vec::new();
        for (variant, times) in variants.iter().zip(&mut times) {
            lanes.push(Lane::start(*variant, course, effort.batch, times)?);
        }
        for round in 0..effort.rounds {
            for turn in order(round, lanes.len()) {
                lanes[turn].in_turn(Lane::run_batch)?;
            }
            progress.step();
        }
        if heat == 0 {
            for lane in &mut lanes {
                lane.in_turn(Lane::check)?;
            }
        }
    }
    Ok(times)
}

/// Who runs when in a round: another one first, and every other round the other way around.
fn order(round: usize, lanes: usize) -> impl Iterator<Item = usize> {
    let step = if round.is_multiple_of(2) {
        1
    } else {
        lanes - 1
    };
    (0..lanes).map(move |turn| (round / 2 + turn * step) % lanes)
}

/// The steps of work that make an operation of `case` take so long under `variant`.
pub(crate) fn calibrate(case: Case, variant: Variant, operation: Duration) -> Result<u32, Error> {
    const OPERATIONS: u32 = 20_000;
    const STEPS: u32 = 500;
    const TIMES: usize = 9;
    let mut worker = Worker::start(variant)?;
    let mut ns = |work| -> Result<f64, Error> {
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let operations = OPERATIONS;
            let took: Took = worker.ask(Request::Run {
                case,
                operations,
                work,
            })?;
            // Of the processor, because other work on the machine must not count.
            times.push(took.cpu.as_nanos() as f64 / f64::from(operations));
        }
        Ok(stats::median(times))
    };
    let (without, with) = (ns(0)?, ns(STEPS)?);
    let missing = operation.as_nanos() as f64 - without;
    Ok((missing / (with - without) * f64::from(STEPS)) as u32)
}

/// One variant's part of a heat.
struct Lane<'a> {
    variant: Variant,
    worker: Worker,
    course: Course,
    /// Of a case that serves.
    load: Option<Load>,
    /// Those of a batch.
    operations: u32,
    times: &'a mut Times,
}

impl Lane<'_> {
    fn start(
        variant: Variant,
        course: Course,
        batch: Batch,
        times: &mut Times,
    ) -> Result<Lane<'_>, Error> {
        let mut worker = Worker::start(variant)?;
        let case = course.case;
        let load = if case.is_server() {
            Some(Load::connect(worker.ask(Request::Serve { case })?)?)
        } else {
            None
        };
        let mut lane = Lane {
            variant,
            worker,
            course,
            load,
            operations: 0,
            times,
        };
        let operations = match batch {
            Batch::Of(operations) => operations,
            Batch::Lasting(time) => {
                let trial = lane.whole(TRIAL);
                // The first registers callsites, and meets every stack for the first time.
                lane.run(trial)?;
                let ns = lane.run(trial)?.wall.as_nanos() as f64 / f64::from(trial);
                (time.as_nanos() as f64 / ns) as u32
            }
        };
        lane.operations = operations.max(WARM_UP_PART);
        Ok(lane)
    }

    fn run_batch(&mut self) -> Result<(), Error> {
        self.run(self.whole(self.operations / WARM_UP_PART))?;
        let operations = self.whole(self.operations);
        let took = self.run(operations)?;
        let each = |time: Duration| time.as_nanos() as f64 / f64::from(operations);
        self.times.wall.push(each(took.wall));
        self.times.cpu.push(each(took.cpu));
        Ok(())
    }

    /// About so many, as the case can do them.
    fn whole(&self, operations: u32) -> u32 {
        operations.next_multiple_of(self.course.case.grain())
    }

    fn run(&mut self, operations: u32) -> Result<Took, Error> {
        let Some(load) = &mut self.load else {
            return self.worker.ask(Request::Run {
                case: self.course.case,
                operations,
                work: self.course.work,
            });
        };
        let before: Duration = self.worker.ask(Request::CpuTime)?;
        let wall = load.run(operations)?;
        let after: Duration = self.worker.ask(Request::CpuTime)?;
        Ok(Took {
            wall,
            cpu: after.saturating_sub(before),
        })
    }

    fn check(&mut self) -> Result<(), Error> {
        self.worker.ask(Request::Check {
            case: self.course.case,
            served: self.load.as_ref().map_or(0, Load::answered),
        })
    }

    fn in_turn(&mut self, turn: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        let (case, variant) = (self.course.case.name(), self.variant.name());
        turn(self).map_err(|cause| Error::Case {
            case,
            variant,
            cause: Box::new(cause),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn each_runs_once_a_round_and_nobody_is_always_after_the_same() {
        let check = |round, expected: [usize; 3]| {
            assert_eq!(order(round, 3).collect::<Vec<_>>(), expected, "{round}");
        };
        check(0, [0, 1, 2]);
        check(1, [0, 2, 1]);
        check(2, [1, 2, 0]);
        check(3, [1, 0, 2]);
    }
}
