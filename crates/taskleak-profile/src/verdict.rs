//! The policy: from evidence to a verdict. The only place that says what is a leak.
//!
//! | evidence | what it is | what it can't see, and when it is wrong |
//! |---|---|---|
//! | `lost` | the task waits and none of its wakers is alive, so no wake can reach it | who holds its `JoinHandle` or `AbortHandle`: a task may be parked on purpose until somebody aborts it; wakers that are cloned under another subscriber (`with_subscriber`), until the first of them is woken or dropped |
//! | `stalled` | it has waited past the threshold of all that it waits on: channels, locks, semaphores, joins, notifications; no timer, no I/O, nothing unknown beside them | whether a peer is still going to serve it: an idle worker looks the same |
//! | `orphaned` | the task that spawned it has ended, or an ancestor has and those between are held up themselves, by locks, full channels or joins | whether it was meant to outlive its spawner: a pool that the first request started does |
//! | `outlived` | the scope that it belongs to has ended, and it is alive | whether it was meant to outlive it; a task that its scope hands over to another owner |
//! | `growing` | the number of such tasks rose over the window ([`Trend`](crate::trend)), and hardly one of them left: leaked tasks stay; of tasks that wait on a timer, those count that went into this wait when they were old: they loop | whether the load rises instead, and whether it will level off; a task that is woken for nothing counts as left; tasks whose names differ are groups apart, which don't grow |
//!
//! What waits on I/O, in an executor of its own (`sub-executor`), in a future that nobody knows
//! (`other`), or has a waker without a stack, gets no evidence but `lost`, until it has outlived
//! its scope: then it counts, as what waits on a timer does, once it has waited past the threshold
//! of receives and its scope has been over for as long; what loops on a timer, once it is old.
//!
//! Where a rule says orphaned, `outlived` does as well: not the spawner alone has ended, but all
//! that it was a part of.
//!
//! The rules, first match:
//!
//! | evidence | verdict |
//! |---|---|
//! | `lost`, its last waker was dropped after it parked | `likely` |
//! | `lost` or `stalled`, with `orphaned` and `growing` | `likely` |
//! | `lost` or `stalled`, with `growing` for five windows, and not each beside a spawner of its own that lives | `likely` |
//! | `lost` | `suspect` |
//! | `stalled`, with `orphaned` or `growing` | `suspect` |
//! | `stalled` on a receive, join or notification, spawned by a root that still runs | none: a daemon; `suspect` if asked for |
//! | `stalled` | `suspect` |
//! | `outlived` and `growing` | `likely` |
//! | `outlived` | `suspect` |
//! | looping on a timer, `orphaned`, `growing` for five windows | `likely` |
//! | looping on a timer, `growing`, `orphaned` or for five windows | `suspect` |
//!
//! 1. `proven` is for what can't be otherwise. Nothing here can see that, so nothing earns it.
//! 2. Where it is a guess which of its wakers are alive, `suspect` is the most.

use std::fmt;

use crate::query::quoted;
use crate::render::Time;
use crate::snapshot::{GroupId, Verdict};
use crate::trend::Growth;

/// How sure a verdict is, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// It looks like a leak, and may be meant.
    Suspect,
    /// It is a leak unless the program does something unusual.
    Likely,
    /// It can't be otherwise.
    Proven,
}

impl Level {
    /// Every level, weakest first.
    pub const ALL: [Self; 3] = [Self::Suspect, Self::Likely, Self::Proven];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Suspect => "suspect",
            Self::Likely => "likely",
            Self::Proven => "proven",
        }
    }

    pub(crate) fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word() == word)
    }
}

/// A fact that speaks for a leak.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Evidence {
    Lost(Lost),
    Stalled(Stalled),
    Outlived(Outlived),
    Orphaned(Orphaned),
    Growing(Growing),
}

/// No waker is alive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lost {
    pub(crate) tasks: u64,
    /// Of the longest.
    pub(crate) waited_ms: u64,
    /// `None` if it registered no waker in its last poll, or dropped it there.
    pub(crate) dropped: Option<WakerDropped>,
}

/// The drop of the last waker of one of the tasks, after it parked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WakerDropped {
    pub(crate) task: u64,
    pub(crate) ago_ms: u64,
    /// The function that dropped it; empty if it is not known.
    pub(crate) by: String,
}

