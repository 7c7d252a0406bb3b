//! The resident memory of this process.

use std::fs;
use std::io::{self, ErrorKind};

use crate::error::Error;

const STATUS: &str = "/proc/self/status";
/// Makes the peak what there is now (`man 5 proc_pid_clear_refs`).
const RESET_PEAK: &str = "5";

/// Its bytes now. Of `status` and not of `statm`, which counts pages of a size that it does not
/// tell.
pub(crate) fn bytes() -> Result<u64, Error> {
    let status = fs::read_to_string(STATUS).map_err(Error::Resident)?;
    figure(&status, "VmRSS:").map_err(Error::Resident)
}

/// Those of them that are not pages of a file.
pub(crate) fn anonymous() -> Result<u64, Error> {
    let status = fs::read_to_string(STATUS).map_err(Error::Resident)?;
    figure(&status, "RssAnon:").map_err(Error::Resident)
}

/// Runs `work`, and returns the most bytes that there were meanwhile. The kernel keeps them
/// itself, so nobody has to look all the while, which would cost the processor time that is
/// measured.
pub(crate) fn peak<T>(work: impl FnOnce() -> T) -> Result<(T, u64), Error> {
    fs::write("/proc/self/clear_refs", RESET_PEAK).map_err(Error::Resident)?;
    let done = work();
    let status = fs::read_to_string(STATUS).map_err(Error::Resident)?;
    let peak = figure(&status, "VmHWM:").map_err(Error::Resident)?;
    Ok((done, peak))
}

fn figure(status: &str, name: &str) -> io::Result<u64> {
    let kilobytes = kilobytes(status, name).ok_or(ErrorKind::InvalidData)?;
    Ok(kilobytes * 1024)
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_memory_is_read() {
        let status = "VmHWM:\t    9000 kB\nVmRSS:\t    1234 kB\nRssAnon:\t     120 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(1234));
        assert_eq!(kilobytes("Name:\toverhead\n", "VmRSS:"), None);
    }

    #[test]
    fn the_peak_is_seen_after_it_is_over() {
        const BYTES: usize = 64 << 20;
        let (_, before) = peak(|| ()).unwrap();
        let touch = || std::hint::black_box(vec![1_u8; BYTES]).len();
        let (_, peak) = peak(touch).unwrap();
        assert!(peak > before + BYTES as u64 / 2, "{before} {peak}");
    }
}
