//! Whether an answer is right: how many tasks it has to show of each kind, and in all.

use std::collections::BTreeMap;
use std::fmt::Write;

use memchr::memmem::Finder;
use taskleak::Snapshot;
use taskleak::taskleak_profile::snapshot::{Frame, Group};

use super::kinds::{self, Kind};
use crate::error::Error;

/// What an answer has to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    /// The tasks of each kind.
    pub(crate) of_each: u64,
    /// Those of no kind.
    pub(crate) others: u64,
}

impl Expected {
    /// All tasks.
    pub(crate) fn total(&self) -> u64 {
        self.of_each * kinds::ALL.len() as u64 + self.others
    }

    /// Those that wait to receive, and for nothing else.
    pub(crate) fn receivers(&self) -> u64 {
        let receive = |kind: &&Kind<'_>| wait_in_list(kind.wait) == "chan receive";
        self.of_each * kinds::ALL.iter().filter(receive).count() as u64
    }

    pub(crate) fn check_snapshot(&self, snapshot: &Snapshot) -> Result<(), Error> {
        self.total_is(snapshot.totals.tasks)?;
        let mut seen = Seen::default();
        for group in &snapshot.groups {
            let wait = wait_in_text(group);
            let waiting_at = group.waiting_at.first().map_or(&[][..], |stack| stack);
            seen.add(
                &wait,
                visible(waiting_at),
                visible(&group.created_by),
                group.count,
            );
        }
        self.kinds_are(&seen)
    }

    /// Checks the text of the groups.
    pub(crate) fn check_grouped(&self, text: &str) -> Result<(), Error> {
        let total = text.strip_prefix("task profile: total ");
        let total = total.and_then(|rest| rest.lines().next()?.parse().ok());
        self.total_is(total.unwrap_or(0))?;
        let mut seen = Seen::default();
        for group in text.split("\n\n") {
            if let Some((count, wait, function, creator)) = group_of(group) {
                seen.add(wait, function, creator, count);
            }
        }
        self.kinds_are(&seen)
    }

    /// Checks a list of all tasks that went by.
    pub(crate) fn check_listing(&self, listing: &Listing) -> Result<(), Error> {
        if !listing.rest.is_empty() {
            return Err(Error::Wrong("the list ends within a line".to_owned()));
        }
        self.total_is(listing.tasks.values().sum())?;
        let mut of_wait = BTreeMap::new();
        for kind in kinds::ALL {
            *of_wait.entry(wait_in_list(kind.wait)).or_insert(0) += self.of_each;
        }
        for (wait, expected) in of_wait {
            let seen = listing.tasks.get(wait.as_bytes()).copied().unwrap_or(0);
            // The tasks of no kind may be waiting too.
            if !(expected..=expected + self.others).contains(&seen) {
                let why = format!("{seen} tasks in \"{wait}\" of {expected}");
                return Err(Error::Wrong(why));
            }
        }
        // Where a task waits on several things, they are named before the frames.
        let waits_on_one = |kind: &Kind<'_>| !kind.wait.starts_with("select ");
        for kind in kinds::ALL.into_iter().filter(waits_on_one) {
            let function = kind.function.as_bytes();
            let seen = listing.functions.get(function).copied().unwrap_or(0);
            // Few heads end a buffer, and their first frame is in the next.
            if !(self.of_each - self.of_each / 10..=self.of_each).contains(&seen) {
                let why = format!("{seen} tasks in {} of {}", kind.function, self.of_each);
                return Err(Error::Wrong(why));
            }
        }
        Ok(())
    }

    fn total_is(&self, seen: u64) -> Result<(), Error> {
        match self.total() {
            expected if expected == seen => Ok(()),
            expected => Err(Error::Wrong(format!("{seen} tasks of {expected}"))),
        }
    }

    fn kinds_are(&self, seen: &Seen) -> Result<(), Error> {
        for kind in &kinds::ALL {
            let count = seen.0.get(&key(kind)).copied().unwrap_or(0);
            if count != self.of_each {
                let mut why = format!("{count} tasks of {} like {kind:?}, but", self.of_each);
                for ((wait, function, creator), count) in &seen.0 {
                    let _never_fails = write!(why, " {count} {wait} {function} {creator};");
                }
                return Err(Error::Wrong(why));
            }
        }
        Ok(())
    }
}

/// How many tasks there are of each kind, those of no kind of ours too.
#[derive(Debug, Default)]
struct Seen(BTreeMap<(String, String, String), u64>);

impl Seen {
    fn add(&mut self, wait: &str, function: &str, creator: &str, count: u64) {
        let kind = Kind {
            wait,
            function,
            creator,
        };
        *self.0.entry(key(&kind)).or_insert(0) += count;
    }
}

fn key(kind: &Kind<'_>) -> (String, String, String) {
    (
        kind.wait.to_owned(),
        kind.function.to_owned(),
        kind.creator.to_owned(),
    )
}

/// As the text of the groups says it.
fn wait_in_text(group: &Group) -> String {
    match group.primitives.as_slice() {
        [primitive] if !primitive.is_empty() => format!("{} ({primitive})", group.doing()),
        _ => group.doing().to_string(),
    }
}

/// As a list of tasks says it: without the primitive.
fn wait_in_list(wait: &str) -> &str {
    match wait.split_once(" (tokio") {
        Some((wait, _primitive)) => wait,
        None => wait,
    }
}

fn visible(stack: &[Frame]) -> &str {
    let frame = stack.iter().find(|frame| !frame.hidden);
    frame.map_or("", |frame| &frame.function)
}

