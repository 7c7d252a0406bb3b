//! What the runner asks for, and the answers.

use std::io::{self, BufRead, Write};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::cases::Course;
use super::clock;
#[cfg(feature = "taskleak")]
use super::crowd::{Crowd, looks, sweeps};
use super::installed::Installed;
#[cfg(feature = "taskleak")]
use super::tests;
use crate::case::Case;
use crate::error::Error;
use crate::protocol::{Request, Took};
use crate::variant::Variant;

/// Answers requests until there are no more.
pub(crate) fn work(variant: Variant) -> Result<(), Error> {
    let mut worker = Worker::new(variant)?;
    for line in io::stdin().lock().lines() {
        let request = serde_json::from_str(&line.map_err(Error::Runner)?);
        let request = request.map_err(|error| Error::Runner(error.into()))?;
        let answer = worker.answer(request).map_err(|error| error.to_string());
        writeln!(io::stdout(), "{}", json!(answer)).map_err(Error::Runner)?;
    }
    Ok(())
}

struct Worker {
    installed: Installed,
    /// The one that runs, and what it runs on.
    case: Option<(Case, Runtime)>,
    /// The tasks that programs have made so far.
    spawned: u64,
    #[cfg(feature = "taskleak")]
    crowd: Option<Crowd>,
}

impl Worker {
    fn new(variant: Variant) -> Result<Worker, Error> {
        Ok(Worker {
            installed: Installed::new(variant)?,
            case: None,
            spawned: 0,
            #[cfg(feature = "taskleak")]
            crowd: None,
        })
    }

    fn answer(&mut self, request: Request) -> Result<Value, Error> {
        Ok(match request {
            Request::Run {
                case,
                operations,
                work,
            } => json!(self.run(
                case,
                Course {
                    operations,
                    work,
                    rests: false,
                },
            )?),
            Request::Serve { case } => {
                let runtime = self.installed.runtime(case)?;
                let address = self.installed.serve(case, &runtime)?;
                self.case = Some((case, runtime));
                json!(address)
            }
            Request::CpuTime => json!(clock::process()),
            Request::Check { case, served } => {
                self.check(case, served)?;
                json!(())
            }
            #[cfg(feature = "taskleak")]
            Request::Crowd { tasks } => {
                let (crowd, bytes_each) = Crowd::gather(tasks)?;
                self.crowd = Some(crowd);
                json!(bytes_each)
            }
            #[cfg(feature = "taskleak")]
            Request::CheckCrowd => {
                let (crowd, detector) = self.watched()?;
                json!(crowd.settle(detector)?)
            }
            #[cfg(feature = "taskleak")]
            Request::Look { look, times } => {
                let (crowd, detector) = self.watched()?;
                json!(looks::measure(crowd, detector, look, times)?)
            }
            #[cfg(feature = "taskleak")]
            Request::Sweeps { sweeps } => {
                let (crowd, detector) = self.watched()?;
                json!(sweeps::measure(crowd, detector, sweeps)?)
            }
            #[cfg(feature = "taskleak")]
            Request::FirstAnswer => {
                let (crowd, detector) = self.watched()?;
                json!(looks::first_answer(crowd, detector)?)
            }
            #[cfg(feature = "taskleak")]
            Request::Tests {
                flavor,
                body,
                times,
            } => json!(tests::measure(flavor, body, times)),
            #[cfg(not(feature = "taskleak"))]
            _ => return Err(Error::OtherBuild(self.installed.variant.name())),
        })
    }

    /// Times a run of a program.
    fn run(&mut self, case: Case, course: Course) -> Result<Took, Error> {
        let runtime = match self.case.take() {
            Some((same, runtime)) if same == case => runtime,
            _ => self.installed.runtime(case)?,
        };
        let (start, cpu_start) = (Instant::now(), clock::process());
        runtime.block_on(self.installed.run(case, course));
        let took = Took {
            wall: start.elapsed(),
            cpu: clock::process() - cpu_start,
        };
        self.case = Some((case, runtime));
        self.spawned += case.tasks(course.operations.into());
        Ok(took)
    }

    fn check(&mut self, case: Case, served: u64) -> Result<(), Error> {
        if case.is_server() {
            return self.installed.check_at_rest(case, case.tasks(served));
        }
        let course = Course {
            operations: CHECKED,
            work: 0,
            rests: true,
        };
        self.installed.check(case, course, self.spawned)
    }

    /// The crowd, and the detector that sees it.
    #[cfg(feature = "taskleak")]
    fn watched(&mut self) -> Result<(&mut Crowd, &taskleak::Detector), Error> {
        let crowd = self.crowd.as_mut().ok_or(Error::NoCrowd)?;
        let detector = self.installed.detector.as_ref();
        Ok((crowd, detector.ok_or(Error::NoDetector)?))
    }
}

/// Operations before a program rests.
const CHECKED: u32 = 2_000;
