//! Text, in Go's two grammars.
//!
//! By groups (`debug=1`), what pprof's legacy parser reads: `task profile: total N`, for each
//! group `COUNT @ 0x… 0x…`, and at the end the memory map, so that `go tool pprof BINARY FILE`
//! finds symbols. All else stands on lines that begin with `#`. As in Go, the addresses after the
//! `@` are return addresses (the parser takes one off), those on the lines below are of the calls;
//! and as in Go, an address in the executable is the one that its symbols use, so two texts can be
//! compared. The map says so in the way that pprof gives to a binary without a map (why not
//! where it was mapped: `pprof.rs`, rule 4), and then has no room for shared objects.
//! The grammar has no place for names: Go's tool then shows what it finds in the binary's debug
//! info, which is the outermost function at an address and without its path. The pprof format
//! carries the names.
//!
//! By tasks (`debug=2`), what Go prints when it crashes: `task 17 [chan receive, 5 minutes]:`,
//! then two lines for each frame, then `created by`. What Go has no word for stands in the
//! brackets.

use std::collections::HashMap;
use std::io::{self, Write};

use super::show::{
    Arm, Clean, Doing, Modules, Place, Range, Time, by_address, counted, health_lines, notes,
    scope, short_path, shown, whole_stack,
};
use crate::snapshot::{Frame, Group, GroupId, Kind, Snapshot, Stack, Task};

/// The ids that a group shows; JSON has more.
const SHOWN_IDS: usize = 10;

pub(super) fn groups(snapshot: &Snapshot, full: bool, sink: &mut impl Write) -> io::Result<()> {
    writeln!(sink, "task profile: total {}", snapshot.totals.tasks)?;
    about(snapshot, sink)?;
    let modules = Modules::of(snapshot);
    for group in &snapshot.groups {
        writeln!(sink)?;
        addresses(group, full, &modules, sink)?;
        GroupText {
            group,
            full,
            modules: &modules,
        }
        .write(sink)?;
    }
    memory_map(snapshot, &modules, sink)
}

pub(super) fn tasks(snapshot: &Snapshot, full: bool, sink: &mut impl Write) -> io::Result<()> {
    let mut separate = health(snapshot, sink)?;
    if snapshot.tasks.is_empty() && snapshot.totals.tasks > 0 {
        writeln!(sink, "# the snapshot was taken without its tasks")?;
    }
    let by_id: HashMap<GroupId, &Group> = snapshot
        .groups
        .iter()
        .map(|group| (group.id, group))
        .collect();
    let groups: Vec<_> = snapshot
        .tasks
        .group_ids()
        .map(|id| by_id.get(&id).copied())
        .collect();
    let mut bodies = Bodies {
        modules: Modules::of(snapshot),
        full,
        groups,
        known: HashMap::new(),
    };
    for (task, place) in snapshot.tasks.with_places() {
        if separate {
            writeln!(sink)?;
        }
        separate = true;
        bodies.with(place, |body| body.write(&task, sink))?;
    }
    Ok(())
}

/// What concerns all groups.
fn about(snapshot: &Snapshot, sink: &mut impl Write) -> io::Result<()> {
    let process = &snapshot.process;
    let at = humantime::format_rfc3339_millis(snapshot.taken_at);
    let up = Time(snapshot.uptime_ms);
    writeln!(
        sink,
        "# process {} {} at {at}, up {up}",
        process.pid,
        Clean(&process.exe)
    )?;
    let totals = &snapshot.totals;
    let states = totals
        .by_state
        .iter()
        .map(|(state, count)| (state.word(), *count));
    counts("state", states, sink)?;
    counts(
        "wait",
        totals
            .by_wait
            .iter()
            .map(|(wait, count)| (wait.word(), *count)),
        sink,
    )?;
    let verdicts = totals
        .by_verdict
        .iter()
        .map(|(level, count)| (level.as_str(), *count));
    counts("verdict", verdicts, sink)?;
    if let Some(sweeps) = &snapshot.watchdog {
        let (count, ago) = (sweeps.count, Time(sweeps.last_ms));
        let took = sweeps.took_us as f64 / 1000.0;
        writeln!(
            sink,
            "# watchdog: {count} sweeps, the last {ago} ago in {took:.1}ms"
        )?;
    }
    if totals.left_out > 0 {
        writeln!(
            sink,
            "# {} more tasks are left out by the query",
            totals.left_out
        )?;
    }
    if totals.unknown > 0 {
        writeln!(
            sink,
            "# {} more tasks started unseen and are not listed",
            totals.unknown
        )?;
    }
    health(snapshot, sink).map(|_| ())
}

