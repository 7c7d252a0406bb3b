//! The tasks that a test, or a guard, finds left at its end, and the page that people read then.
//!
//! The rules:
//! 1. Whoever calls has chosen: the snapshot holds the owner's groups alone, without noise and
//!    without what is allowed.
//! 2. A page shows no hidden frame. Why a stack is not there, the problems of the detector at its
//!    end say.
//! 3. The rule that a page offers for a group is read back and asked before it is shown: it allows
//!    the group by where it waits or was spawned, and not all that the test spawns.

use std::fmt;
use std::slice;
use std::time::Duration;

use crate::frames::{is_path_end, visible};
use crate::name::Place;
use crate::render;
use crate::snapshot::{Frame, Group, Snapshot, SourceLocation};

/// Whose tasks they are: a test, or a guard made by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// What it is called in the page: `tests::it_works`, `the guard at src/x.rs:12:5`.
    pub name: String,
    /// The `module_path!()` of the test; empty if it is not known.
    pub module: String,
    /// The path of the test's function: the module's and its name; empty if it is not known.
    pub function: String,
    /// The `file!()` of the test, or of who made the guard; empty if it is not known.
    pub file: String,
    /// How its tasks are allowed to stay.
    pub form: Form,
}

/// How an [`Owner`] came to be, and so how its tasks are allowed to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `#[taskleak::test]`.
    Test,
    /// `taskleak::Guard`.
    Guard,
}

/// The tasks that are left.
///
/// Its text is a page for people: for each group what it waits on, for how long, where, who
/// spawned it, and the rule that allows it. The owner's own lines are marked with `>`; they are
///
/// 1. the frames of its function, and of blocks and closures in it; if there are none,
/// 2. those of functions in its module, or below it; if there are none,
/// 3. those that lie in its file.
#[must_use = "tasks that are left are told by nobody else"]
#[derive(Debug, Clone)]
pub struct Leaks {
    owner: Owner,
    waited: Duration,
    snapshot: Snapshot,
    unseen: u64,
}

impl Leaks {
    /// The tasks of the snapshot's groups are those that are left, `waited` after the owner's end.
    pub fn new(owner: Owner, waited: Duration, snapshot: Snapshot) -> Self {
        Self {
            owner,
            waited,
            snapshot,
            unseen: 0,
        }
    }

    /// As many more are left, and nothing else is known of them.
    pub fn with_unseen(self, unseen: u64) -> Self {
        Self { unseen, ..self }
    }

    /// No task is left, and if one were it would have been seen.
    pub fn is_empty(&self) -> bool {
        self.tasks() == 0 && self.snapshot.health.recording
    }

    /// How many are left, those included of which nothing but that they are alive is known.
    pub fn tasks(&self) -> u64 {
        tasks(&self.snapshot) + self.unseen
    }

    /// Their groups, largest first.
    pub fn iter(&self) -> slice::Iter<'_, Group> {
        self.snapshot.groups.iter()
    }
}

impl<'a> IntoIterator for &'a Leaks {
    type Item = &'a Group;
    type IntoIter = slice::Iter<'a, Group>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Leaks {
    type Item = Group;
    type IntoIter = std::vec::IntoIter<Group>;

    fn into_iter(self) -> Self::IntoIter {
        self.snapshot.groups.into_iter()
    }
}

/// The page.
impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = render::Page {
            owner: &self.owner,
            snapshot: &self.snapshot,
            unseen: self.unseen,
            offers_rules: true,
        };
        let (tasks, are) = match self.tasks() {
            0 if self.is_empty() => return write!(f, "no task of {} is left", page.name()),
            0 => {
                let name = page.name();
                writeln!(f, "it is not known whether tasks of {name} are left")?;
                return page.fmt(f);
            }
            1 => ("1 task".to_owned(), "is"),
            tasks => (format!("{tasks} tasks"), "are"),
        };
        let (name, waited) = (page.name(), render::Limit(self.waited));
        match (self.owner.form, self.waited.is_zero()) {
            (Form::Test, true) => {
                writeln!(
                    f,
                    "{tasks} that {name} started {are} still alive at its end"
                )
            }
            (Form::Test, false) => writeln!(
                f,
                "{tasks} that {name} started {are} still alive {waited} after its end"
            ),
            (Form::Guard, true) => writeln!(f, "{tasks} of {name} {are} still alive"),
            (Form::Guard, false) => {
                writeln!(
                    f,
                    "{tasks} of {name} {are} still alive after {waited} of waiting"
                )
            }
        }?;
        page.fmt(f)
    }
}

