//! A worker process: installs its contestant, and then does what its parent asks.

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};
use taskleak::Detector;
use tokio::runtime::Runtime;

use crate::contestant::Contestant;
use crate::crowd::Crowd;
use crate::error::Error;
use crate::protocol::Request;
use crate::{looks, sweeps, tests};

/// Answers requests until there are no more.
pub(crate) fn work(contestant: Contestant) -> Result<(), Error> {
    let mut worker = Worker::new(contestant)?;
    for line in io::stdin().lock().lines() {
        let request = serde_json::from_str(&line.map_err(Error::Parent)?);
        let request = request.map_err(|error| Error::Parent(error.into()))?;
        let answer = worker.answer(request).map_err(|error| error.to_string());
        writeln!(io::stdout(), "{}", json!(answer)).map_err(Error::Parent)?;
    }
    Ok(())
}

struct Worker {
    detector: Option<Detector>,
    /// What programs run on.
    runtime: Runtime,
    crowd: Option<Crowd>,
}

impl Worker {
    fn new(contestant: Contestant) -> Result<Worker, Error> {
        Ok(Worker {
            detector: contestant.install()?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .map_err(Error::Runtime)?,
            crowd: None,
        })
    }

    fn answer(&mut self, request: Request) -> Result<Value, Error> {
        Ok(match request {
            Request::Run {
                program,
                operations,
            } => json!(program.run(&self.runtime, operations)),
            Request::Crowd { tasks } => {
                let (crowd, bytes_each) = Crowd::gather(tasks)?;
                self.crowd = Some(crowd);
                json!(bytes_each)
            }
            Request::Check => {
                let (crowd, detector) = self.watched()?;
                json!(crowd.settle(detector)?)
            }
            Request::Look { look, times } => {
                let (crowd, detector) = self.watched()?;
                json!(looks::measure(crowd, detector, look, times)?)
            }
            Request::Sweeps { sweeps } => {
                let (crowd, detector) = self.watched()?;
                json!(sweeps::measure(crowd, detector, sweeps)?)
            }
            Request::FirstAnswer => {
                let (crowd, detector) = self.watched()?;
                json!(looks::first_answer(crowd, detector)?)
            }
            Request::Tests {
                flavor,
                body,
                times,
            } => json!(tests::measure(flavor, body, times)),
        })
    }

    /// The crowd, and the detector that sees it.
    fn watched(&mut self) -> Result<(&mut Crowd, &Detector), Error> {
        let crowd = self.crowd.as_mut().ok_or(Error::NoCrowd)?;
        let detector = self.detector.as_ref().ok_or(Error::NoDetector)?;
        Ok((crowd, detector))
    }
}
