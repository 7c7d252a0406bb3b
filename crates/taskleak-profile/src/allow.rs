//! Allow rules: which groups of tasks wait on purpose, so that no verdict falls on them.
//!
//! The rules of this module:
//! 1. A rule is read as a whole or not at all: what is not understood is an error in one line that
//!    names it and lists what is allowed.
//! 2. A rule looks at what a snapshot shows, never at hidden frames, so that whoever reads the
//!    profile sees why it matched.
//! 3. What is not known matches nothing: a frame without a name, a waker without a stack.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::frames::{in_registry, is_path_end, visible};
use crate::name::Place;
use crate::query::{number, quoted, wait};
use crate::snapshot::{Frame, Group, SourceLocation, Wait};

/// A rule that says of groups of tasks that they are no leak.
///
/// It is made of a text: conditions `KEY=VALUE` joined by `, `, all of which must hold. Each key
/// stands once, in any order.
///
/// | key | holds for a group if |
/// |---|---|
/// | `function` | a visible frame of where it waits or of its creation is this function, or an async block or closure in it: the whole path or its end, `shop::cart::fill`, `cart::fill`, `fill` |
/// | `crate` | a function of this crate or module spawned it, that is the innermost visible frame of its creation: `hyper_util`, `hyper_util::client`. Where no frame of the creation is known, the outermost visible frame of each of its waits tells |
/// | `spawned_at` | it was spawned there: `src/worker.rs:52:9`, `src/worker.rs:52`, `worker.rs`; the file is the whole path or its end |
/// | `name` | its tasks have exactly this name |
/// | `wait` | it waits on this and on nothing else: `chan receive`, `chan_receive` |
///
/// A method of a trait goes by its type, `shop::Worker::run`, or by the name as it is shown,
/// `<shop::Worker as shop::Job>::run`; where the type has no path (`&T`), by its trait.
///
/// Limits:
/// - Without debug info frames may lack names or their paths, and inlined functions are not
///   there. Prefer `spawned_at`, which every build has.
/// - A function of a creation stack allows all that it spawned, and what that calls: `main`
///   allows most of a program.
/// - A group of which some wakers have no stack matches no `wait`: what else it waits for is not
///   known.
/// - No value can hold a comma.
///
/// ```
/// use taskleak_profile::allow::Allow;
/// use taskleak_profile::snapshot::Snapshot;
///
/// let idle: Allow = "crate=hyper_util::client, wait=chan receive".parse()?;
/// let tasks_on_purpose = |snapshot: &Snapshot| -> u64 {
///     let allowed = snapshot.groups.iter().filter(|group| idle.matches(group));
///     allowed.map(|group| group.count).sum()
/// };
/// # let _ = tasks_on_purpose;
///
/// let error = "functoin=shop::worker".parse::<Allow>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "allow rule \"functoin=shop::worker\" can't be read: unknown key \"functoin\"; \
///      allowed: function, crate, spawned_at, name, wait"
/// );
/// # Ok::<(), taskleak_profile::allow::AllowError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    text: String,
    conditions: Vec<Condition>,
}

/// A rule that can't be read: one line that names the rule, what is wrong with it and what is
/// allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("allow rule {rule} can't be read: {problem}")]
pub struct AllowError {
    rule: String,
    problem: String,
}

impl Allow {
    /// Whether the rule allows the tasks of this group.
    pub fn matches(&self, group: &Group) -> bool {
        self.conditions
            .iter()
            .all(|condition| condition.holds(group))
    }

    /// A rule for this group, if one can be told: that of the function it waits in, the innermost
    /// of the program's own if there is one, and of a library's if not; of a select that of the
    /// function that selects; else that of where it was spawned.
    ///
    /// A function that spawned the group, as a test that waits in a block of its own, would allow
    /// all that it spawns: it gives no rule.
    pub(crate) fn of(group: &Group) -> Option<Self> {
        let waits = &group.waiting_at;
        let is_of_library = |frame: &Frame| frame.file.as_deref().and_then(in_registry).is_some();
        let is_in_all = |frame: &Frame| {
            let is_it = |other: &Frame| other.function == frame.function;
            waits.iter().all(|stack| visible(stack).any(is_it))
        };
        let mut frames: Vec<&Frame> = waits.iter().flat_map(|stack| visible(stack)).collect();
        frames.sort_by_key(|frame| (is_of_library(frame), !is_in_all(frame)));
        let functions = frames.into_iter().filter_map(|frame| {
            let path = Place::of_shown(&frame.function).path;
            // What has no path is called like many others.
            path.contains("::").then(|| format!("function={path}"))
        });
        let spawned_at = group.spawned_at.as_ref().map(|at| {
            let file = in_registry(&at.file).unwrap_or(&at.file);
            format!("spawned_at={file}:{}", at.line)
        });
        let created = Group {
            waiting_at: Vec::new(),
            spawned_at: None,
            ..group.clone()
        };
        let rules = functions
            .chain(spawned_at)
            .filter_map(|text| text.parse::<Self>().ok());
        let mut narrow = rules.filter(|rule| rule.matches(group) && !rule.matches(&created));
        narrow.next()
    }
}

