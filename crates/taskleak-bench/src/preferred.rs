//! Threads that the kernel runs before all others (`SCHED_FIFO`; Linux, with the right to).
//!
//! What is late then is not late by the kernel's choice, which on a machine of two cores keeps a
//! thread waiting for some milliseconds as soon as three want to run, whoever the third is. And a
//! lock that the detector held would show more, not less: it may be off its core for longer.

use std::process::{Command, Stdio};

use crate::error::Error;
use crate::processor;

/// The threads are as usual again when this is dropped.
pub(crate) struct Preferred {
    threads: Vec<String>,
}

impl Preferred {
    /// Prefers the threads of this name. `None` without the right to.
    pub(crate) fn threads(name: &str) -> Result<Option<Preferred>, Error> {
        let threads = processor::threads(name).map_err(Error::Processor)?;
        let preferred = Preferred { threads };
        let all = preferred.schedule(&["--fifo", "--pid", "1"]);
        Ok(all.then_some(preferred))
    }

    /// Whether it could be done for all of them.
    fn schedule(&self, how: &[&str]) -> bool {
        let mut statuses = self.threads.iter().map(|thread| {
            let mut chrt = Command::new("chrt");
            chrt.args(how).arg(thread).stderr(Stdio::null()).status()
        });
        statuses.all(|status| status.is_ok_and(|status| status.success()))
    }
}

impl Drop for Preferred {
    fn drop(&mut self) {
        self.schedule(&["--other", "--pid", "0"]);
    }
}
