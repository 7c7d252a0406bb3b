//! The parameters of `/debug/tasks` and of the command line: what to show of a snapshot, and how.
//!
//! The rules:
//! 1. What is not understood is an error in one line that names it and lists what is allowed,
//!    never ignored.
//! 2. A filter chooses among groups. What it leaves out is in no count of the result but
//!    `totals.left_out`.
//!
//! | parameter | keeps or does |
//! |---|---|
//! | `format` | `text`, `json`, `pprof`, `folded` |
//! | `debug` | as in Go: `0` pprof, `1` text by groups, `2` text by tasks |
//! | `state` | groups in this state |
//! | `wait` | groups that wait on this, be it one of several: `chan receive`, `chan_receive` |
//! | `name` | groups whose name contains this |
//! | `runtime` | groups polled by the runtime of this name |
//! | `function` | groups with a visible frame, or a primitive, that contains this |
//! | `verdict` | groups with at least this verdict |
//! | `min_blocked` | groups of which a task has waited that long: `30s`, `1h30m`, `90` seconds; of their tasks, those that have |
//! | `group` | the group with this id |
//! | `limit` | the so many largest groups; of their tasks, the so many oldest |
//! | `full` | `1`: frames of the runtime too |
//! | `seconds` | tasks that are there now and were not so many seconds ago; of leaks, those that passed their threshold since |

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::census::Findings;
use crate::raw::RawTask;
use crate::render::{Format, Options};
use crate::snapshot::{Group, GroupId, Snapshot, State, Totals, Wait};
use crate::verdict::Level;

/// A query that can't be answered: one line that names the parameter and lists what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    message: String,
    not_built: bool,
}

impl QueryError {
    /// The query is right and asks for what this version does not have: an answer of 404, not 400.
    pub fn is_not_built(&self) -> bool {
        self.not_built
    }

    fn new(message: String) -> Self {
        Self {
            message,
            not_built: false,
        }
    }
}

/// What to show of a snapshot, and how. The default shows all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    format: Option<Format>,
    debug: Option<u8>,
    full: bool,
    seconds: Option<u16>,
    state: Option<State>,
    wait: Option<Wait>,
    name: Option<String>,
    runtime: Option<String>,
    function: Option<String>,
    verdict: Option<Level>,
    min_blocked_ms: Option<u64>,
    group: Option<GroupId>,
    limit: Option<usize>,
}