impl FromStr for Allow {
    type Err = AllowError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let conditions = conditions(text).map_err(|problem| AllowError {
            rule: quoted(text),
            problem,
        })?;
        Ok(Self {
            text: text.to_owned(),
            conditions,
        })
    }
}

/// The text that the rule was read from.
impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Function(String),
    Crate(String),
    SpawnedAt(Location),
    Name(String),
    Wait(Wait),
}

/// A place in the source, as far as it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Location {
    file: String,
    line: Option<u32>,
    column: Option<u32>,
}

const KEYS: [&str; 5] = ["function", "crate", "spawned_at", "name", "wait"];

/// In bytes; several times as long as any path.
const LONGEST: usize = 1024;

fn conditions(text: &str) -> Result<Vec<Condition>, String> {
    if text.is_empty() {
        let keys = KEYS.join(", ");
        return Err(format!(
            "it is empty; allowed: KEY=VALUE, more of them joined by \", \", with the keys {keys}"
        ));
    }
    if text.len() > LONGEST {
        let length = text.len();
        return Err(format!(
            "it is {length} bytes long; allowed: up to {LONGEST}"
        ));
    }
    if let Some(control) = text.chars().find(|char| char.is_control()) {
        return Err(format!(
            "it holds the control character {control:?}; allowed: one line of text"
        ));
    }
    let mut seen: Vec<&str> = Vec::new();
    let mut read = Vec::new();
    // At a comma alone, so that one without a space does not become a part of a value.
    for part in text.split(',') {
        let (key, condition) = condition(part.trim())?;
        if seen.contains(&key) {
            return Err(format!("{key} is given twice; allowed: once"));
        }
        seen.push(key);
        read.push(condition);
    }
    Ok(read)
}

fn condition(part: &str) -> Result<(&str, Condition), String> {
    let Some((key, value)) = part.split_once('=') else {
        let keys = KEYS.join(", ");
        return Err(format!(
            "{} is no KEY=VALUE; allowed keys: {keys}",
            quoted(part)
        ));
    };
    let (key, value) = (key.trim(), value.trim());
    if !KEYS.contains(&key) {
        let keys = KEYS.join(", ");
        return Err(format!("unknown key {}; allowed: {keys}", quoted(key)));
    }
    match Condition::read(key, value) {
        Some(condition) => Ok((key, condition)),
        None => Err(format!(
            "{key} can't be {}; allowed: {}",
            quoted(value),
            allowed(key)
        )),
    }
}

/// What may stand behind a key.
fn allowed(key: &str) -> Cow<'static, str> {
    match key {
        "function" => "a function's path or its end".into(),
        "crate" => "a crate or the path of a module".into(),
        "spawned_at" => "FILE, FILE:LINE, FILE:LINE:COLUMN, with numbers from 1".into(),
        "name" => "a task's name".into(),
        _ => Wait::ALL.map(Wait::word).join(", ").into(),
    }
}

impl Condition {
    /// `None` if the value is not allowed.
    fn read(key: &str, value: &str) -> Option<Self> {
        let text = || (!value.is_empty()).then(|| value.to_owned());
        match key {
            "function" => text().map(Self::Function),
            // As a package is called: no path holds a hyphen.
            "crate" => Some(Self::Crate(text()?.replace('-', "_"))),
            "spawned_at" => Location::read(value).map(Self::SpawnedAt),
            "name" => text().map(Self::Name),
            "wait" => wait(value).map(Self::Wait),
            _ => None,
        }
    }