fn counts<'a>(
    what: &str,
    of: impl Iterator<Item = (&'a str, u64)>,
    sink: &mut impl Write,
) -> io::Result<()> {
    let each = counted(of);
    match each.is_empty() {
        true => Ok(()),
        false => writeln!(sink, "# {what}: {each}"),
    }
}

/// What is wrong with the detector. Whether there was anything.
fn health(snapshot: &Snapshot, sink: &mut impl Write) -> io::Result<bool> {
    let lines = health_lines(&snapshot.health);
    for line in &lines {
        writeln!(sink, "# {line}")?;
    }
    Ok(!lines.is_empty())
}

/// The line of a group that pprof reads.
fn addresses(
    group: &Group,
    full: bool,
    modules: &Modules<'_>,
    sink: &mut impl Write,
) -> io::Result<()> {
    write!(sink, "{} @", group.count)?;
    let frames = whole_stack(group, full);
    for call in by_address(&frames) {
        let address = modules.shown(call[0].address);
        write!(sink, " {:#x}", address.saturating_add(1))?;
    }
    // The grammar wants one address at least; at this one is no function.
    writeln!(sink, "{}", if frames.is_empty() { " 0x1" } else { "" })
}

/// In the form that pprof recommends: it has a place for the build id.
fn memory_map(snapshot: &Snapshot, modules: &Modules<'_>, sink: &mut impl Write) -> io::Result<()> {
    let Some(module) = snapshot.modules.get(modules.executable()) else {
        return Ok(());
    };
    let (path, build_id) = (Clean(&module.path), Clean(&module.build_id));
    let line = format!("0x0-{:#x} r-xp {path} (@0) {build_id}", u64::MAX);
    writeln!(sink, "\n--- Memory map: ---\n{}", line.trim_end())
}

/// What people read of a group.
struct GroupText<'a> {
    group: &'a Group,
    full: bool,
    modules: &'a Modules<'a>,
}