impl Query {
    /// Reads what stands after the `?` of a URL.
    ///
    /// # Errors
    ///
    /// For a parameter that is unknown or given twice, and for a value that is not allowed.
    pub fn parse(query_string: Option<&str>) -> Result<Self, QueryError> {
        let mut query = Self::default();
        let mut seen = HashSet::new();
        let pairs = query_string
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.is_empty());
        for pair in pairs {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            query.set(&name, &value)?;
            if !seen.insert(name.clone()) {
                return Err(QueryError::new(format!(
                    "{name} is given twice; allowed: once"
                )));
            }
        }
        Ok(query)
    }

    /// The tasks themselves are shown, so the snapshot must be taken with them.
    pub fn wants_tasks(&self) -> bool {
        self.debug == Some(2)
    }

    /// Whether a task is asked for, as far as that can be told of a task alone; to be asked
    /// before it is grouped, so that groups count those alone.
    pub fn admits(&self, task: &RawTask) -> bool {
        // There now and not there N seconds ago is: spawned since.
        let new = self.since_ms().is_none_or(|since| task.age_ms <= since);
        new && self.has_blocked(task)
    }

    /// [`admits`](Self::admits) among the tasks that a verdict is about: `seconds` leaves out
    /// those that were past their threshold already then.
    pub fn admits_leak(&self, task: &RawTask, findings: &Findings) -> bool {
        findings.accuse(task, self.since_ms()) && self.has_blocked(task)
    }

    fn since_ms(&self) -> Option<u64> {
        self.seconds.map(|seconds| u64::from(seconds) * 1000)
    }

    fn has_blocked(&self, task: &RawTask) -> bool {
        let blocked = |least| task.state == State::Waiting && task.in_state_ms >= least;
        self.min_blocked_ms.is_none_or(blocked)
    }

    /// How to render it; `default` is the format where the query names none.
    pub fn options(&self, default: Format) -> Options {
        let of_debug = match self.debug {
            Some(0) => Format::Pprof,
            Some(_) => Format::Text,
            None => default,
        };
        Options {
            format: self.format.unwrap_or(of_debug),
            each_task: self.wants_tasks(),
            full: self.full,
            ..Options::default()
        }
    }

    /// Keeps the groups and tasks that the query asks for and counts them anew.
    ///
    /// `totals.spawned` and `totals.unknown` are of the process and stay;
    /// `totals.left_out` grows by the tasks that are left out.
    pub fn apply(&self, mut snapshot: Snapshot) -> Snapshot {
        let before = &snapshot.totals;
        snapshot.groups.retain(|group| self.keeps(group));
        snapshot.groups.truncate(self.limit.unwrap_or(usize::MAX));
        let totals = Totals::of(&snapshot.groups);
        snapshot.totals = Totals {
            spawned: before.spawned,
            unknown: before.unknown,
            left_out: before.left_out + before.tasks.saturating_sub(totals.tasks),
            ..totals
        };
        self.keep_tasks(&mut snapshot);
        snapshot
    }

    fn keep_tasks(&self, snapshot: &mut Snapshot) {
        let kept: HashSet<GroupId> = snapshot.groups.iter().map(|group| group.id).collect();
        snapshot.tasks.retain(|task| {
            kept.contains(&task.group)
                && self
                    .min_blocked_ms
                    .is_none_or(|least| task.blocked_ms >= Some(least))
        });
        snapshot.tasks.truncate(self.limit.unwrap_or(usize::MAX));
    }

    fn keeps(&self, group: &Group) -> bool {
        let longest = group.blocked_ms.map(|blocked| blocked.max);
        let level = group
            .verdict
            .as_ref()
            .and_then(|verdict| Level::read(&verdict.level));
        self.state.is_none_or(|state| group.state == state)
            && self.wait.is_none_or(|wait| group.wait.contains(&wait))
            && self
                .name
                .as_ref()
                .is_none_or(|name| group.name.contains(name))
            && self
                .runtime
                .as_ref()
                .is_none_or(|runtime| group.runtime == *runtime)
            && self
                .function
                .as_ref()
                .is_none_or(|function| mentions(group, function))
            && self.verdict.is_none_or(|least| level >= Some(least))
            && self
                .min_blocked_ms
                .is_none_or(|least| longest >= Some(least))
            && self.group.is_none_or(|id| group.id == id)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), QueryError> {
        let allowed = PARAMETERS.iter().find(|(known, _)| *known == name);
        let Some((_, allowed)) = allowed else {
            let known: Vec<_> = PARAMETERS.iter().map(|(known, _)| *known).collect();
            let name = quoted(name);
            let known = known.join(", ");
            return Err(QueryError::new(format!(
                "unknown parameter {name}; allowed: {known}"
            )));
        };
        if name == "format" && matches!(value, "svg" | "html") {
            let message = format!("format={value} is not built; allowed: {allowed}");
            return Err(QueryError {
                message,
                not_built: true,
            });
        }
        self.read(name, value).ok_or_else(|| {
            let value = quoted(value);
            QueryError::new(format!("{name} can't be {value}; allowed: {allowed}"))
        })
    }

    /// `None` if the value is not allowed.
    fn read(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "format" => self.format = Some(format(value)?),
            "debug" => self.debug = Some(number(value, 0, 2)? as u8),
            "full" => self.full = number(value, 0, 1)? == 1,
            "seconds" => self.seconds = Some(number(value, 1, 300)? as u16),
            "state" => self.state = Some(*State::ALL.iter().find(|s| alike(s.word(), value))?),
            "wait" => self.wait = Some(wait(value)?),
            "name" => self.name = Some(text(value)?),
            "runtime" => self.runtime = Some(text(value)?),
            "function" => self.function = Some(text(value)?),
            "verdict" => self.verdict = Some(Level::read(value)?),
            "min_blocked" => self.min_blocked_ms = Some(milliseconds(value)?),
            "group" => self.group = Some(group_id(value)?),
            "limit" => self.limit = Some(number(value, 1, u32::MAX.into())? as usize),
            _ => return None,
        }
        Some(())
    }
}

