//! The page of the tasks that a test leaves behind, for people.
//!
//! One paragraph a group: a line that says how many tasks do what for how long, the stacks of
//! their waits and of their creation, in columns, the owner's own lines with a `>` in the margin;
//! notes; and the rule that allows them.

use std::fmt;
use std::time::Duration;

use super::show::{
    Arm, Clean, Doing, Modules, Place, Range, Time, health_lines, notes, scope, short_path,
};
use crate::allow::Allow;
use crate::frames::visible;
use crate::leaks::{Form, Own, Owner};
use crate::snapshot::{Frame, Group, Kind, Snapshot, State, Wait};

/// Whoever leaves more kinds of tasks behind has seen enough.
const MOST_GROUPS: usize = 20;

/// The groups of a snapshot, and what is wrong with the detector.
pub(crate) struct Page<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) snapshot: &'a Snapshot,
    /// So many more of which nothing is known.
    pub(crate) unseen: u64,
    /// Each group tells how it is allowed.
    pub(crate) offers_rules: bool,
}

impl Page<'_> {
    pub(crate) fn name(&self) -> impl fmt::Display + '_ {
        Clean(&self.owner.name)
    }

    /// Those first that wait in the owner's own lines: of a test that did not end, the test.
    fn groups(&self, own: Own<'_>) -> Vec<&Group> {
        let mut groups: Vec<&Group> = self.snapshot.groups.iter().collect();
        groups.sort_by_key(|group| !own.marks_wait(group));
        groups
    }
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = Own::of(self.owner, &self.snapshot.groups);
        let whose = match own {
            Own::Function(path) | Own::Module(path) | Own::File(path) => path,
            Own::Nothing => "",
        };
        if !whose.is_empty() {
            writeln!(f, "(> marks the lines of {})", Clean(whose))?;
        }
        let modules = Modules::of(self.snapshot);
        let groups = self.groups(own);
        let (told, others) = groups.split_at(groups.len().min(MOST_GROUPS));
        for group in told {
            writeln!(f)?;
            let paragraph = Paragraph {
                owner: self.owner,
                group,
                own,
                modules: &modules,
                runtime: is_one_of_several(self.snapshot),
                offers_rule: self.offers_rules.then_some(self.owner.form),
            };
            paragraph.fmt(f)?;
        }
        if !others.is_empty() {
            let tasks: u64 = others.iter().map(|group| group.count).sum();
            let groups = others.len();
            writeln!(f, "\nand {tasks} tasks more, in {groups} groups")?;
        }
        let unseen = self.unseen;
        if unseen > 0 {
            let s = if unseen == 1 { "" } else { "s" };
            writeln!(
                f,
                "\n{unseen} task{s} of which nothing is known: spawned by a thread of its own, \
                 or under another subscriber (`taskleak::recording` makes it see them)"
            )?;
        }
        let health = health_lines(&self.snapshot.health);
        if !health.is_empty() {
            writeln!(f)?;
        }
        health.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Whether the runtime of a group tells it from others.
fn is_one_of_several(snapshot: &Snapshot) -> bool {
    let mut runtimes = snapshot.groups.iter().map(|group| &group.runtime);
    let first = runtimes.next();
    runtimes.any(|runtime| Some(runtime) != first)
}

/// What is told of a group.
struct Paragraph<'a> {
    owner: &'a Owner,
    group: &'a Group,
    own: Own<'a>,
    modules: &'a Modules<'a>,
    runtime: bool,
    offers_rule: Option<Form>,
}

impl fmt::Display for Paragraph<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary(f)?;
        let frames = self.frames();
        let widths = frames.iter().map(|frame| self.width(frame));
        let width = widths.filter(|width| *width <= WIDEST).max().unwrap_or(0);
        for arm in Arm::of(self.group) {
            if arm.is_one_of_several(self.group) {
                writeln!(f, "  {arm}")?;
            }
            self.stack(visible(arm.stack), width, f)?;
        }
        self.notes(f)?;
        if !self.is_body() {
            self.created(width, f)?;
        }
        if frames.is_empty() && self.group.spawned_at.is_none() {
            writeln!(f, "  no stack of the program's own is known")?;
        }
        self.rule(f)
    }
}

