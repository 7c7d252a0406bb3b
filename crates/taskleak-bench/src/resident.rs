//! The resident memory of this process.

use std::fs;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::error::Error;

const SAMPLE_EVERY: Duration = Duration::from_millis(1);

/// Its bytes now. Of `status` and not of `statm`, which counts pages of a size that it does not
/// tell.
pub(crate) fn bytes() -> Result<u64, Error> {
    let status = fs::read_to_string("/proc/self/status").map_err(Error::Resident)?;
    resident(&status).ok_or_else(|| Error::Resident(ErrorKind::InvalidData.into()))
}

fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Runs `work`, and looks at the memory all the while from another thread. Returns the most
/// bytes that there were.
pub(crate) fn peak<T>(work: impl FnOnce() -> T) -> Result<(T, u64), Error> {
    let over = AtomicBool::new(false);
    let watch = || -> Result<u64, Error> {
        let mut most = bytes()?;
        while !over.load(Ordering::Relaxed) {
            thread::sleep(SAMPLE_EVERY);
            most = most.max(bytes()?);
        }
        Ok(most)
    };
    thread::scope(|threads| {
        let watcher = threads.spawn(watch);
        let done = work();
        over.store(true, Ordering::Relaxed);
        let panicked = |_| Error::Resident(io::Error::other("the watching thread panicked"));
        Ok((done, watcher.join().map_err(panicked)??))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_resident_memory_is_read() {
        let status = "VmHWM:\t    9000 kB\nVmRSS:\t    1234 kB\nRssAnon:\t     120 kB\n";
        assert_eq!(resident(status), Some(1234 * 1024));
        assert_eq!(resident("Name:\toverhead\n"), None);
    }

    #[test]
    fn the_peak_is_no_less_than_what_is_there() {
        let ((), peak) = peak(|| ()).unwrap();
        assert!(peak > 0);
    }
}