/// Every one has waited past the threshold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stalled {
    pub(crate) tasks: u64,
    pub(crate) waited_ms: u64,
    pub(crate) threshold_ms: u64,
    /// All that they wait on.
    pub(crate) on: String,
    /// A daemon may wait like this: on receives, joins or notifications alone.
    pub(crate) is_idle: bool,
}

/// The scope has ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outlived {
    pub(crate) tasks: u64,
    pub(crate) scope: String,
    /// How long ago that of one of the oldest tasks that were looked at ended: the first of them.
    pub(crate) ended_ms: u64,
}

/// The spawner has ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Orphaned {
    pub(crate) task: u64,
    pub(crate) ancestor: u64,
    /// How long ago the ancestor ended; `None` if that is no longer known.
    pub(crate) ended_ms: Option<u64>,
    /// How long ago the task was spawned.
    pub(crate) spawned_ms: u64,
    /// The tasks between the two.
    pub(crate) between: u32,
    /// Of the oldest tasks that were looked at, so many are orphaned.
    pub(crate) orphans: usize,
    pub(crate) of_oldest: usize,
}

/// The count rose.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Growing {
    pub(crate) growth: Growth,
    /// So many went on or ended meanwhile: few, or it is no evidence.
    pub(crate) left: u64,
    /// They loop on a timer; else they are stuck in one wait.
    pub(crate) loops: bool,
    pub(crate) forecast: Option<Forecast>,
}

/// Where the growth leads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Forecast {
    /// So many tasks are reached in `in_ms`.
    Count { tasks: u64, in_ms: u64 },
    /// Their futures alone fill the memory that is left.
    Memory {
        left: u64,
        future_bytes: u64,
        in_ms: u64,
    },
}

/// What is known of the tasks beside the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Circumstances {
    /// They were spawned by no task, or by the root future of a `block_on` that still runs.
    pub(crate) from_root: bool,
    /// Each was spawned by a task of its own that is alive, as the writer of a connection is.
    pub(crate) companions: bool,
    /// One of several wakers of theirs is gone, nobody can tell which.
    pub(crate) guessed: bool,
    /// Daemons that `stalled` alone speaks against are asked for.
    pub(crate) suspect_daemons: bool,
}

/// The level that evidence earns; `None` for no verdict.
pub(crate) fn judge(evidence: &[Evidence], circumstances: Circumstances) -> Option<Level> {
    let mut lost = None;
    let mut stalled = None;
    let mut outlived = false;
    let mut orphaned = false;
    let mut growing = None;
    for fact in evidence {
        match fact {
            Evidence::Lost(fact) => lost = Some(fact),
            Evidence::Stalled(fact) => stalled = Some(fact),
            Evidence::Outlived(_) => outlived = true,
            Evidence::Orphaned(_) => orphaned = true,
            Evidence::Growing(fact) => growing = Some(fact),
        }
    }
    let orphaned = orphaned || outlived;
    let is_stuck = lost.is_some() || stalled.is_some();
    let sustained = growing.is_some_and(|fact| fact.growth.sustained);
    let was_dropped = lost.is_some_and(|fact| fact.dropped.is_some());
    let piles_up = growing.is_some() && (orphaned || sustained && !circumstances.companions);
    let level = if was_dropped || is_stuck && piles_up {
        Level::Likely
    } else if lost.is_some() {
        Level::Suspect
    } else if let Some(stalled) = stalled {
        let has_more = orphaned || growing.is_some() || circumstances.suspect_daemons;
        if stalled.is_idle && circumstances.from_root && !has_more {
            return None;
        }
        Level::Suspect
    } else if outlived {
        match growing.is_some() {
            true => Level::Likely,
            false => Level::Suspect,
        }
    } else if growing.is_some_and(|fact| fact.loops) && (orphaned || sustained) {
        match orphaned && sustained {
            true => Level::Likely,
            false => Level::Suspect,
        }
    } else {
        return None;
    };
    Some(if circumstances.guessed {
        Level::Suspect
    } else {
        level
    })
}

/// The verdict as a snapshot has it.
pub(crate) fn verdict(
    tasks: u64,
    evidence: &[Evidence],
    circumstances: Circumstances,
) -> Option<Judged> {
    let level = judge(evidence, circumstances)?;
    let mut told: Vec<String> = evidence.iter().map(ToString::to_string).collect();
    if circumstances.guessed {
        told.push("guessed: one of their wakers is gone, nobody can tell which".to_owned());
    }
    let verdict = Verdict {
        level: level.word().to_owned(),
        evidence: told,
        tasks,
    };
    Some(Judged { level, verdict })
}