/// Every parameter and what may stand behind it.
const PARAMETERS: [(&str, &str); 13] = [
    ("format", "text, json, pprof, folded"),
    ("debug", "0, 1, 2"),
    ("state", "running, runnable, waiting, blocking"),
    (
        "wait",
        "chan receive, chan send, sleep, IO wait, join, mutex lock, rwlock read, rwlock write, \
         semaphore acquire, notify, barrier, sub-executor, other, nothing",
    ),
    ("name", "a part of a task's name"),
    ("runtime", "the name of a runtime"),
    ("function", "a part of a function's name"),
    ("verdict", "suspect, likely, proven"),
    (
        "min_blocked",
        "a time such as 30s, 5m, 1h30m, or a number of seconds",
    ),
    ("group", "the id of a group, up to 16 hexadecimal digits"),
    ("limit", "1 or more"),
    ("full", "0, 1"),
    ("seconds", "1 to 300"),
];

fn mentions(group: &Group, function: &str) -> bool {
    group
        .visible_frames()
        .any(|frame| frame.function.contains(function))
        || group
            .primitives
            .iter()
            .any(|primitive| primitive.contains(function))
}

fn decode(part: &str) -> Result<String, QueryError> {
    let spaced = match part.contains('+') {
        true => Cow::Owned(part.replace('+', " ")),
        false => Cow::Borrowed(part),
    };
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| {
        QueryError::new(format!(
            "{} can't be read; allowed: percent-encoded UTF-8",
            quoted(part)
        ))
    })?;
    Ok(decoded.into_owned())
}

/// What was asked, fit for one line of an error.
pub(crate) fn quoted(asked: &str) -> String {
    const MOST: usize = 60;
    match asked.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}…", &asked[..end]),
        None => format!("{asked:?}"),
    }
}

fn format(word: &str) -> Option<Format> {
    Format::ALL.into_iter().find(|format| format.word() == word)
}

/// The wait of this word.
pub(crate) fn wait(word: &str) -> Option<Wait> {
    Wait::ALL.into_iter().find(|wait| alike(wait.word(), word))
}

/// `chan_receive` and `IO-WAIT` are the words `chan receive` and `IO wait`.
fn alike(word: &str, given: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], " ");
    plain(word) == plain(given)
}

pub(crate) fn number(digits: &str, least: u64, most: u64) -> Option<u64> {
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| all_digits)?;
    (least..=most).contains(&number).then_some(number)
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn milliseconds(value: &str) -> Option<u64> {
    let time = match number(value, 0, u64::MAX) {
        Some(seconds) => Duration::from_secs(seconds),
        None => humantime::parse_duration(value).ok()?,
    };
    u64::try_from(time.as_millis()).ok()
}

