//! What the renderers share: which frames are shown, how times, names and addresses read.

use std::fmt;

use crate::frames::in_registry;
use crate::snapshot::{Frame, Group, Health, Module, Snapshot, Spread, Stack, Wait};

/// The frames to show, leaf first: the visible ones, or all of a stack that has no visible one.
pub(super) fn shown(stack: &[Frame], full: bool) -> impl Iterator<Item = &Frame> {
    let all = full || stack.iter().all(|frame| frame.hidden);
    stack.iter().filter(move |frame| all || !frame.hidden)
}

/// Where the tasks of a group are, leaf first: the frames shown of their await stack.
///
/// Of several await stacks (a select), the part at the root that they share: the task is in the
/// function that selects, not in one of the arms.
pub(super) fn await_frames(group: &Group, full: bool) -> Vec<&Frame> {
    let Some((first, others)) = group.waiting_at.split_first() else {
        return Vec::new();
    };
    let mut frames: Vec<&Frame> = shown(first, full).collect();
    let shared = others.iter().fold(frames.len(), |shared, other| {
        let other: Vec<&Frame> = shown(other, full).collect();
        let pairs = frames.iter().rev().zip(other.iter().rev());
        shared.min(
            pairs
                .take_while(|(one, other)| same_function(one, other))
                .count(),
        )
    });
    if shared > 0 {
        frames.drain(..frames.len() - shared);
    }
    frames
}

fn same_function(one: &Frame, other: &Frame) -> bool {
    match one.function.is_empty() && other.function.is_empty() {
        true => one.address == other.address,
        false => one.function == other.function,
    }
}

/// The stack that pprof is given, leaf first: where the tasks are, then who created them.
pub(super) fn whole_stack(group: &Group, full: bool) -> Vec<&Frame> {
    let mut frames = await_frames(group, full);
    frames.extend(shown(&group.created_by, full));
    frames
}

/// Splits frames at addresses: each part is the functions shown for one, innermost first.
pub(super) fn by_address<'f, 'a>(frames: &'f [&'a Frame]) -> impl Iterator<Item = &'f [&'a Frame]> {
    frames.chunk_by(|inner, outer| inner.inlined && inner.address == outer.address)
}

/// What the tasks of a group do, and the primitive if it is one.
pub(super) struct Doing<'a>(pub(super) &'a Group);

impl fmt::Display for Doing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = self.0;
        group.doing().fmt(f)?;
        match (group.primitives.as_slice(), group.wakers_without_stack) {
            ([primitive], 0) if !primitive.is_empty() => write!(f, " ({})", Clean(primitive)),
            _ => Ok(()),
        }
    }
}

/// One of what a task waits for, and how many of its wakers say the same.
pub(super) struct Arm<'a> {
    wait: Wait,
    primitive: &'a str,
    pub(super) stack: &'a Stack,
    wakers: usize,
}

impl<'a> Arm<'a> {
    pub(super) fn of(group: &'a Group) -> Vec<Self> {
        let mut arms: Vec<Self> = Vec::new();
        let primitives = group
            .primitives
            .iter()
            .map(String::as_str)
            .chain(std::iter::repeat(""));
        let waits = group.wait.iter().zip(primitives).zip(&group.waiting_at);
        for ((&wait, primitive), stack) in waits {
            match arms.last_mut() {
                // They are ordered, so equal ones stand side by side.
                Some(last) if last.wait == wait && last.stack == stack => last.wakers += 1,
                _ => arms.push(Self {
                    wait,
                    primitive,
                    stack,
                    wakers: 1,
                }),
            }
        }
        arms
    }

    /// Whether what the group does names more than this.
    pub(super) fn is_one_of_several(&self, group: &Group) -> bool {
        group.waiting_at.len() > 1 || group.wakers_without_stack > 0
    }
}

impl fmt::Display for Arm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wakers > 1 {
            write!(f, "{} ", self.wakers)?;
        }
        match self.primitive {
            "" => f.write_str(self.wait.word()),
            primitive => write!(f, "{} ({})", self.wait.word(), Clean(primitive)),
        }
    }
}

/// The scope of a group, if it has one, and whether it has ended: `scope request ended 3m19s ago`.
pub(super) fn scope(group: &Group) -> Option<String> {
    let name = Clean(&group.scope);
    match &group.outlived_ms {
        Some(ago) => Some(format!("scope {name} ended {} ago", Range(ago))),
        None if group.scope.is_empty() => None,
        None => Some(format!("scope {name}")),
    }
}