/// A verdict with its level.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    pub(crate) level: Level,
    pub(crate) verdict: Verdict,
}

/// A group with a verdict, as of one sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accused {
    /// The group.
    pub group: GroupId,
    /// Its tasks that the verdict is about.
    pub tasks: u64,
    /// How sure it is.
    pub level: Level,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(fact) => fact.fmt(f),
            Self::Stalled(fact) => fact.fmt(f),
            Self::Outlived(fact) => fact.fmt(f),
            Self::Orphaned(fact) => fact.fmt(f),
            Self::Growing(fact) => fact.fmt(f),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waited = Time(self.waited_ms);
        f.write_str("lost: ")?;
        match (&self.dropped, self.tasks) {
            (None, 1) => write!(f, "it parked {waited} ago and left no waker behind"),
            (None, tasks) => write!(
                f,
                "{tasks} tasks parked and left no waker behind, the first {waited} ago"
            ),
            (Some(dropped), 1) => write!(f, "its last waker was {dropped}"),
            (Some(dropped), tasks) => write!(
                f,
                "no waker of {tasks} tasks is alive; the last one of task {} was {dropped}",
                dropped.task
            ),
        }?;
        let them = if self.tasks == 1 { "it" } else { "them" };
        write!(f, "; only an abort can end {them}")
    }
}

impl fmt::Display for WakerDropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dropped {} ago", Time(self.ago_ms))?;
        match self.by.as_str() {
            "" => Ok(()),
            by => write!(f, ", by {by}"),
        }
    }
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waited, threshold, on) = (Time(self.waited_ms), Time(self.threshold_ms), &self.on);
        match self.tasks {
            1 => write!(
                f,
                "stalled: it has waited {waited} on {on} alone, past the threshold of {threshold}"
            ),
            tasks => write!(
                f,
                "stalled: {tasks} tasks have waited on {on} alone past the threshold of \
                 {threshold}, the longest {waited}"
            ),
        }
    }
}

impl fmt::Display for Outlived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scope, ago) = (quoted(&self.scope), Time(self.ended_ms));
        match self.tasks {
            1 => write!(
                f,
                "outlived: it is alive though its scope {scope} ended {ago} ago"
            ),
            tasks => write!(
                f,
                "outlived: {tasks} tasks are alive though their scope {scope} has ended, the \
                 first {ago} ago"
            ),
        }
    }
}

impl fmt::Display for Orphaned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.of_oldest {
            1 => "it".to_owned(),
            _ => format!("task {}", self.task),
        };
        write!(f, "orphaned: task {}, ", self.ancestor)?;
        match self.between {
            0 => write!(f, "which spawned {whose}")?,
            1 => write!(f, "whose child spawned {whose} and is held up too")?,
            between => write!(
                f,
                "from which {whose} descends through {between} tasks that are held up too"
            )?,
        }
        match self.ended_ms {
            Some(ago) => write!(f, ", ended {} ago", Time(ago))?,
            None => write!(
                f,
                ", has ended; {whose} was spawned {} ago",
                Time(self.spawned_ms)
            )?,
        }
        match self.of_oldest {
            1 => Ok(()),
            oldest => write!(
                f,
                "; {} of the {oldest} oldest are orphans so",
                self.orphans
            ),
        }
    }
}

impl fmt::Display for Growing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Growth {
            from,
            to,
            over_ms,
            per_minute,
            never_fell,
            ..
        } = self.growth;
        let what = if self.loops {
            "tasks that loop on a timer rose"
        } else {
            "they rose"
        };
        let over = Time(over_ms);
        write!(
            f,
            "growing: {what} from {from} to {to} in {over}, {}",
            Rate(per_minute)
        )?;
        match self.left {
            0 if never_fell => f.write_str(", never fell")?,
            0 => {}
            left => write!(f, ", {left} left meanwhile")?,
        }
        match &self.forecast {
            Some(forecast) => write!(f, "; {forecast}"),
            None => Ok(()),
        }
    }
}