fn group_id(digits: &str) -> Option<GroupId> {
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    GroupId::try_from(digits.to_owned())
        .ok()
        .filter(|_| all_digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;
    use crate::snapshot::Verdict;

    fn check_error(query: &str, expected: &str) {
        let error = Query::parse(Some(query)).expect_err(query);
        assert_eq!(error.to_string(), expected, "{query}");
        assert!(!error.is_not_built());
    }

    #[test]
    fn what_is_not_understood_is_named_with_what_is_allowed() {
        check_error(
            "colour=red",
            "unknown parameter \"colour\"; allowed: format, debug, state, wait, name, runtime, \
             function, verdict, min_blocked, group, limit, full, seconds",
        );
        check_error(
            "format=xml",
            r#"format can't be "xml"; allowed: text, json, pprof, folded"#,
        );
        check_error("debug=3", r#"debug can't be "3"; allowed: 0, 1, 2"#);
        check_error("debug", r#"debug can't be ""; allowed: 0, 1, 2"#);
        check_error("limit=0", r#"limit can't be "0"; allowed: 1 or more"#);
        check_error("limit=+1", r#"limit can't be " 1"; allowed: 1 or more"#);
        check_error("limit=1&limit=1", "limit is given twice; allowed: once");
        check_error(
            "seconds=301",
            r#"seconds can't be "301"; allowed: 1 to 300"#,
        );
        check_error("seconds=0", r#"seconds can't be "0"; allowed: 1 to 300"#);
        check_error("full=yes", r#"full can't be "yes"; allowed: 0, 1"#);
        check_error(
            "verdict=bad",
            r#"verdict can't be "bad"; allowed: suspect, likely, proven"#,
        );
        check_error(
            "name=",
            r#"name can't be ""; allowed: a part of a task's name"#,
        );
        check_error(
            "name=%ff",
            r#""%ff" can't be read; allowed: percent-encoded UTF-8"#,
        );
        check_error(
            "state=asleep%0a1",
            r#"state can't be "asleep\n1"; allowed: running, runnable, waiting, blocking"#,
        );
        check_error(
            "min_blocked=5x",
            "min_blocked can't be \"5x\"; allowed: a time such as 30s, 5m, 1h30m, or a number of \
             seconds",
        );
        check_error(
            "group=%2b1",
            r#"group can't be "+1"; allowed: the id of a group, up to 16 hexadecimal digits"#,
        );
    }

    #[test]
    fn a_long_value_is_cut_in_the_error() {
        let error = Query::parse(Some(&format!("debug={}", "é".repeat(9000)))).unwrap_err();
        assert!(error.to_string().len() < 200, "{error}");
    }

    #[test]
    fn what_is_allowed_is_what_is_read() {
        for (name, allowed) in PARAMETERS {
            if matches!(
                name,
                "format" | "debug" | "state" | "wait" | "verdict" | "full"
            ) {
                for value in allowed.split(", ") {
                    let query = format!("{name}={value}");
                    assert!(Query::parse(Some(&query)).is_ok(), "{query}");
                }
            }
        }
        let waits: Vec<_> = Wait::ALL.iter().map(|wait| wait.word()).collect();
        assert!(PARAMETERS.contains(&("wait", &waits.join(", "))));
    }

    #[test]
    fn formats_to_come_are_told_from_wrong_ones() {
        for query in ["format=svg", "format=html"] {
            let error = Query::parse(Some(query)).unwrap_err();
            assert!(error.is_not_built());
            let allowed = "is not built; allowed: text, json, pprof, folded";
            assert_eq!(error.to_string(), format!("{query} {allowed}"));
        }
    }

    #[test]
    fn values_are_decoded() {
        for query in [
            "wait=chan+receive",
            "wait=chan%20receive",
            "wait=Chan_Receive",
        ] {
            assert_eq!(
                Query::parse(Some(query)).unwrap().wait,
                Some(Wait::ChanReceive)
            );
        }
        assert_eq!(
            Query::parse(Some("wait=io-wait")).unwrap().wait,
            Some(Wait::Io)
        );
        let query = Query::parse(Some("&&name=a%26b%3d%c3%a9&")).unwrap();
        assert_eq!(query.name.as_deref(), Some("a&b=é"));
        assert_eq!(Query::parse(None).unwrap(), Query::default());
    }

    #[test]
    fn times_are_seconds_or_have_units() {
        for (value, ms) in [
            ("30s", 30_000),
            ("90", 90_000),
            ("1h30m", 5_400_000),
            ("5ms", 5),
        ] {
            let query = Query::parse(Some(&format!("min_blocked={value}"))).unwrap();
            assert_eq!(query.min_blocked_ms, Some(ms), "{value}");
        }
        let query = Query::parse(Some("seconds=300")).unwrap();
        assert_eq!(query.seconds, Some(300));
    }

    #[test]
    fn debug_chooses_the_format_where_none_is_named() {
        let format = |query, default| {
            let options = Query::parse(Some(query)).unwrap().options(default);
            (options.format, options.each_task)
        };
        assert_eq!(format("", Format::Pprof), (Format::Pprof, false));
        assert_eq!(format("debug=0", Format::Text), (Format::Pprof, false));
        assert_eq!(format("debug=1", Format::Pprof), (Format::Text, false));
        assert_eq!(format("debug=2", Format::Pprof), (Format::Text, true));
        assert_eq!(
            format("debug=2&format=json", Format::Text),
            (Format::Json, true)
        );
    }

    /// The indices in [`sample::snapshot`] of the groups that stay.
    fn kept(query: &str) -> Vec<usize> {
        let mut all = sample::snapshot();
        all.groups[1].verdict = Some(Verdict {
            level: "suspect".to_owned(),
            evidence: vec!["lost".to_owned()],
            tasks: 7,
        });
        let filtered = Query::parse(Some(query)).unwrap().apply(all.clone());
        let counted: u64 = filtered.groups.iter().map(|group| group.count).sum();
        assert_eq!(filtered.totals.tasks, counted);
        assert_eq!(filtered.totals.left_out, all.totals.tasks - counted);
        let place = |id| all.groups.iter().position(|group| group.id == id).unwrap();
        filtered
            .groups
            .iter()
            .map(|group| place(group.id))
            .collect()
    }

    fn check(query: &str, expected: impl Fn(&Group) -> bool) {
        let all = sample::snapshot().groups;
        let expected: Vec<_> = (0..all.len())
            .filter(|&place| expected(&all[place]))
            .collect();
        assert!(
            !expected.is_empty() && expected.len() < all.len(),
            "{query} tells nothing apart"
        );
        assert_eq!(kept(query), expected, "{query}");
    }

    #[test]
    fn filters_keep_groups() {
        check("state=running", |group| group.state == State::Running);
        check("wait=sleep", |group| group.wait.contains(&Wait::Sleep));
        check("name=heart", |group| group.name == "heartbeat");
        check("runtime=io", |group| group.runtime == "io");
        check("function=checkout", |group| {
            group
                .waiting_at
                .iter()
                .flat_map(|stack| stack.iter())
                .any(|frame| frame.function.contains("checkout") && !frame.hidden)
        });
        check("function=tokio::sync::mpsc", |group| {
            group.primitives.contains(&"tokio::sync::mpsc".to_owned())
        });
        check("min_blocked=2m", |group| {
            group.blocked_ms.is_some_and(|b| b.max >= 120_000)
        });
    }

    #[test]
    fn a_hidden_frame_is_no_match() {
        assert!(kept("function=tokio::runtime::task").is_empty());
    }

    #[test]
    fn verdicts_are_a_scale() {
        assert_eq!(kept("verdict=suspect"), [0, 1]);
        assert_eq!(kept("verdict=likely"), [0]);
        assert!(kept("verdict=proven").is_empty());
    }

    #[test]
    fn groups_are_found_by_id_and_cut_by_limit() {
        let id = sample::snapshot().groups[2].id;
        assert_eq!(kept(&format!("group={id}")), [2]);
        assert_eq!(kept("limit=2"), [0, 1]);
    }

    #[test]
    fn tasks_go_with_their_groups() {
        let all = sample::snapshot();
        let filtered = Query::parse(Some("state=running"))
            .unwrap()
            .apply(all.clone());
        let running = all.tasks.iter().filter(|task| task.state == State::Running);
        assert!(filtered.tasks.iter().eq(running));

        let long = Query::parse(Some("min_blocked=2m10s"))
            .unwrap()
            .apply(all.clone());
        assert!(!long.tasks.is_empty());
        assert!(
            long.tasks
                .iter()
                .all(|task| task.blocked_ms >= Some(130_000))
        );

        let limited = Query::parse(Some("limit=1")).unwrap().apply(all);
        assert_eq!(limited.tasks.len(), 1);
    }
}