/// What the stacks of a group's waits don't tell, one line each.
pub(super) fn notes(group: &Group) -> Vec<String> {
    let mut notes = Vec::new();
    if group.wait.contains(&Wait::Nothing) {
        let where_it_waited = match group.waiting_at.is_empty() {
            true => "",
            false => "; above is where its last ones were cloned",
        };
        notes.push(format!(
            "no waker is alive: only an abort can end it{where_it_waited}"
        ));
    }
    if group.wakers_without_stack > 0 {
        let wakers = match group.wakers_without_stack {
            1 => "1 waker".to_owned(),
            wakers => format!("{wakers} wakers"),
        };
        notes.push(format!("? {wakers} without a stack, in all its tasks"));
    }
    if group.waits_guessed > 0 {
        let tasks = group.waits_guessed;
        notes.push(format!(
            "guessed for {tasks} of its tasks: a waker is gone, perhaps that of a stack above"
        ));
    }
    notes
}

/// What is wrong with the detector, one line each.
pub(super) fn health_lines(health: &Health) -> Vec<String> {
    let mut lines = Vec::new();
    if !health.recording {
        lines.push("NOT RECORDING: what is shown is not all there is".to_owned());
    }
    let problems = health.problems.iter();
    lines.extend(problems.map(|problem| format!("problem: {}", Clean(problem))));
    let dropped = health.dropped.iter();
    let dropped = counted(dropped.map(|(what, count)| (what.as_str(), *count)));
    if !dropped.is_empty() {
        lines.push(format!("dropped: {dropped}"));
    }
    lines
}

/// `stacks 12, tasks 3`
pub(super) fn counted<'a>(of: impl Iterator<Item = (&'a str, u64)>) -> String {
    let each: Vec<String> = of
        .map(|(word, count)| format!("{} {count}", Clean(word)))
        .collect();
    each.join(", ")
}

/// The modules of a snapshot by address.
pub(super) struct Modules<'a> {
    modules: &'a [Module],
    /// Places in `modules`, by start.
    sorted: Vec<usize>,
    /// The place of the executable.
    executable: usize,
}

impl<'a> Modules<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let modules = snapshot.modules.as_slice();
        let mut sorted: Vec<usize> = (0..modules.len()).collect();
        sorted.sort_by_key(|&place| modules[place].start);
        let is_executable = |module: &Module| module.path == snapshot.process.exe;
        Self {
            modules,
            sorted,
            executable: modules.iter().position(is_executable).unwrap_or(0),
        }
    }

    /// The place in the snapshot's list of the executable, if there is a list.
    pub(super) fn executable(&self) -> usize {
        self.executable
    }

    /// The place in the snapshot's list of the module that holds an address.
    pub(super) fn place(&self, address: u64) -> Option<usize> {
        let after = self
            .sorted
            .partition_point(|&place| self.modules[place].start <= address);
        let place = *self.sorted.get(after.checked_sub(1)?)?;
        (address < self.modules[place].end).then_some(place)
    }

    /// An address as text shows it: in the executable the one that its symbols use, the same in
    /// each run; elsewhere the one in memory.
    pub(super) fn shown(&self, address: u64) -> u64 {
        match self.place(address) {
            Some(place) if place == self.executable => {
                address.wrapping_sub(self.modules[place].bias)
            }
            _ => address,
        }
    }

    /// The function of a frame, or what is known in its stead.
    pub(super) fn label(&self, frame: &'a Frame) -> Label<'a> {
        if !frame.function.is_empty() {
            return Label::Function(Clean(&frame.function));
        }
        match self.place(frame.address).map(|place| &self.modules[place]) {
            Some(module) => Label::Offset(
                Clean(module.file_name()),
                frame.address.wrapping_sub(module.bias),
            ),
            None => Label::Address(frame.address),
        }
    }
}

impl Module {
    /// The last part of its path.
    fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// A frame's function, or what is known in its stead.
pub(super) enum Label<'a> {
    /// Its name.
    Function(Clean<'a>),
    /// Its module, and the address that the module's symbols use.
    Offset(Clean<'a>, u64),
    /// No module holds it.
    Address(u64),
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(name) => name.fmt(f),
            Self::Offset(module, offset) => write!(f, "{module}+{offset:#x}"),
            Self::Address(address) => write!(f, "{address:#x}"),
        }
    }
}

/// A path for people to read: of a crate from cargo's registry, what stands from the crate on.
pub(super) fn short_path(path: &str) -> Clean<'_> {
    Clean(in_registry(path).unwrap_or(path))
}

/// `file:line`, as much of it as is known.
pub(super) struct Place<'a>(pub(super) &'a Frame);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.file, self.0.line) {
            (Some(file), Some(line)) => write!(f, "{}:{line}", short_path(file)),
            (Some(file), None) => short_path(file).fmt(f),
            (None, _) => Ok(()),
        }
    }
}

/// Text that the program chose, in one line of bounded length: control characters are escaped.
///
/// pprof's parser gives up on a line of 64 KiB; a generic function's name can get that long.
#[derive(Clone, Copy)]
pub(super) struct Clean<'a>(pub(super) &'a str);