impl Paragraph<'_> {
    /// The body of a test, which whoever runs the test made.
    fn is_body(&self) -> bool {
        self.group.kind == Kind::BlockOn && !self.group.wait.is_empty()
    }

    fn created(&self, width: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if visible(&self.group.created_by).next().is_some() {
            writeln!(f, "  created by")?;
            self.stack(visible(&self.group.created_by), width, f)?;
        }
        self.spawned_at(f)
    }

    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = self.group;
        let s = if group.count == 1 { "" } else { "s" };
        write!(f, "{} task{s}: ", group.count)?;
        self.doing(f)?;
        if group.kind == Kind::Local {
            write!(f, " · {}", group.kind.word())?;
        }
        if !group.name.is_empty() {
            write!(f, " · name {}", Clean(&group.name))?;
        }
        if self.runtime && !group.runtime.is_empty() {
            write!(f, " · runtime {}", Clean(&group.runtime))?;
        }
        if let Some(scope) = scope(group)
            && group.scope != self.owner.name
        {
            write!(f, " · {scope}")?;
        }
        writeln!(f)
    }

    /// What they do, and for how long.
    fn doing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = self.group;
        let age = Range(&group.age_ms);
        let waited = group.blocked_ms.as_ref().unwrap_or(&group.age_ms);
        let waited = Range(waited);
        let is_one = group.count == 1;
        match (group.state, group.kind) {
            (State::Blocking, _) => {
                let s = if is_one {
                    "occupies a thread"
                } else {
                    "occupy threads"
                };
                write!(f, "{s} of the blocking pool, spawned {age} ago")
            }
            (State::Runnable, Kind::Blocking) => {
                let s = if is_one { "waits" } else { "wait" };
                write!(
                    f,
                    "{s} for a thread of the blocking pool, spawned {age} ago"
                )
            }
            (State::Runnable, _) => {
                write!(
                    f,
                    "runnable: woken or new, and not polled since; spawned {age} ago"
                )
            }
            (State::Running, _) => write!(f, "running, spawned {age} ago"),
            (State::Waiting, Kind::BlockOn) if group.wait.is_empty() => write!(
                f,
                "the root future of a block_on, which does not show what it waits on, for {waited}"
            ),
            // Such a waker is seen of the body of a test alone.
            (State::Waiting, Kind::BlockOn) => {
                write!(f, "the test's own body: {} for {waited}", Doing(group))
            }
            (State::Waiting, _) if group.wait.contains(&Wait::Nothing) => {
                let them = if is_one { "it" } else { "them" };
                write!(f, "nothing can wake {them}, for {waited}")
            }
            (State::Waiting, _) if group.wait.is_empty() => {
                write!(f, "waiting for {waited}, on what is not known")
            }
            (State::Waiting, _) => write!(f, "{} for {waited}", Doing(group)),
        }
    }

    fn notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = self.group.verdict.iter();
        for fact in verdict.flat_map(|verdict| &verdict.evidence) {
            writeln!(f, "  {}", Clean(fact))?;
        }
        let mut notes = notes(self.group).into_iter();
        notes.try_for_each(|note| writeln!(f, "  {note}"))
    }

    /// Where its frames do not say it.
    fn spawned_at(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(at) = &self.group.spawned_at else {
            return Ok(());
        };
        if visible(&self.group.created_by).any(|frame| frame.line == Some(at.line)) {
            return Ok(());
        }
        let mark = mark(self.own.marks_spawn(at));
        let file = short_path(&at.file);
        writeln!(f, "{mark} spawned at {file}:{}:{}", at.line, at.column)
    }

    fn rule(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((form, rule)) = self.offers_rule.zip(Allow::of(self.group)) else {
            return Ok(());
        };
        let text = rule.to_string();
        let how = match form {
            Form::Test => format!("#[taskleak::test(allow = {text:?})]"),
            Form::Guard => format!("Guard::builder().allow({text:?})?"),
        };
        writeln!(f, "  if it is meant to stay: {how}")
    }

    /// All that are shown.
    fn frames(&self) -> Vec<&Frame> {
        let waits = Arm::of(self.group).into_iter().map(|arm| arm.stack);
        let stacks = waits.chain([&self.group.created_by]);
        stacks.flat_map(|stack| visible(stack)).collect()
    }

    fn width(&self, frame: &Frame) -> usize {
        self.modules.label(frame).to_string().chars().count()
    }

    fn stack<'f>(
        &self,
        frames: impl Iterator<Item = &'f Frame>,
        width: usize,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        for frame in frames {
            let label = self.modules.label(frame).to_string();
            let mark = mark(self.own.marks(frame));
            let place = Place(frame).to_string();
            let line = format!("  {mark} {label:width$}  {place}");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A longer name does not push the column after it any further.
const WIDEST: usize = 64;

/// What stands in the margin of a line.
fn mark(is_own: bool) -> char {
    match is_own {
        true => '>',
        false => ' ',
    }
}

/// A time that somebody set: `1s`, and not `1.0s`.
pub(crate) struct Limit(pub(crate) Duration);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_millis()) {
            (seconds @ 1..=60, 0) => write!(f, "{seconds}s"),
            _ => Time(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaks::{Leaks, Unended, unended};
    use crate::render::sample::{self, frame, stack};
    use crate::snapshot::{Health, SourceLocation, Spread};

    fn owner() -> Owner {
        Owner {
            name: "tests::it_works".to_owned(),
            module: "shop::tests".to_owned(),
            function: "shop::tests::it_works".to_owned(),
            file: "src/tests.rs".to_owned(),
            form: Form::Test,
        }
    }

    fn guard() -> Owner {
        Owner {
            name: "the guard at src/main.rs:31:9".to_owned(),
            module: String::new(),
            function: String::new(),
            file: "src/main.rs".to_owned(),
            form: Form::Guard,
        }
    }

    fn spawned_at(line: u32) -> Option<SourceLocation> {
        Some(SourceLocation {
            file: "src/tests.rs".to_owned(),
            line,
            column: 5,
        })
    }

    /// What a test that spawns in itself and by way of the program leaves behind.
    fn snapshot() -> Snapshot {
        let test =
            |line| frame("shop::tests::it_works::{async block}", 0x1).at("src/tests.rs", line);
        let mut snapshot = sample::snapshot();
        let receives = Group {
            count: 2,
            name: "worker".to_owned(),
            spawned_at: spawned_at(40),
            waiting_at: vec![stack([
                frame("tokio::sync::mpsc::chan::Rx::recv", 0x2).hidden(),
                frame("shop::worker", 0x3).at("src/worker.rs", 31),
            ])],
            created_by: stack([
                frame("shop::Pool::start", 0x4).at("src/worker.rs", 12),
                test(18),
            ]),
            verdict: None,
            ..snapshot.groups[0].clone()
        };
        let sleeps = Group {
            count: 1,
            wait: vec![Wait::Sleep],
            primitives: vec!["tokio::time".to_owned()],
            blocked_ms: Some(Spread {
                min: 1012,
                median: 1012,
                max: 1012,
            }),
            spawned_at: spawned_at(22),
            waiting_at: vec![stack([test(23)])],
            created_by: stack([test(22)]),
            ..receives.clone()
        };
        let lists = [receives, sleeps];
        snapshot.groups = lists.into();
        snapshot.health = Health {
            recording: true,
            ..Health::default()
        };
        snapshot
    }

    fn second() -> Duration {
        Duration::from_secs(1)
    }

    #[test]
    fn the_page_of_a_test() {
        insta::assert_snapshot!(Leaks::new(owner(), second(), snapshot()));
    }

    #[test]
    fn the_page_of_a_guard() {
        let mut snapshot = snapshot();
        snapshot.groups.truncate(1);
        insta::assert_snapshot!(Leaks::new(guard(), second(), snapshot));
    }

    /// Groups of each sort, and a detector that has something to tell.
    #[test]
    fn the_page_of_the_sample() {
        let mut snapshot = sample::snapshot();
        snapshot.groups[6].runtime = "io".to_owned();
        insta::assert_snapshot!(Leaks::new(guard(), Duration::ZERO, snapshot));
    }

    #[test]
    fn the_page_of_a_test_that_does_not_end() {
        let mut snapshot = snapshot();
        let root = Group {
            kind: Kind::BlockOn,
            count: 1,
            wait: Vec::new(),
            primitives: Vec::new(),
            waiting_at: Vec::new(),
            name: String::new(),
            ..snapshot.groups[1].clone()
        };
        let body = Group {
            kind: Kind::BlockOn,
            count: 1,
            ..snapshot.groups[1].clone()
        };
        snapshot.groups.extend([root, body]);
        let limit = Duration::from_secs(60);
        insta::assert_snapshot!(unended(&owner(), Unended::TimedOut { limit }, &snapshot));
    }

    #[test]
    fn a_test_that_is_told_to_end_says_so() {
        let mut snapshot = snapshot();
        let text = unended(&owner(), Unended::Terminated, &snapshot);
        let told = "tests::it_works had not ended when its process was told to end (SIGTERM); \
                    3 tasks of it are alive\n";
        assert!(text.starts_with(told), "{text}");
        assert!(!text.contains("meant to stay"), "{text}");
        snapshot.groups.clear();
        let text = unended(&owner(), Unended::Terminated, &snapshot);
        assert!(text.ends_with("no task of it is known\n"), "{text}");
    }

    #[test]
    fn no_page_is_longer_than_people_read() {
        let mut snapshot = snapshot();
        snapshot.groups = vec![snapshot.groups[0].clone(); 33];
        let text = Leaks::new(owner(), second(), snapshot).to_string();
        assert_eq!(text.matches("\n2 tasks: ").count(), MOST_GROUPS);
        assert!(
            text.ends_with("\nand 26 tasks more, in 13 groups\n"),
            "{text}"
        );
    }

    #[test]
    fn a_name_can_not_forge_a_line() {
        let mut snapshot = snapshot();
        snapshot.groups[0].name = "a\n1 task: b".to_owned();
        let owner = Owner {
            name: "x\n9 tasks".to_owned(),
            ..owner()
        };
        let text = Leaks::new(owner, second(), snapshot).to_string();
        assert!(text.contains("name a\\n1 task: b"), "{text}");
        assert!(
            text.starts_with("3 tasks that x\\n9 tasks started"),
            "{text}"
        );
    }

    #[test]
    fn times_that_were_set_read_as_they_were() {
        let check = |ms, expected: &str| {
            assert_eq!(Limit(Duration::from_millis(ms)).to_string(), expected);
        };
        check(1000, "1s");
        check(60_000, "60s");
        check(500, "500ms");
        check(1500, "1.5s");
        check(90_000, "1m30s");
    }
}