impl GroupText<'_> {
    fn write(&self, sink: &mut impl Write) -> io::Result<()> {
        self.summary(sink)?;
        self.verdict(sink)?;
        for arm in Arm::of(self.group) {
            if arm.is_one_of_several(self.group) {
                writeln!(sink, "# {arm}")?;
            }
            self.frames(arm.stack, sink)?;
        }
        for note in notes(self.group) {
            writeln!(sink, "# {note}")?;
        }
        self.created(sink)?;
        self.ids(sink)
    }

    /// What the tasks do, for how long, and what tells this group from others.
    fn summary(&self, sink: &mut impl Write) -> io::Result<()> {
        let group = self.group;
        write!(sink, "# {}", Doing(group))?;
        if let Some(blocked) = &group.blocked_ms {
            write!(sink, " for {}", Range(blocked))?;
        }
        write!(sink, " · age {}", Range(&group.age_ms))?;
        if group.kind != Kind::Task {
            write!(sink, " · {}", group.kind.word())?;
        }
        if !group.name.is_empty() {
            write!(sink, " · name {}", Clean(&group.name))?;
        }
        if !group.runtime.is_empty() {
            write!(sink, " · runtime {}", Clean(&group.runtime))?;
        }
        if let Some(scope) = scope(group) {
            write!(sink, " · {scope}")?;
        }
        writeln!(sink, " · group {}", group.id)
    }

    fn verdict(&self, sink: &mut impl Write) -> io::Result<()> {
        if let Some(allowed) = &self.group.allowed {
            writeln!(sink, "# allowed by {}", Clean(allowed))?;
        }
        let Some(verdict) = &self.group.verdict else {
            return Ok(());
        };
        write!(sink, "# leak {}", Clean(&verdict.level))?;
        match verdict.tasks {
            tasks if tasks < self.group.count => {
                writeln!(sink, ": {tasks} of these {} tasks", self.group.count)?;
            }
            _ => writeln!(sink)?,
        }
        for fact in &verdict.evidence {
            writeln!(sink, "#   {}", Clean(fact))?;
        }
        Ok(())
    }

    fn created(&self, sink: &mut impl Write) -> io::Result<()> {
        let group = self.group;
        if !group.created_by.is_empty() {
            writeln!(sink, "# created by")?;
            self.frames(&group.created_by, sink)?;
        }
        let Some(at) = &group.spawned_at else {
            return Ok(());
        };
        write!(
            sink,
            "# spawned at {}:{}:{}",
            short_path(&at.file),
            at.line,
            at.column
        )?;
        match group.future_bytes {
            0 => writeln!(sink),
            bytes => writeln!(sink, " · future of {bytes} bytes"),
        }
    }

    fn ids(&self, sink: &mut impl Write) -> io::Result<()> {
        let group = self.group;
        write!(sink, "# tasks")?;
        for id in group.tasks.iter().take(SHOWN_IDS) {
            write!(sink, " {id}")?;
        }
        let shown = group.tasks.len().min(SHOWN_IDS) as u64;
        match group.count.saturating_sub(shown) {
            0 => writeln!(sink),
            more => writeln!(sink, " and {more} more"),
        }
    }

    /// `#`, address, function and place in columns of tabs, as Go aligns them.
    fn frames(&self, stack: &Stack, sink: &mut impl Write) -> io::Result<()> {
        let rows: Vec<[String; 3]> = shown(stack, self.full)
            .map(|frame| self.columns(frame))
            .collect();
        let widths = [0, 1].map(|column| width(rows.iter().map(|row| &row[column])));
        for [address, function, place] in &rows {
            write!(sink, "#\t{address}{}{function}", tabs(address, widths[0]))?;
            let tabs = if place.is_empty() {
                String::new()
            } else {
                tabs(function, widths[1])
            };
            writeln!(sink, "{tabs}{place}")?;
        }
        Ok(())
    }

    fn columns(&self, frame: &Frame) -> [String; 3] {
        let function = match self.full && frame.hidden {
            true => format!("({})", self.modules.label(frame)),
            false => self.modules.label(frame).to_string(),
        };
        [
            format!("{:#x}", self.modules.shown(frame.address)),
            function,
            Place(frame).to_string(),
        ]
    }
}

/// A tab stop.
const TAB: usize = 8;
/// A longer cell does not push the column after it any further.
const WIDEST: usize = 64;

/// The tab stop after the widest cell.
fn width<'a>(cells: impl Iterator<Item = &'a String>) -> usize {
    let lengths = cells.map(|cell| cell.chars().count());
    let widest = lengths.filter(|length| *length < WIDEST).max().unwrap_or(0);
    (widest + 1).next_multiple_of(TAB)
}

/// From the end of a cell to the tab stop at `width`.
fn tabs(cell: &str, width: usize) -> String {
    let short = width.saturating_sub(cell.chars().count());
    "\t".repeat(short.div_ceil(TAB).max(1))
}

/// The most groups whose [`Body`] is held, at a kilobyte or two each.
const MOST_BODIES: usize = 2000;

/// The bodies of the groups, made once for each of the first [`MOST_BODIES`].
struct Bodies<'a> {
    modules: Modules<'a>,
    full: bool,
    /// `None` in a file that was cut by hand.
    groups: Vec<Option<&'a Group>>,
    known: HashMap<usize, Body>,
}

