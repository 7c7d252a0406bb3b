//! Looks at a crowd while its runtime works: what they take, and what they do to a ticker in it.

use std::io;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use cpu_time::ProcessTime;
use taskleak::Detector;

use crate::at_work::AtWork;
use crate::crowd::Crowd;
use crate::endpoint::{Endpoint, Reader};
use crate::error::Error;
use crate::expected::{Expected, Listing};
use crate::processor::Since;
use crate::protocol::{Delays, FirstAnswer, Look, Looked, Window};
use crate::resident;

/// A window is as long as one look, but no shorter: what happens in it is seen by a tick of 1 ms,
/// and counted by the kernel's of some more.
const WINDOW: Duration = Duration::from_millis(50);
/// After the last task has begun, it waits well before this.
const BEGINS_WITHIN: Duration = Duration::from_millis(100);

/// Looks so many times. What a look shows is checked each time, after the clock has stopped.
pub(crate) fn measure(
    crowd: &mut Crowd,
    detector: &Detector,
    look: Look,
    times: usize,
) -> Result<Looked, Error> {
    let at_work = crowd.work();
    // Reads the debug info, which is kept: neither time nor memory of a look.
    crowd.settle(detector)?;
    let looks = Looks {
        endpoint: Endpoint::open(detector)?,
        detector,
        look,
        expected: crowd.expected(),
        before: resident::bytes()?,
    };
    let (_, one) = looks.once()?;
    let one = one.max(Duration::from_nanos(1));
    let looks_each = WINDOW.as_nanos().div_ceil(one.as_nanos()).max(1) as u32;
    let mut looked = Looked {
        as_usual: Vec::new(),
        preferred: Vec::new(),
    };
    for _ in 0..times {
        looked.as_usual.push(looks.window(&at_work, looks_each)?);
        if let Some(_for_now) = crowd.prefer()? {
            looked.preferred.push(looks.window(&at_work, looks_each)?);
        }
    }
    Ok(looked)
}

/// The first answer, of a process that has symbolized nothing yet; the program's file is in the
/// page cache.
pub(crate) fn first_answer(crowd: &Crowd, detector: &Detector) -> Result<FirstAnswer, Error> {
    thread::sleep(BEGINS_WITHIN);
    let program = read_program().map_err(Error::Program)?;
    let endpoint = Endpoint::open(detector)?;
    let expected = crowd.expected();
    let (before, anonymous_before) = (resident::bytes()?, resident::anonymous()?);
    let (processor, start) = (ProcessTime::now(), Instant::now());
    let (text, peak) = resident::peak(|| endpoint.grouped())?;
    let (wall, processor) = (start.elapsed(), processor.elapsed());
    let anonymous = resident::anonymous()?;
    expected.check_grouped(&text?)?;
    let start = Instant::now();
    let text = endpoint.grouped()?;
    let second = start.elapsed();
    expected.check_grouped(&text)?;
    Ok(FirstAnswer {
        program,
        wall,
        processor,
        peak_growth: peak.saturating_sub(before),
        anonymous_growth: anonymous.saturating_sub(anonymous_before),
        second,
    })
}

fn read_program() -> io::Result<u64> {
    let mut file = fs::File::open(env::current_exe()?)?;
    io::copy(&mut file, &mut io::sink())
}

struct Looks<'a> {
    endpoint: Endpoint,
    detector: &'a Detector,
    look: Look,
    expected: Expected,
    /// Resident memory before the first look. The same for all of them, because what one frees
    /// stays with the allocator and would hide what the next takes.
    before: u64,
}

impl Looks<'_> {
    fn window(&self, at_work: &AtWork, looks: u32) -> Result<Window, Error> {
        let since = Since::now()?;
        let several = || {
            let (mut bytes, mut wall) = (0, Duration::ZERO);
            for _ in 0..looks {
                let took;
                (bytes, took) = self.once()?;
                wall += took;
            }
            Ok::<_, Error>((bytes, wall, since.used()?))
        };
        let (seen, looking) = at_work.longest_delay(|| resident::peak(several));
        let (several, peak) = seen?;
        let (bytes, wall, used) = several?;
        let ((), quiet) = at_work.longest_delay(|| thread::sleep(wall));
        let ((), beside_spinning) = at_work.longest_delay(|| spin(wall));
        Ok(Window {
            looks,
            wall: wall / looks,
            process: used.process / looks,
            detector: used.detector / looks,
            delays: Delays {
                looking,
                quiet,
                beside_spinning,
            },
            peak_growth: peak.saturating_sub(self.before),
            bytes,
        })
    }

    /// Returns the bytes of the answer and what it took.
    fn once(&self) -> Result<(u64, Duration), Error> {
        let start = Instant::now();
        match self.look {
            Look::Snapshot => {
                let snapshot = self.detector.snapshot();
                let took = start.elapsed();
                self.expected.check_snapshot(&snapshot)?;
                Ok((0, took))
            }
            Look::Grouped => {
                let text = self.endpoint.grouped()?;
                let took = start.elapsed();
                self.expected.check_grouped(&text)?;
                Ok((text.len() as u64, took))
            }
            Look::Listing => self.list(Reader::Steady),
            Look::SlowListing => self.list(Reader::Slow),
        }
    }

    fn list(&self, reader: Reader) -> Result<(u64, Duration), Error> {
        let mut listing = Listing::new();
        let start = Instant::now();
        let bytes = self.endpoint.list(reader, |part| listing.take(part))?;
        let took = start.elapsed();
        self.expected.check_listing(&listing)?;
        Ok((bytes, took))
    }
}

/// Keeps a thread of its own busy, as a look does.
fn spin(time: Duration) {
    let start = Instant::now();
    thread::scope(|threads| {
        threads.spawn(|| while start.elapsed() < time {});
    });
}