/// The count, the wait, the function and the creator of a group in a text.
fn group_of(text: &str) -> Option<(u64, &str, &str, &str)> {
    let mut lines = text.lines();
    let count = lines.next()?.split_once(" @ ")?.0.parse().ok()?;
    let doing = lines.next()?.strip_prefix("# ")?;
    let wait = doing.split(" for ").next()?;
    let (waiting, created) = text.split_once("\n# created by\n").unwrap_or((text, ""));
    Some((count, wait, first_frame(waiting), first_frame(created)))
}

/// The function on the first line of a frame: `#\t0x2010\tshop::worker\tsrc/worker.rs:31`.
fn first_frame(text: &str) -> &str {
    let mut frames = text.lines().filter_map(|line| line.strip_prefix("#\t0x"));
    let function = frames.next().and_then(|frame| frame.split('\t').nth(1));
    function.unwrap_or("")
}

/// A list of all tasks, counted as it goes by.
#[derive(Debug)]
pub(crate) struct Listing {
    head: Finder<'static>,
    /// How many tasks are in each state or wait.
    tasks: BTreeMap<Vec<u8>, u64>,
    /// How many wait in each function, of those whose first frame came with their head.
    functions: BTreeMap<Vec<u8>, u64>,
    /// The beginning of a line whose end is still to come.
    rest: Vec<u8>,
}

/// With this begins the line of a task: `task 17 [chan receive, 5 minutes]:`.
const HEAD: &[u8] = b"task ";

impl Listing {
    pub(crate) fn new() -> Listing {
        Listing {
            head: Finder::new(b"\ntask "),
            tasks: BTreeMap::new(),
            functions: BTreeMap::new(),
            rest: Vec::new(),
        }
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let Some(end) = memchr::memrchr(b'\n', bytes) else {
            self.rest.extend_from_slice(bytes);
            return;
        };
        // The line that began before goes by itself, so that nothing is copied but that.
        let first_end = memchr::memchr(b'\n', bytes).unwrap_or(end);
        let mut first = std::mem::take(&mut self.rest);
        first.extend_from_slice(&bytes[..first_end]);
        self.line(&first);
        let lines = &bytes[first_end..=end];
        let head = self.head.clone();
        for at in head.find_iter(lines) {
            let line = &lines[at + 1..];
            let end = memchr::memchr(b'\n', line).unwrap_or(line.len());
            self.line(&line[..end]);
            let after = line.get(end + 1..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', after) {
                count(&mut self.functions, &after[..end]);
            }
        }
        first.clear();
        first.extend_from_slice(&bytes[end + 1..]);
        self.rest = first;
    }

    fn line(&mut self, line: &[u8]) {
        if let Some(state) = state(line) {
            count(&mut self.tasks, state);
        }
    }
}

fn count(counts: &mut BTreeMap<Vec<u8>, u64>, what: &[u8]) {
    match counts.get_mut(what) {
        Some(count) => *count += 1,
        None => drop(counts.insert(what.to_vec(), 1)),
    }
}

/// What the task of a line does: `chan receive` of `task 17 [chan receive, 5 minutes]:`.
fn state(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_prefix(HEAD)?;
    let begin = memchr::memchr(b'[', line)? + 1;
    let line = &line[begin..];
    let from = match memchr::memchr2(b'(', b',', line) {
        // The arms of a select have commas between them.
        Some(at) if line[at] == b'(' => memchr::memchr(b')', line)?,
        _ => 0,
    };
    let end = memchr::memchr2(b',', b']', &line[from..])?;
    Some(&line[..from + end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_read_off_its_text() {
        let text = "12 @ 0x2011 0x2301\n\
            # chan receive (tokio::sync::mpsc) for 2m10s (2m9s to 2m11s) · age 2m12s\n\
            #\t0x2010\tshop::worker\tsrc/worker.rs:31\n\
            #\t0x2012\tshop::outer\tsrc/worker.rs:32\n\
            # created by\n\
            #\t0x2300\tshop::main::{async block}\tsrc/main.rs:52\n\
            # tasks 1 2 3";
        let group = (
            12,
            "chan receive (tokio::sync::mpsc)",
            "shop::worker",
            "shop::main::{async block}",
        );
        assert_eq!(group_of(text), Some(group));
        assert_eq!(group_of("--- Memory map: ---\n0x0-0x1 r-xp"), None);
        let running = "1 @ 0x1\n# running · age 2m12s";
        assert_eq!(group_of(running).map(|group| group.2), Some(""));
    }

    #[test]
    fn the_state_stands_in_the_brackets() {
        let check = |line: &str, expected: Option<&str>| {
            let state = state(line.as_bytes());
            assert_eq!(
                state.map(String::from_utf8_lossy).as_deref(),
                expected,
                "{line}"
            );
        };
        check("task 17 [chan receive, 5 minutes]:", Some("chan receive"));
        check("task 17 [join]:", Some("join"));
        check(
            "task 1 [select (chan receive, sleep), 2 minutes, runtime main]:",
            Some("select (chan receive, sleep)"),
        );
        check("task 1 [sleep, scope a (b, c)]:", Some("sleep"));
        check("created by shop::main in task 3", None);
        check("task_set::run", None);
    }

    #[test]
    fn a_list_is_counted_however_it_is_cut() {
        let text = "# dropped: 1\n\ntask 1 [join]:\nshop::task \n\tsrc/a.rs:1\n\n\
            task 2 [sleep, 1 minutes]:\ntask_set::run\n\tsrc/a.rs:2\n\ntask 3 [join]:\nx\n";
        for size in 1..=text.len() {
            let mut listing = Listing::new();
            text.as_bytes()
                .chunks(size)
                .for_each(|part| listing.take(part));
            assert!(listing.rest.is_empty(), "{size}");
            let counts = [(b"join".to_vec(), 2), (b"sleep".to_vec(), 1)];
            assert_eq!(listing.tasks, BTreeMap::from(counts), "{size}");
        }
    }
}