/// Tasks in a minute.
struct Rate(f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_minute = self.0;
        if per_minute >= 10.0 {
            write!(f, "+{per_minute:.0} a minute")
        } else if per_minute >= 1.0 {
            write!(f, "+{per_minute:.1} a minute")
        } else {
            write!(f, "+{:.1} an hour", per_minute * 60.0)
        }
    }
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { tasks, in_ms } => {
                write!(f, "at that rate {tasks} in {}", Time(*in_ms))
            }
            Self::Memory {
                left,
                future_bytes,
                in_ms,
            } => write!(
                f,
                "at that rate the futures alone ({future_bytes} bytes each) fill the {} MB that \
                 are left in {}",
                left / 1_000_000,
                Time(*in_ms)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER_REGISTERED: &str = "lost";
    const WAKER_DROPPED: &str = "lost after park";

    fn lost(dropped: bool) -> Evidence {
        Evidence::Lost(Lost {
            tasks: 1,
            waited_ms: 60_000,
            dropped: dropped.then(|| WakerDropped {
                task: 40,
                ago_ms: 42_000,
                by: "shop::evict".to_owned(),
            }),
        })
    }

    fn stalled(is_idle: bool) -> Evidence {
        Evidence::Stalled(Stalled {
            tasks: 197,
            waited_ms: 300_000,
            threshold_ms: 60_000,
            on: "chan receive".to_owned(),
            is_idle,
        })
    }

    fn orphaned() -> Evidence {
        Evidence::Orphaned(Orphaned {
            task: 40,
            ancestor: 12,
            ended_ms: Some(300_000),
            spawned_ms: 301_000,
            between: 0,
            orphans: 16,
            of_oldest: 16,
        })
    }

    fn outlived(tasks: u64) -> Evidence {
        Evidence::Outlived(Outlived {
            tasks,
            scope: "request".to_owned(),
            ended_ms: 199_000,
        })
    }

    fn growing(sustained: bool, loops: bool) -> Evidence {
        Evidence::Growing(Growing {
            growth: Growth {
                from: 20,
                to: 940,
                over_ms: 600_000,
                per_minute: 92.0,
                never_fell: true,
                sustained,
            },
            left: 0,
            loops,
            forecast: Some(Forecast::Count {
                tasks: 10_000,
                in_ms: 5_910_000,
            }),
        })
    }

    fn evidence(words: &str) -> (Vec<Evidence>, Circumstances) {
        let mut circumstances = Circumstances::default();
        let mut evidence = Vec::new();
        for word in words.split(" + ") {
            match word {
                NEVER_REGISTERED => evidence.push(lost(false)),
                WAKER_DROPPED => evidence.push(lost(true)),
                "idle" => evidence.push(stalled(true)),
                "locked" => evidence.push(stalled(false)),
                "outlived" => evidence.push(outlived(1)),
                "orphaned" => evidence.push(orphaned()),
                "growing" => evidence.push(growing(false, false)),
                "sustained" => evidence.push(growing(true, false)),
                "looping" => evidence.push(growing(false, true)),
                "looping on" => evidence.push(growing(true, true)),
                "root" => circumstances.from_root = true,
                "companions" => circumstances.companions = true,
                "guessed" => circumstances.guessed = true,
                "asked" => circumstances.suspect_daemons = true,
                "nothing" => {}
                other => panic!("unknown word {other}"),
            }
        }
        (evidence, circumstances)
    }

    #[test]
    fn the_policy() {
        let check = |words: &str, expected: &str| {
            let (evidence, circumstances) = evidence(words);
            let level = judge(&evidence, circumstances).map_or("none", Level::word);
            assert_eq!(level, expected, "{words}");
        };
        check("nothing", "none");
        check("nothing + root", "none");
        check("orphaned", "none");
        check("growing", "none");
        check("growing + orphaned", "none");

        check("lost after park", "likely");
        check("lost after park + root", "likely");
        check("lost", "suspect");
        check("lost + root", "suspect");
        check("lost + orphaned", "suspect");
        check("lost + growing", "suspect");
        check("lost + growing + orphaned", "likely");
        check("lost + sustained", "likely");

        check("idle", "suspect");
        check("idle + root", "none");
        check("idle + root + asked", "suspect");
        check("idle + root + growing", "suspect");
        check("idle + root + sustained", "likely");
        check("idle + orphaned", "suspect");
        check("idle + growing", "suspect");
        check("idle + growing + orphaned", "likely");
        check("idle + sustained", "likely");
        check("idle + sustained + companions", "suspect");

        check("locked", "suspect");
        check("locked + root", "suspect");
        check("locked + growing + orphaned", "likely");
        check("locked + sustained + root", "likely");

        check("looping", "none");
        check("looping + root", "none");
        check("looping + orphaned", "suspect");
        check("looping on", "suspect");
        check("looping on + root", "suspect");
        check("looping on + orphaned", "likely");

        check("outlived", "suspect");
        check("outlived + root", "suspect");
        check("outlived + orphaned", "suspect");
        check("outlived + growing", "likely");
        check("outlived + looping", "likely");
        check("outlived + looping on", "likely");
        check("outlived + growing + companions", "likely");
        // As an orphan.
        check("lost + outlived", "suspect");
        check("lost + growing + outlived", "likely");
        check("idle + outlived", "suspect");
        check("idle + root + outlived", "suspect");
        check("idle + growing + outlived", "likely");
        check("locked + growing + outlived", "likely");

        check("guessed", "none");
        check("outlived + guessed", "suspect");
        check("outlived + growing + guessed", "suspect");
        check("idle + sustained + guessed", "suspect");
        check("looping on + orphaned + guessed", "suspect");
    }

    /// Whatever comes together.
    #[test]
    fn nothing_is_proven() {
        let words = [
            "lost",
            "lost after park",
            "idle",
            "locked",
            "outlived",
            "orphaned",
            "growing",
            "sustained",
            "looping",
            "root",
            "companions",
            "guessed",
            "asked",
        ];
        for chosen in 0u32..1 << words.len() {
            let each = words.iter().enumerate();
            let chosen: Vec<&str> = each
                .filter(|(place, _)| chosen >> place & 1 == 1)
                .map(|(_, word)| *word)
                .collect();
            if chosen.is_empty() {
                continue;
            }
            let (evidence, circumstances) = evidence(&chosen.join(" + "));
            let level = judge(&evidence, circumstances);
            assert!(level < Some(Level::Proven), "{chosen:?}");
        }
    }

    /// Whatever else there is: to have outlived a scope is no weaker than to be an orphan.
    #[test]
    fn outlived_stands_for_orphaned() {
        let others = [
            "lost",
            "lost after park",
            "idle",
            "locked",
            "growing",
            "looping on",
            "root",
        ];
        for chosen in 0u32..1 << others.len() {
            let each = others.iter().enumerate();
            let chosen = each.filter(|(place, _)| chosen >> place & 1 == 1);
            let level = |word: &str| {
                let words = chosen.clone().map(|(_, word)| *word).chain([word]);
                let (evidence, circumstances) = evidence(&words.collect::<Vec<_>>().join(" + "));
                judge(&evidence, circumstances)
            };
            assert!(level("outlived") >= level("orphaned"));
        }
    }

    #[test]
    fn evidence_reads_as_facts() {
        let check = |evidence: Evidence, expected: &str| {
            assert_eq!(evidence.to_string(), expected);
        };
        check(
            lost(true),
            "lost: its last waker was dropped 42s ago, by shop::evict; only an abort can end it",
        );
        check(
            lost(false),
            "lost: it parked 1m0s ago and left no waker behind; only an abort can end it",
        );
        check(
            stalled(true),
            "stalled: 197 tasks have waited on chan receive alone past the threshold of 1m0s, \
             the longest 5m0s",
        );
        check(
            orphaned(),
            "orphaned: task 12, which spawned task 40, ended 5m0s ago; 16 of the 16 oldest are \
             orphans so",
        );
        check(
            Evidence::Orphaned(Orphaned {
                task: 40,
                ancestor: 12,
                ended_ms: None,
                spawned_ms: 301_000,
                between: 0,
                orphans: 1,
                of_oldest: 1,
            }),
            "orphaned: task 12, which spawned it, has ended; it was spawned 5m1s ago",
        );
        check(
            outlived(1),
            "outlived: it is alive though its scope \"request\" ended 3m19s ago",
        );
        check(
            outlived(138),
            "outlived: 138 tasks are alive though their scope \"request\" has ended, the first \
             3m19s ago",
        );
        check(
            growing(true, false),
            "growing: they rose from 20 to 940 in 10m0s, +92 a minute, never fell; at that rate \
             10000 in 1h38m",
        );
        check(
            Evidence::Growing(Growing {
                growth: Growth {
                    from: 1,
                    to: 4,
                    over_ms: 600_000,
                    per_minute: 0.3,
                    never_fell: false,
                    sustained: true,
                },
                left: 1,
                loops: true,
                forecast: Some(Forecast::Memory {
                    left: 3_100_000_000,
                    future_bytes: 552,
                    in_ms: 90_000_000,
                }),
            }),
            "growing: tasks that loop on a timer rose from 1 to 4 in 10m0s, +18.0 an hour, 1 left \
             meanwhile; at that rate the futures alone (552 bytes each) fill the 3100 MB that are left in 1d1h",
        );
    }
}
