//! Processor time of this process, and of which of its threads (Linux).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use crate::contestant::clock;
use crate::error::Error;

/// With this begin the names of the detector's threads.
const DETECTOR: &str = "taskleak";
const THREADS: &str = "/proc/self/task";
const OWN: &str = "/proc/thread-self";

/// What was used since a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    /// By the process, without the thread that measures: it is the client of an answer.
    pub(crate) process: Duration,
    /// By the detector's threads, those too that came and went. The kernel knows what a running
    /// thread uses only by the tick, so this is right to a few milliseconds.
    pub(crate) detector: Duration,
}

/// A moment from which processor time is counted.
pub(crate) struct Since {
    threads: BTreeMap<String, Duration>,
    process: Duration,
    own: Duration,
}

impl Since {
    pub(crate) fn now() -> Result<Since, Error> {
        Ok(Since {
            threads: of_others().map_err(Error::Processor)?,
            process: clock::process(),
            own: clock::thread(),
        })
    }

    pub(crate) fn used(&self) -> Result<Used, Error> {
        let process = clock::process() - self.process;
        let process = process.saturating_sub(clock::thread() - self.own);
        let now = of_others().map_err(Error::Processor)?;
        let others = now.iter().map(|(thread, now)| {
            let before = self.threads.get(thread).copied().unwrap_or_default();
            now.saturating_sub(before)
        });
        Ok(Used {
            process,
            detector: process.saturating_sub(others.sum()),
        })
    }
}

/// What the thread of this name has used so far; the kernel keeps 15 bytes of a name.
pub(crate) fn of_thread(name: &str) -> io::Result<Duration> {
    let mut found = Err(ErrorKind::NotFound.into());
    each_thread(|thread, its_name| {
        if its_name == name {
            found = used(thread);
        }
        Ok(())
    })?;
    found
}

/// The ids of the threads of this name.
pub(crate) fn threads(name: &str) -> io::Result<Vec<String>> {
    let mut threads = Vec::new();
    each_thread(|thread, its_name| {
        if its_name == name {
            threads.push(id(thread));
        }
        Ok(())
    })?;
    Ok(threads)
}

/// The threads that are neither the detector's nor this one. Those of a crowd's runtime live as
/// long as the process, so that none is missed.
fn of_others() -> io::Result<BTreeMap<String, Duration>> {
    let own = fs::read_link(OWN)?;
    let mut threads = BTreeMap::new();
    each_thread(|thread, name| {
        let is_own = thread.file_name() == own.file_name();
        if !name.starts_with(DETECTOR) && !is_own {
            threads.insert(id(thread), used(thread)?);
        }
        Ok(())
    })?;
    Ok(threads)
}

fn each_thread(mut look: impl FnMut(&Path, &str) -> io::Result<()>) -> io::Result<()> {
    for thread in fs::read_dir(THREADS)? {
        let thread = thread?.path();
        let name = fs::read_to_string(thread.join("comm"));
        let looked = name.and_then(|name| look(&thread, name.trim()));
        match looked {
            // It has ended since it was listed.
            Err(error) if is_gone(&error) => {}
            looked => looked?,
        }
    }
    Ok(())
}

fn id(thread: &Path) -> String {
    let id = thread.file_name().unwrap_or_default();
    id.to_string_lossy().into_owned()
}

fn is_gone(error: &io::Error) -> bool {
    /// `ESRCH`, of a file that is read when its thread has ended.
    const NO_SUCH_PROCESS: i32 = 3;
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(NO_SUCH_PROCESS)
}

fn used(thread: &Path) -> io::Result<Duration> {
    let text = fs::read_to_string(thread.join("schedstat"))?;
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    nanoseconds
        .map(Duration::from_nanos)
        .ok_or_else(|| ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_of_the_detector_is_counted() {
        const SPUN: Duration = Duration::from_millis(60);
        let spins = || {
            let start = clock::thread();
            while clock::thread() - start < SPUN {}
        };
        let since = Since::now().unwrap();
        let detectors = std::thread::Builder::new().name("taskleak-test".to_owned());
        detectors.spawn(spins).unwrap().join().unwrap();
        // Other tests run beside this one, in threads of no detector.
        let used = since.used().unwrap();
        assert!(used.detector >= SPUN, "{used:?}");
    }

    #[test]
    fn a_thread_is_found_by_its_name() {
        assert!(of_thread("no thread").is_err());
    }
}