impl Bodies<'_> {
    fn with(
        &mut self,
        place: usize,
        write: impl FnOnce(&Body) -> io::Result<()>,
    ) -> io::Result<()> {
        if let Some(body) = self.known.get(&place) {
            return write(body);
        }
        let body = self.groups[place].map_or(Ok(Body::default()), |group| self.body(group))?;
        write(&body)?;
        if self.known.len() < MOST_BODIES {
            self.known.insert(place, body);
        }
        Ok(())
    }

    fn body(&self, group: &Group) -> io::Result<Body> {
        let mut body = Body {
            doing: group.doing().to_string(),
            traits: traits(group),
            creator: self.creator(group).map_or("?".to_owned(), |frame| {
                self.modules.label(frame).to_string()
            }),
            creator_known: !group.created_by.is_empty() || group.spawned_at.is_some(),
            ..Body::default()
        };
        self.stacks(group, &mut body.stacks)?;
        self.created_at(group, &mut body.created_at)?;
        Ok(body)
    }

    fn stacks(&self, group: &Group, text: &mut Vec<u8>) -> io::Result<()> {
        if let [stack] = group.waiting_at.as_slice() {
            return self.frames(shown(stack, self.full), text);
        }
        for arm in Arm::of(group) {
            writeln!(text, "[{arm}]")?;
            self.frames(shown(arm.stack, self.full), text)?;
        }
        Ok(())
    }

    /// Go names the function that spawned, and no more of its stack. Of a stack without symbols
    /// the first frame is this detector's own.
    fn creator<'g>(&self, group: &'g Group) -> Option<&'g Frame> {
        shown(&group.created_by, self.full).find(|frame| self.full || !frame.function.is_empty())
    }

    /// The place of the spawn stands in for a line that the build does not have.
    fn created_at(&self, group: &Group, text: &mut Vec<u8>) -> io::Result<()> {
        match (self.creator(group), &group.spawned_at) {
            (Some(frame), None) => self.place(frame, text)?,
            (Some(frame), _) if frame.line.is_some() => self.place(frame, text)?,
            (_, Some(at)) => writeln!(text, "\t{}:{}", Clean(&at.file), at.line)?,
            (None, None) => {}
        }
        if self.full {
            self.frames(group.created_by.iter().skip(1), text)
        } else {
            Ok(())
        }
    }

    fn frames<'f>(
        &self,
        frames: impl Iterator<Item = &'f Frame>,
        text: &mut Vec<u8>,
    ) -> io::Result<()> {
        for frame in frames {
            writeln!(text, "{}", self.modules.label(frame))?;
            self.place(frame, text)?;
        }
        Ok(())
    }

    /// The line below a frame's function.
    fn place(&self, frame: &Frame, text: &mut Vec<u8>) -> io::Result<()> {
        match frame.file {
            Some(_) => writeln!(text, "\t{}", Place(frame)),
            None => writeln!(text, "\t{:#x}", self.modules.shown(frame.address)),
        }
    }
}

/// What stands in the brackets behind the time.
fn traits(group: &Group) -> String {
    let known = |what, value| match value {
        "" => String::new(),
        value => format!(", {what} {}", Clean(value)),
    };
    let scope = scope(group).map_or(String::new(), |scope| format!(", {scope}"));
    known("name", &group.name) + &known("runtime", &group.runtime) + &scope
}

/// What is the same in the text of each task of a group.
#[derive(Default)]
struct Body {
    doing: String,
    traits: String,
    stacks: Vec<u8>,
    creator: String,
    /// Something is known of the spawn beside the task that did it.
    creator_known: bool,
    created_at: Vec<u8>,
}