    fn holds(&self, group: &Group) -> bool {
        match self {
            Self::Function(function) => group
                .visible_frames()
                .any(|frame| is_function(frame, function)),
            Self::Crate(krate) => is_spawned_by(group, krate),
            Self::SpawnedAt(at) => group.spawned_at.as_ref().is_some_and(|it| at.is_of(it)),
            Self::Name(name) => group.name == *name,
            Self::Wait(wait) => waits_only(group, *wait),
        }
    }
}

impl Location {
    fn read(value: &str) -> Option<Self> {
        let mut parts = value.split(':');
        let file = parts.next().filter(|file| !file.is_empty())?;
        let mut position = || match parts.next() {
            Some(digits) => number(digits, 1, u32::MAX.into()).map(|number| Some(number as u32)),
            None => Some(None),
        };
        let (line, column) = (position()?, position()?);
        parts.next().is_none().then(|| Self {
            file: file.to_owned(),
            line,
            column,
        })
    }

    fn is_of(&self, at: &SourceLocation) -> bool {
        is_path_end(&at.file, &self.file, "/")
            && self.line.is_none_or(|line| line == at.line)
            && self.column.is_none_or(|column| column == at.column)
    }
}

fn is_function(frame: &Frame, function: &str) -> bool {
    let shown = frame.function.as_str();
    // Most names are paths already: no type in `<…>`, no `{closure}` at the end.
    let path = match shown.contains(['<', '{']) {
        true => Cow::Owned(Place::of_shown(shown).path),
        false => Cow::Borrowed(shown),
    };
    is_path_end(shown, function, "::") || is_path_end(&path, function, "::")
}

fn is_spawned_by(group: &Group, krate: &str) -> bool {
    let is_in = |frame: &Frame| Place::of_shown(&frame.function).below(krate).is_some();
    if visible(&group.created_by).any(is_named) {
        return visible(&group.created_by).next().is_some_and(is_in);
    }
    let mut waits = group
        .waiting_at
        .iter()
        .map(|wait| visible(wait).next_back());
    !group.waiting_at.is_empty() && waits.all(|future| future.is_some_and(is_in))
}

fn is_named(frame: &Frame) -> bool {
    !frame.function.is_empty()
}