/// Why a test has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unended {
    /// It took longer than it may.
    TimedOut {
        /// So long it may take.
        limit: Duration,
    },
    /// Its process was told to end: by the SIGTERM of a test runner that has waited long enough.
    Terminated,
}

/// The page of a test that did not end: every task of it, its root future included.
pub fn unended(owner: &Owner, why: Unended, snapshot: &Snapshot) -> String {
    let page = render::Page {
        owner,
        snapshot,
        unseen: 0,
        offers_rules: false,
    };
    let name = page.name();
    let why = match why {
        Unended::TimedOut { limit } => {
            format!("{name} has not ended within {}", render::Limit(limit))
        }
        Unended::Terminated => {
            format!("{name} had not ended when its process was told to end (SIGTERM)")
        }
    };
    let tasks = match tasks(snapshot) {
        0 => "no task of it is known".to_owned(),
        1 => "1 task of it is alive".to_owned(),
        tasks => format!("{tasks} tasks of it are alive"),
    };
    format!("{why}; {tasks}\n{page}")
}

fn tasks(snapshot: &Snapshot) -> u64 {
    snapshot.groups.iter().map(|group| group.count).sum()
}

/// Which lines of a page are its owner's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own<'a> {
    /// Those in this function.
    Function(&'a str),
    /// Those in this module and below it.
    Module(&'a str),
    /// Those in this file.
    File(&'a str),
    /// None.
    Nothing,
}

impl<'a> Own<'a> {
    /// The narrowest that marks anything.
    pub(crate) fn of(owner: &'a Owner, groups: &[Group]) -> Self {
        let kinds = [
            (owner.function.as_str(), Self::Function as fn(&'a str) -> _),
            (owner.module.as_str(), Self::Module),
            (owner.file.as_str(), Self::File),
        ];
        kinds
            .into_iter()
            .filter(|(of, _)| !of.is_empty())
            .map(|(of, own)| own(of))
            .find(|own: &Self| groups.iter().any(|group| own.marks_any(group)))
            .unwrap_or(Self::Nothing)
    }

    /// Whether it is one of them.
    pub(crate) fn marks(self, frame: &Frame) -> bool {
        match self {
            Self::Function(path) | Self::Module(path) => {
                Place::of_shown(&frame.function).below(path).is_some()
            }
            Self::File(file) => frame.file.as_deref().is_some_and(|at| is_same(at, file)),
            Self::Nothing => false,
        }
    }

    /// Whether tasks that were spawned there are told to be of its file.
    pub(crate) fn marks_spawn(self, at: &SourceLocation) -> bool {
        matches!(self, Self::File(file) if is_same(&at.file, file))
    }

    fn marks_any(self, group: &Group) -> bool {
        let at = group.spawned_at.as_ref();
        group.visible_frames().any(|frame| self.marks(frame))
            || at.is_some_and(|at| self.marks_spawn(at))
    }

    /// Whether a task of the group waits in one of them.
    pub(crate) fn marks_wait(self, group: &Group) -> bool {
        let mut waits = group.waiting_at.iter();
        waits.any(|stack| visible(stack).any(|frame| self.marks(frame)))
    }
}

/// `file!()` is relative to the workspace, debug info has whole paths.
fn is_same(at: &str, file: &str) -> bool {
    is_path_end(at, file, "/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample::{self, frame, stack};

    fn owner(module: &str, function: &str, file: &str) -> Owner {
        Owner {
            name: "it".to_owned(),
            module: module.to_owned(),
            function: function.to_owned(),
            file: file.to_owned(),
            form: Form::Test,
        }
    }

    /// One that waits in a function of the program, and was spawned by that of a test.
    fn group() -> Group {
        let mut groups = sample::snapshot().groups;
        Group {
            waiting_at: vec![stack([
                frame("shop::tests::hidden", 1)
                    .at("src/tests.rs", 1)
                    .hidden(),
                frame("shop::worker", 1).at("/home/me/shop/src/worker.rs", 31),
            ])],
            created_by: stack([
                frame("<shop::tests::Harness as shop::Run>::run", 1).at("src/harness.rs", 4),
                frame("shop::tests::it_works::{async block}", 1).at("/home/me/shop/src/it.rs", 9),
                frame("shop::tests::it_works_too", 1).at("src/it.rs", 19),
            ]),
            spawned_at: None,
            ..groups.swap_remove(0)
        }
    }

    #[test]
    fn own_lines_are_the_narrowest_that_there_are() {
        let check = |owner: Owner, expected: &[&str]| {
            let groups = [group()];
            let own = Own::of(&owner, &groups);
            let marked: Vec<_> = groups[0]
                .visible_frames()
                .filter(|frame| own.marks(frame))
                .map(|frame| frame.function.rsplit("::").next().unwrap())
                .collect();
            assert_eq!(marked, expected, "{owner:?}");
        };
        let (module, function) = ("shop::tests", "shop::tests::it_works");
        check(owner(module, function, "src/it.rs"), &["{async block}"]);
        let module_alone = &["run", "{async block}", "it_works_too"];
        check(owner(module, "", "src/it.rs"), module_alone);
        check(
            owner(module, "shop::tests::it_work", "src/it.rs"),
            module_alone,
        );
        check(
            owner("shop::test", "", "src/it.rs"),
            &["{async block}", "it_works_too"],
        );
        check(owner("", "", "src/worker.rs"), &["worker"]);
        check(owner("", "", "orker.rs"), &[]);
        check(owner("elsewhere", "elsewhere::f", "src/elsewhere.rs"), &[]);
        check(owner("shop::tests::hidden", "shop::tests::hidden", ""), &[]);
        check(owner("", "", ""), &[]);
    }

    #[test]
    fn a_spawn_may_be_all_that_is_of_its_file() {
        let at = |file: &str| SourceLocation {
            file: file.to_owned(),
            line: 7,
            column: 1,
        };
        let groups = [Group {
            waiting_at: Vec::new(),
            created_by: stack([]),
            spawned_at: Some(at("src/it.rs")),
            ..group()
        }];
        let owner = owner("shop::tests", "shop::tests::it_works", "src/it.rs");
        let own = Own::of(&owner, &groups);
        assert_eq!(own, Own::File("src/it.rs"));
        assert!(own.marks_spawn(&at("src/it.rs")) && !own.marks_spawn(&at("src/a.rs")));
    }

    #[test]
    fn leaks_are_their_groups() {
        let leaks = |groups: Vec<Group>| {
            let mut snapshot = sample::snapshot();
            snapshot.groups = groups;
            snapshot.health.recording = true;
            Leaks::new(owner("", "", ""), Duration::ZERO, snapshot)
        };
        let none = leaks(Vec::new());
        assert!(none.is_empty() && none.tasks() == 0);
        assert_eq!(none.to_string(), "no task of it is left");
        let two = leaks(sample::snapshot().groups.split_off(6));
        assert!(!two.is_empty());
        assert_eq!(two.tasks(), 3);
        assert_eq!((&two).into_iter().count(), 3);
        assert_eq!(two.into_iter().count(), 3);
        let unseen = leaks(Vec::new()).with_unseen(2);
        assert!(!unseen.is_empty() && unseen.tasks() == 2);
        let mut blind = leaks(Vec::new());
        blind.snapshot.health.recording = false;
        assert!(!blind.is_empty());
        let page = blind.to_string();
        assert!(page.starts_with("it is not known whether tasks of it are left\n"));
    }
}