impl Body {
    fn write(&self, task: &Task, sink: &mut impl Write) -> io::Result<()> {
        let doing = if self.doing.is_empty() {
            task.state.word()
        } else {
            &self.doing
        };
        write!(sink, "task {} [{doing}", task.id)?;
        let time = task.blocked_ms.or(task.runnable_ms).unwrap_or(0);
        match time / 1000 {
            0 => {}
            seconds @ 1..60 => write!(sink, ", {seconds}s")?,
            seconds => write!(sink, ", {} minutes", seconds / 60)?,
        }
        writeln!(sink, "{}]:", self.traits)?;
        sink.write_all(&self.stacks)?;
        match (self.creator_known, task.parent) {
            (false, None) => return Ok(()),
            (_, None) => writeln!(sink, "created by {}", self.creator)?,
            (_, Some(parent)) => writeln!(sink, "created by {} in task {parent}", self.creator)?,
        }
        sink.write_all(&self.created_at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn text(
        render: impl Fn(&Snapshot, bool, &mut Vec<u8>) -> io::Result<()>,
        snapshot: &Snapshot,
        full: bool,
    ) -> String {
        let mut sink = Vec::new();
        render(snapshot, full, &mut sink).unwrap();
        String::from_utf8(sink).unwrap()
    }

    #[test]
    fn groups_of_the_sample() {
        insta::assert_snapshot!(text(groups, &sample::snapshot(), false));
    }

    #[test]
    fn groups_of_the_sample_in_full() {
        insta::assert_snapshot!(text(groups, &sample::snapshot(), true));
    }

    #[test]
    fn tasks_of_the_sample() {
        insta::assert_snapshot!(text(tasks, &sample::snapshot(), false));
    }

    #[test]
    fn tasks_of_the_sample_in_full() {
        insta::assert_snapshot!(text(tasks, &sample::snapshot(), true));
    }

    /// pprof's own rules: see `parseGoCount` in its `legacy_profile.go`.
    #[test]
    fn the_legacy_grammar_is_kept() {
        let text = text(groups, &sample::snapshot(), true);
        let (head, map) = text.split_once("\n--- Memory map: ---\n").unwrap();
        let mut lines = head.lines();
        assert!(lines.next().unwrap().starts_with("task profile: total "));
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (count, addresses) = line.split_once(" @ ").unwrap();
            assert!(count.parse::<u64>().is_ok(), "{line}");
            for address in addresses.split(' ') {
                let digits = address.strip_prefix("0x").unwrap();
                assert!(u64::from_str_radix(digits, 16).is_ok(), "{line}");
            }
        }
        let module = map.strip_prefix("0x0-0xffffffffffffffff r-xp /srv/shop (@0) c0ffee01\n");
        assert_eq!(module, Some(""), "{map}");
    }

    #[test]
    fn without_symbols_the_place_of_the_spawn_tells_who_created() {
        let mut snapshot = sample::snapshot();
        for group in &mut snapshot.groups {
            let bare = |frame: &Frame| Frame {
                function: String::new(),
                file: None,
                line: None,
                ..frame.clone()
            };
            group.created_by = group.created_by.iter().map(bare).collect();
        }
        let bare = text(tasks, &snapshot, false);
        assert!(
            bare.contains("created by ? in task 3\n\tsrc/main.rs:52\n"),
            "{bare}"
        );
    }

    #[test]
    fn a_detector_that_does_not_record_says_so_first() {
        let mut snapshot = sample::snapshot();
        snapshot.health.recording = false;
        assert!(text(tasks, &snapshot, false).starts_with("# NOT RECORDING"));
        assert!(text(groups, &snapshot, false).contains("\n# NOT RECORDING"));
    }

    #[test]
    fn a_snapshot_without_tasks_is_not_taken_for_an_idle_process() {
        let mut snapshot = sample::snapshot();
        snapshot.tasks = Default::default();
        assert!(text(tasks, &snapshot, false).contains("without its tasks"));
    }

    #[test]
    fn wakers_with_one_stack_are_told_once() {
        let mut snapshot = sample::snapshot();
        let group = &mut snapshot.groups[0];
        group.wait.push(group.wait[0]);
        group.primitives.push(group.primitives[0].clone());
        group.waiting_at.push(group.waiting_at[0].clone());
        let text = text(groups, &snapshot, false);
        assert_eq!(
            text.matches("# 2 chan receive (tokio::sync::mpsc)").count(),
            1
        );
        assert!(text.contains("# select (2 chan receive) for"));
    }

    #[test]
    fn runnable_tasks_tell_for_how_long() {
        let mut snapshot = sample::snapshot();
        let state = crate::snapshot::State::Runnable;
        let stuck = |task: Task| Task {
            runnable_ms: Some(42_000),
            ..task
        };
        snapshot.tasks = snapshot
            .tasks
            .iter()
            .filter(|task| task.state == state)
            .map(stuck)
            .collect();
        assert!(text(tasks, &snapshot, false).contains("task 800 [runnable, 42s]:"));
    }
}
