//! Whether what a variant recorded is right: nothing is fast by not recording.
//!
//! A case is run once more to where it rests. Then the detector must show the tasks that are
//! there, and no others: how many, where they wait and for what, who spawned them; and it must
//! have counted as many tasks as were spawned since the process began. await-tree and
//! async-backtrace must know of as many tasks, console-subscriber of some; dial9 must have written
//! a trace, and `reads` have found tokio's events.

use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::cases::Course;
use super::installed::Installed;
use crate::case::Case;
use crate::error::Error;
#[cfg(feature = "peers")]
use crate::variant::Variant;

/// Until the tasks wait.
const GIVE_UP: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl Installed {
    /// Whether `case` is seen as it is while it rests. `spawned` tasks were spawned before.
    pub(crate) fn check(&self, case: Case, course: Course, spawned: u64) -> Result<(), Error> {
        let runtime = self.runtime(case)?;
        let (enough, stop) = oneshot::channel::<()>();
        thread::scope(|threads| {
            let run = self.run(case, course);
            threads.spawn(|| {
                runtime.block_on(async {
                    tokio::select! {
                        () = run => {}
                        _ = stop => {}
                    }
                });
            });
            let operations = course.operations.into();
            let tasks = spawned + case.tasks(operations) + case.resting_tasks();
            let seen = self.check_at_rest(case, tasks);
            drop(enough);
            seen
        })
    }

    /// The same of a program that rests, and will for a while.
    pub(crate) fn check_at_rest(&self, case: Case, spawned: u64) -> Result<(), Error> {
        let give_up = Instant::now() + GIVE_UP;
        loop {
            match self.look(case, spawned) {
                Ok(()) => return Ok(()),
                Err(wrong) if Instant::now() > give_up => return Err(wrong),
                Err(_) => thread::sleep(LOOK_EVERY),
            }
        }
    }

    fn look(&self, case: Case, spawned: u64) -> Result<(), Error> {
        #[cfg(feature = "taskleak")]
        if let Some(detector) = &self.detector {
            return taskleaks::look(detector, case, spawned);
        }
        #[cfg(feature = "peers")]
        if let Some(seen) = self.tasks_that_a_peer_sees() {
            let there: u64 = case.at_rest().iter().map(|resting| resting.count).sum();
            // To async-backtrace, an async fn that the root future calls is one too.
            let root = u64::from(self.variant == Variant::AsyncBacktrace);
            if seen != there && seen != there + root {
                return Err(Error::NotSeen { seen, there });
            }
        }
        #[cfg(feature = "peers")]
        if self.variant == Variant::Reads && !super::reads::has_read() {
            return Err(Error::NothingRead);
        }
        #[cfg(feature = "peers")]
        if let Some(console) = self.console {
            console::look(console)?;
        }
        #[cfg(taskleak_dial9)]
        {
            // Its end writes what its threads hold back, which is all of a short run.
            drop(self.recorder.lock().map(|mut recorder| recorder.take()));
            let bytes = trace_bytes().map_err(Error::Trace)?;
            if bytes < LEAST_TRACE {
                return Err(Error::NoTrace { bytes });
            }
        }
        let _nobody_looks = (case, spawned);
        Ok(())
    }

    #[cfg(feature = "peers")]
    fn tasks_that_a_peer_sees(&self) -> Option<u64> {
        let seen = match self.variant {
            Variant::AwaitTree => await_tree::Registry::current().collect_anonymous().len(),
            Variant::AsyncBacktrace => async_backtrace::tasks().count(),
            _ => return None,
        };
        Some(seen as u64)
    }
}

/// Below what the shortest heat writes, and above a trace of nothing: to that dial9 adds 2 kB each
/// second.
#[cfg(taskleak_dial9)]
const LEAST_TRACE: u64 = 3 * 1024;

/// What dial9 has written so far.
#[cfg(taskleak_dial9)]
fn trace_bytes() -> std::io::Result<u64> {
    let mut bytes = 0;
    for file in std::fs::read_dir(super::installed::TRACE)? {
        bytes += file?.metadata()?.len();
    }
    Ok(bytes)
}

#[cfg(feature = "peers")]
mod console {
    use std::error::Error as StdError;
    use std::net::SocketAddr;