fn waits_only(group: &Group, wait: Wait) -> bool {
    let mut waits = group.wait.iter();
    !group.wait.is_empty()
        && group.wakers_without_stack == 0
        && waits.all(|waited_on| *waited_on == wait)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::render::sample;
    use crate::snapshot::Stack;

    fn rule(text: &str) -> Allow {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    /// A name in `(…)` is of a hidden frame.
    fn stack(functions: &[&str]) -> Stack {
        let frame = |function: &&str| match function.strip_prefix('(') {
            Some(hidden) => sample::frame(hidden.trim_end_matches(')'), 1).hidden().0,
            None => sample::frame(function, 1).0,
        };
        functions.iter().map(frame).collect()
    }

    /// A group with one wait.
    fn group(waiting_at: &[&str], created_by: &[&str]) -> Group {
        Group {
            waiting_at: vec![stack(waiting_at)],
            created_by: stack(created_by),
            ..sample::snapshot().groups.swap_remove(0)
        }
    }

    #[test]
    fn functions_go_by_their_path_or_its_end() {
        let check = |shown: &str, function: &str, expected: bool| {
            let rule = rule(&format!("function={function}"));
            let waiting = group(&["(tokio::recv)", shown], &["shop::main"]);
            assert_eq!(rule.matches(&waiting), expected, "{function} of {shown}");
            let created = group(&["(tokio::recv)"], &["(tokio::spawn)", shown, "shop::main"]);
            assert_eq!(rule.matches(&created), expected, "{function} by {shown}");
        };
        check("shop::cart::fill", "shop::cart::fill", true);
        check("shop::cart::fill", "cart::fill", true);
        check("shop::cart::fill", "fill", true);
        check("shop::cart::fill", "ill", false);
        check("shop::cart::fill", "art::fill", false);
        check("shop::cart::fill", "shop::cart", false);
        check("shop::cartoon", "shop::cart", false);
        check("shop::cart", "shop::cartoon", false);
        check("shop::cart::{async block}", "shop::cart", true);
        check("shop::cart::{async block}", "cart", true);
        check("shop::cart::{closure}", "cart::{closure}", true);
        check("shop::cart::{closure}", "cart::{async block}", false);
        check("shop::cart", "shop::cart::{async block}", false);
        let method = "<shop::Worker as shop::Job>::run";
        check(method, method, true);
        check(method, "shop::Worker::run", true);
        check(method, "Worker::run", true);
        check(method, "run", true);
        check(method, "shop::Job::run", false);
        check("<&mut T as shop::Job>::run", "Job::run", true);
        check("<shop::Worker as shop::Job>::run::{closure}", "run", true);
        check("pthread_cond_wait", "pthread_cond_wait", true);
        check("", "fill", false);
    }

    #[test]
    fn a_rule_for_a_group_allows_that_group() {
        let check = |group: &Group, expected: Option<&str>| {
            let rule = Allow::of(group);
            let text = rule.as_ref().map(ToString::to_string);
            assert_eq!(text.as_deref(), expected);
            let is_for_it = |text: String| self::rule(&text).matches(group);
            assert!(text.is_none_or(is_for_it), "{expected:?}");
        };
        let main = ["(tokio::spawn)", "shop::main"];
        let waits = |waiting_at: &[&str]| group(waiting_at, &main);
        check(
            &waits(&["(tokio::recv)", "shop::worker", "shop::job"]),
            Some("function=shop::worker"),
        );
        check(
            &waits(&["shop::job::{async block}"]),
            Some("function=shop::job"),
        );
        let method = "<shop::Worker as shop::Job>::run";
        check(&waits(&[method]), Some("function=shop::Worker::run"));
        let of_reference = "<&mut T as shop::Job>::run";
        check(&waits(&[of_reference]), Some("function=shop::Job::run"));
        // In what spawned it, as in a test: that would allow all that it spawns.
        check(
            &waits(&["shop::main::{async block}"]),
            Some("spawned_at=src/main.rs:52"),
        );
        check(
            &waits(&["shop::worker", "shop::main::{async block}"]),
            Some("function=shop::worker"),
        );
        check(
            &waits(&["shop::main::{async block}", "shop::job"]),
            Some("function=shop::job"),
        );
        // No name, or no path.
        check(
            &waits(&["", "poll", "{async block}"]),
            Some("spawned_at=src/main.rs:52"),
        );
        check(&waits(&["shop::f,g"]), Some("spawned_at=src/main.rs:52"));
        check(&waits(&[]), Some("spawned_at=src/main.rs:52"));
        let nowhere = Group {
            spawned_at: None,
            ..waits(&[])
        };
        check(&nowhere, None);
        let mut selects = waits(&["shop::arm", "shop::select", "shop::job"]);
        selects
            .waiting_at
            .push(stack(&["shop::select", "shop::job"]));
        check(&selects, Some("function=shop::select"));
    }

    #[test]
    fn a_rule_names_the_program_before_its_libraries() {
        let of_registry = "/home/me/.cargo/registry/src/index.example-0123/hyper-1.8.1/src/a.rs";
        let library = || sample::frame("hyper::dispatch", 1).at(of_registry, 7);
        let at = |file: &str| SourceLocation {
            file: file.to_owned(),
            line: 7,
            column: 1,
        };
        let mut group = group(&[], &[]);
        group.waiting_at = vec![sample::stack([library(), sample::frame("shop::fetch", 1)])];
        assert_eq!(
            Allow::of(&group).unwrap().to_string(),
            "function=shop::fetch"
        );
        group.waiting_at = vec![sample::stack([library()])];
        assert_eq!(
            Allow::of(&group).unwrap().to_string(),
            "function=hyper::dispatch"
        );
        group.waiting_at = Vec::new();
        group.spawned_at = Some(at(of_registry));
        let rule = Allow::of(&group).unwrap();
        assert_eq!(rule.to_string(), "spawned_at=hyper-1.8.1/src/a.rs:7");
        assert!(rule.matches(&group));
    }

    #[test]
    fn hidden_frames_are_not_looked_at() {
        let hidden = group(&["(tokio::sync::mpsc::recv)", "shop::worker"], &["(core)"]);
        assert!(!rule("function=tokio::sync::mpsc::recv").matches(&hidden));
        assert!(!rule("function=core").matches(&hidden));
        assert!(!rule("crate=core").matches(&hidden));
    }

    #[test]
    fn crates_go_by_who_spawned() {
        let check = |created_by: &[&str], krate: &str, expected: bool| {
            let group = group(&["(tokio::recv)", "shop::leaf", "shop::job"], created_by);
            let matches = rule(&format!("crate={krate}")).matches(&group);
            assert_eq!(matches, expected, "{krate} of {created_by:?}");
        };
        let client = ["(tokio::spawn)", "hyper_util::client::go", "shop::main"];
        check(&client, "hyper_util", true);
        check(&client, "hyper-util", true);
        check(&client, "hyper_util::client", true);
        check(&client, "hyper_util::client::go", true);
        check(&client, "hyper_util::cli", false);
        check(&client, "hyper", false);
        check(&client, "client", false);
        check(&client, "shop", false);
        let exec = ["<hyper_util::rt::Exec as hyper::rt::Executor>::execute"];
        check(&exec, "hyper_util::rt", true);
        check(&exec, "hyper_util::rt::Exec", true);
        check(&exec, "hyper", false);
        check(&["<&T as hyper::rt::Executor>::execute"], "hyper", true);
        check(&["hyper_util::run::{async block}"], "hyper_util::run", true);
        // Nobody knows who: the task's own future tells.
        check(&["(tokio::spawn)"], "shop", true);
        check(&["(tokio::spawn)"], "shop::job", true);
        check(&["(tokio::spawn)"], "shop::leaf", false);
        check(&["", ""], "shop", true);
        check(&[], "shop", true);
        check(&[], "tokio", false);
        // Something without a name spawned it, called by a function of the crate.
        check(&["", "shop::main"], "shop", false);
    }

    #[test]
    fn where_no_spawner_is_known_every_wait_must_tell() {
        let mut group = group(&["shop::a"], &[]);
        group.waiting_at.push(stack(&["hyper::b"]));
        assert!(!rule("crate=shop").matches(&group));
        group.waiting_at.truncate(1);
        assert!(rule("crate=shop").matches(&group));
        group.waiting_at.clear();
        assert!(!rule("crate=shop").matches(&group));
    }

    #[test]
    fn spawns_go_by_file_line_and_column() {
        let check = |file: &str, at: &str, expected: bool| {
            let mut group = group(&[], &[]);
            group.spawned_at = Some(SourceLocation {
                file: file.to_owned(),
                line: 52,
                column: 9,
            });
            let matches = rule(&format!("spawned_at={at}")).matches(&group);
            assert_eq!(matches, expected, "{at} of {file}");
        };
        check("src/worker.rs", "src/worker.rs:52:9", true);
        check("src/worker.rs", "src/worker.rs:52", true);
        check("src/worker.rs", "worker.rs", true);
        check("src/worker.rs", "worker.rs:52", true);
        check("src/worker.rs", "src/worker.rs:5", false);
        check("src/worker.rs", "src/worker.rs:52:8", false);
        check("src/coworker.rs", "worker.rs", false);
        check("src/worker.rs", "src", false);
        check("src/worker.rs", "/src/worker.rs", false);
        check("/home/me/src/worker.rs", "/home/me/src/worker.rs:52", true);
        let unknown = Group {
            spawned_at: None,
            ..group(&[], &[])
        };
        assert!(!rule("spawned_at=worker.rs").matches(&unknown));
    }

    #[test]
    fn names_are_whole() {
        let named = Group {
            name: "conn=7".to_owned(),
            ..group(&[], &[])
        };
        assert!(rule("name=conn=7").matches(&named));
        assert!(!rule("name=conn").matches(&named));
        assert!(!rule("name=conn=7").matches(&group(&[], &[])));
    }

    #[test]
    fn a_wait_must_be_all_of_it() {
        let check = |waits: &[Wait], wakers_without_stack: u64, expected: bool| {
            let group = Group {
                wait: waits.to_vec(),
                wakers_without_stack,
                ..group(&[], &[])
            };
            for text in ["wait=chan receive", "wait=chan_receive"] {
                assert_eq!(rule(text).matches(&group), expected, "{waits:?}");
            }
        };
        let receive = Wait::ChanReceive;
        check(&[receive], 0, true);
        check(&[receive, receive], 0, true);
        check(&[receive, Wait::Sleep], 0, false);
        check(&[receive], 1, false);
        check(&[], 0, false);
        for wait in Wait::ALL {
            let condition = &rule(&format!("wait={}", wait.word())).conditions[..];
            assert_eq!(condition, [Condition::Wait(wait)]);
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let group = group(&["shop::worker"], &["shop::main"]);
        for (text, expected) in [
            ("function=worker, crate=shop, wait=chan receive", true),
            ("wait=chan receive,crate=shop", true),
            (" crate = shop , wait = chan receive\n", true),
            ("function=worker, crate=shop, wait=sleep", false),
            ("function=other, crate=shop", false),
        ] {
            assert_eq!(rule(text).matches(&group), expected, "{text}");
            assert_eq!(rule(text).to_string(), text.trim());
        }
    }

    #[test]
    fn what_is_not_understood_is_named_with_what_is_allowed() {
        let check = |text: &str, problem: &str| {
            let error = text.parse::<Allow>().expect_err(text).to_string();
            let expected = format!("allow rule {:?} can't be read: {problem}", text.trim());
            assert_eq!(error, expected);
        };
        let empty = "it is empty; allowed: KEY=VALUE, more of them joined by \", \", with the keys \
                     function, crate, spawned_at, name, wait";
        check("", empty);
        check(" \n", empty);
        check(
            "functoin=x",
            "unknown key \"functoin\"; allowed: function, crate, spawned_at, name, wait",
        );
        check(
            "=x",
            "unknown key \"\"; allowed: function, crate, spawned_at, name, wait",
        );
        check(
            "shop::worker",
            "\"shop::worker\" is no KEY=VALUE; allowed keys: function, crate, spawned_at, name, \
             wait",
        );
        check(
            "name=a,",
            "\"\" is no KEY=VALUE; allowed keys: function, crate, spawned_at, name, wait",
        );
        check("crate=a, crate=b", "crate is given twice; allowed: once");
        check(
            "function=",
            "function can't be \"\"; allowed: a function's path or its end",
        );
        check(
            "crate= , name=a",
            "crate can't be \"\"; allowed: a crate or the path of a module",
        );
        check("name=", "name can't be \"\"; allowed: a task's name");
        check(
            "wait=channel",
            "wait can't be \"channel\"; allowed: chan receive, chan send, sleep, IO wait, join, \
             mutex lock, rwlock read, rwlock write, semaphore acquire, notify, barrier, \
             sub-executor, other, nothing",
        );
        for at in [
            "",
            ":52",
            "a.rs:",
            "a.rs:0",
            "a.rs:x",
            "a.rs:+1",
            "a.rs:4294967296",
        ]
        .into_iter()
        .chain(["a.rs:1:0", "a.rs:1:", "a.rs:1:1:1"])
        {
            check(
                &format!("spawned_at={at}"),
                &format!(
                    "spawned_at can't be {at:?}; allowed: FILE, FILE:LINE, FILE:LINE:COLUMN, with \
                     numbers from 1"
                ),
            );
        }
        check(
            "name=a\u{1b}[2J",
            "it holds the control character '\\u{1b}'; allowed: one line of text",
        );
    }

    #[test]
    fn a_long_rule_is_refused_and_cut_in_the_error() {
        let long = format!("name={}", "é".repeat(9000));
        let error = long.parse::<Allow>().unwrap_err().to_string();
        assert!(error.ends_with("it is 18005 bytes long; allowed: up to 1024"));
        assert!(error.len() < 250, "{error}");
        let longest = format!("name={}", "a".repeat(LONGEST - 5));
        assert!(longest.parse::<Allow>().is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_in_one_line(text in "((function|crate|spawned_at|name|wait|\\PC)?[=:, ]?(sleep|\\PC|\n|[0-9])?){0,8}") {
            match text.parse::<Allow>() {
                Ok(rule) => {
                    prop_assert_eq!(rule.to_string(), text.trim());
                    for group in sample::snapshot().groups {
                        rule.matches(&group);
                    }
                }
                Err(error) => prop_assert!(!error.to_string().contains('\n')),
            }
        }

        #[test]
        fn a_function_matches_by_each_of_its_ends(path in "[a-c]{1,2}(::[a-c]{1,2}){0,4}", other in "[a-c]{1,2}(::[a-c]{1,2}){0,4}") {
            let group = group(&[], &[&path]);
            let whole: Vec<&str> = path.split("::").collect();
            let other_parts: Vec<&str> = other.split("::").collect();
            let is_end = whole.ends_with(&other_parts);
            prop_assert_eq!(rule(&format!("function={other}")).matches(&group), is_end);
            let is_start = whole.starts_with(&other_parts);
            prop_assert_eq!(rule(&format!("crate={other}")).matches(&group), is_start);
        }
    }
}
