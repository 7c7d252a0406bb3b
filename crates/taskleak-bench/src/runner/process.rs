//! A contestant's process, seen from the runner.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::builds::Build;
use super::error::Error;
use crate::protocol::Request;
use crate::variant::Variant;

/// A process that runs one variant. Dropping it ends the process.
pub(crate) struct Worker {
    variant: Variant,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Where it may write; goes with it.
    _directory: TempDir,
}

impl Worker {
    pub(crate) fn start(variant: Variant) -> Result<Worker, Error> {
        Worker::start_of(Build::of(variant), variant)
    }

    /// One of another build than the variant's usual.
    pub(crate) fn start_of(build: Build, variant: Variant) -> Result<Worker, Error> {
        let fail = |cause| Error::Start {
            variant: variant.name(),
            cause,
        };
        let directory = TempDir::new().map_err(fail)?;
        let mut child = Command::new(build.program())
            .arg(variant.name())
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(fail)?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both are piped");
        };
        Ok(Worker {
            variant,
            child,
            requests,
            answers: BufReader::new(answers),
            _directory: directory,
        })
    }

    /// Has it do a piece of work, and waits for it.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, request: Request) -> Result<T, Error> {
        let answer: Result<T, String> = self.exchange(request).map_err(|cause| Error::Talk {
            variant: self.variant.name(),
            cause,
        })?;
        answer.map_err(|why| Error::Contestant {
            variant: self.variant.name(),
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
