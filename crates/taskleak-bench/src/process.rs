//! A worker process, seen from its parent.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;

use crate::contestant::Contestant;
use crate::error::Error;
use crate::protocol::Request;

/// A process of this binary that runs one contestant. Dropping it ends the process.
pub(crate) struct Worker {
    contestant: Contestant,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    pub(crate) fn start(contestant: Contestant) -> Result<Worker, Error> {
        let program = env::current_exe().map_err(|cause| Error::Start {
            worker: contestant.name(),
            cause,
        })?;
        Worker::start_program(&program, contestant)
    }

    /// A process of another build of this program.
    pub(crate) fn start_program(program: &Path, contestant: Contestant) -> Result<Worker, Error> {
        let fail = |cause| Error::Start {
            worker: contestant.name(),
            cause,
        };
        let mut child = Command::new(program)
            .args(["--worker", contestant.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(fail)?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both are piped");
        };
        Ok(Worker {
            contestant,
            child,
            requests,
            answers: BufReader::new(answers),
        })
    }

    /// Has the worker do a piece of work, and waits for it.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, request: Request) -> Result<T, Error> {
        let answer: Result<T, String> = self.exchange(request).map_err(|cause| Error::Talk {
            worker: self.contestant.name(),
            cause,
        })?;
        answer.map_err(|why| Error::Worker {
            worker: self.contestant.name(),
            why,
        })
    }

    fn exchange<T: DeserializeOwned>(&mut self, request: Request) -> io::Result<T> {
        let mut line = serde_json::to_string(&request)?;
        line.push('\n');
        self.requests.write_all(line.as_bytes())?;
        line.clear();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Worker {
    /// Killed, because ending a million tasks in order takes a while and nobody looks.
    fn drop(&mut self) {
        let _already_over = self.child.kill();
        let _status = self.child.wait();
    }
}