    use console_api::instrument::instrument_client::InstrumentClient;
    use console_api::instrument::{InstrumentRequest, Update};
    use tokio::runtime::Builder;
    use tracing::subscriber::{NoSubscriber, with_default};

    use crate::error::Error;

    /// Whether the first update, which has all that is known, names tasks.
    pub(super) fn look(console: SocketAddr) -> Result<(), Error> {
        // The client's own tasks are not to be seen.
        let update = with_default(NoSubscriber::new(), || first_update(console));
        let update = update.map_err(|cause| Error::Console(cause.to_string()))?;
        match update.task_update.unwrap_or_default().new_tasks.len() {
            0 => Err(Error::Console("it knows of no task".to_owned())),
            _ => Ok(()),
        }
    }

    fn first_update(console: SocketAddr) -> Result<Update, Box<dyn StdError>> {
        let client = Builder::new_current_thread().enable_all().build()?;
        client.block_on(async {
            let client = InstrumentClient::connect(format!("http://{console}")).await?;
            // It keeps what has ended, too.
            let mut client = client.max_decoding_message_size(usize::MAX);
            let updates = client.watch_updates(InstrumentRequest {}).await?;
            let update = updates.into_inner().message().await?;
            update.ok_or_else(|| "the stream of updates ended".into())
        })
    }
}

#[cfg(feature = "taskleak")]
mod taskleaks {
    use taskleak::Detector;
    use taskleak::taskleak_profile::snapshot::{Frame, Group, Kind};

    use crate::case::Case;
    use crate::contestant::cases::{DEPTH, Resting};
    use crate::error::Error;

    /// Where the programs are.
    const CASES: &str = "taskleak_bench::contestant::cases::";

    pub(super) fn look(detector: &Detector, case: Case, spawned: u64) -> Result<(), Error> {
        let snapshot = detector.snapshot();
        // The root future of a `block_on` is none that a program spawned.
        let groups = snapshot
            .groups
            .iter()
            .filter(|group| group.kind != Kind::BlockOn);
        let mut seen: Vec<String> = groups.map(seen).collect();
        let mut there: Vec<String> = case.at_rest().iter().map(Resting::to_string).collect();
        seen.sort_unstable();
        there.sort_unstable();
        if seen != there {
            let (seen, there) = (seen.join("; "), there.join("; "));
            return Err(Error::WrongGroups { seen, there });
        }
        let levels = snapshot.groups.iter().map(levels).max().unwrap_or(0);
        if case == Case::SpawnDeep && levels != DEPTH {
            let [seen, there] =
                [levels, DEPTH].map(|levels| format!("a spawn {levels} levels deep"));
            return Err(Error::WrongGroups { seen, there });
        }
        if snapshot.totals.spawned != spawned {
            return Err(Error::WrongCount {
                seen: snapshot.totals.spawned,
                spawned,
            });
        }
        Ok(())
    }

    fn seen(group: &Group) -> String {
        let waits: Vec<_> = group
            .waiting_at
            .iter()
            .map(|stack| innermost(stack))
            .collect();
        let created_by = innermost(&group.created_by);
        let mut at = waits.clone();
        at.dedup();
        let at = at.join(" and ");
        line(group.count, &at, &group.wait, created_by)
    }

    impl std::fmt::Display for Resting {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&line(self.count, self.at, &self.waits, self.created_by))
        }
    }

    fn line(count: u64, at: &str, waits: &[taskleak::Wait], created_by: &str) -> String {
        format!("{count} in {at} ({waits:?}), created by {created_by}")
    }

    /// How deep in async fns a task was spawned.
    fn levels(group: &Group) -> usize {
        let functions = group.created_by.iter().map(|frame| frame.function.as_str());
        let functions = functions.filter_map(|function| function.strip_prefix(CASES));
        functions
            .filter(|function| *function == "spawn::level")
            .count()
    }

    /// The innermost function of a program.
    fn innermost(stack: &[Frame]) -> &str {
        let mut programs = stack
            .iter()
            .filter_map(|frame| frame.function.strip_prefix(CASES));
        programs.next().unwrap_or("nothing of the program")
    }
}