impl Clean<'_> {
    const MOST_BYTES: usize = 2000;
}

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = self.0.len() <= Self::MOST_BYTES;
        // Nearly every name is: a million tasks are printed by way of this.
        if fits && self.0.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return f.write_str(self.0);
        }
        let shown = &self.0[..self.0.floor_char_boundary(Self::MOST_BYTES)];
        let mut parts = shown.split(char::is_control);
        f.write_str(parts.next().unwrap_or(""))?;
        let mut controls = shown.chars().filter(|char| char.is_control());
        for part in parts {
            let control = controls.next().map(char::escape_default);
            control
                .into_iter()
                .flatten()
                .try_for_each(|char| fmt::Write::write_char(f, char))?;
            f.write_str(part)?;
        }
        f.write_str(if fits { "" } else { "…" })
    }
}

/// A time in milliseconds as people say it, to two units: `350ms`, `4.2s`, `2m10s`, `3h5m`,
/// `2d4h`.
#[derive(Clone, Copy)]
pub(crate) struct Time(pub(crate) u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        let seconds = ms / 1000;
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        match seconds {
            0 => write!(f, "{ms}ms"),
            1..10 => write!(f, "{seconds}.{}s", ms % 1000 / 100),
            10..60 => write!(f, "{seconds}s"),
            60..3600 => write!(f, "{minutes}m{}s", seconds % 60),
            3600..86_400 => write!(f, "{hours}h{}m", minutes % 60),
            _ => write!(f, "{days}d{}h", hours % 24),
        }
    }
}

/// `2m10s`, and from when to when where that is not the same.
pub(super) struct Range<'a>(pub(super) &'a Spread);

impl fmt::Display for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { min, median, max } = *self.0;
        let [min, median, max] = [min, median, max].map(|ms| Time(ms).to_string());
        f.write_str(&median)?;
        match min == max {
            true => Ok(()),
            false => write!(f, " ({min} to {max})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample::{frame, snapshot};

    #[test]
    fn times_have_two_units() {
        let check = |ms, expected: &str| assert_eq!(Time(ms).to_string(), expected);
        check(0, "0ms");
        check(999, "999ms");
        check(4250, "4.2s");
        check(42_900, "42s");
        check(130_000, "2m10s");
        check(3_600_000 * 3 + 5 * 60_000, "3h5m");
        check(86_400_000 * 2 + 3_600_000 * 4, "2d4h");
    }

    #[test]
    fn a_name_can_not_break_a_line() {
        assert_eq!(
            Clean("a\n1 @ 0x1\t\u{7f}b").to_string(),
            r"a\n1 @ 0x1\t\u{7f}b"
        );
        assert_eq!(Clean("plain é").to_string(), "plain é");
        let long = Clean(&"é".repeat(40_000)).to_string();
        assert!(long.len() < 2010 && long.ends_with("é…"));
    }

    #[test]
    fn a_path_in_the_registry_begins_with_its_crate() {
        let check = |path, expected: &str| assert_eq!(short_path(path).to_string(), expected);
        check(
            "/home/me/.cargo/registry/src/index.example-1949cf8c6b5b557f/axum-0.8.9/src/lib.rs",
            "axum-0.8.9/src/lib.rs",
        );
        check("/home/me/shop/src/main.rs", "/home/me/shop/src/main.rs");
        check("src/registry/src/x", "src/registry/src/x");
    }

    #[test]
    fn a_stack_of_hidden_frames_is_shown_whole() {
        let hidden = |function| frame(function, 0x10).hidden();
        let stack = [hidden("a").0, hidden("b").0];
        assert_eq!(shown(&stack, false).count(), 2);
        let mixed = [hidden("a").0, frame("b", 0x11).0];
        assert_eq!(shown(&mixed, false).count(), 1);
        assert_eq!(shown(&mixed, true).count(), 2);
    }

    #[test]
    fn a_select_stands_where_its_arms_part() {
        let snapshot = snapshot();
        let select = snapshot
            .groups
            .iter()
            .find(|group| group.wait.len() == 2)
            .unwrap();
        let names: Vec<_> = await_frames(select, false)
            .iter()
            .map(|frame| frame.function.as_str())
            .collect();
        assert_eq!(names, ["shop::cart::checkout"]);
    }

    #[test]
    fn modules_are_found_by_address() {
        let snapshot = snapshot();
        let modules = Modules::of(&snapshot);
        for (place, module) in snapshot.modules.iter().enumerate() {
            assert_eq!(modules.place(module.start), Some(place));
            assert_eq!(modules.place(module.end - 1), Some(place));
            assert_ne!(modules.place(module.end), Some(place));
        }
        assert_eq!(modules.place(1), None);
    }
}
