//! When a verdict is worth telling: not at each sweep.
//!
//! The rules. A group is told of
//! 1. when it gets a verdict ([`Change::New`]),
//! 2. when twice as many of its tasks have it as when it was told of last ([`Change::Doubled`]),
//! 3. when the verdict is surer than any that was told of it ([`Change::Raised`]),
//! 4. when it has had none for three sweeps ([`Change::Gone`]); then it is as if it had
//!    never been seen.

use std::collections::HashMap;

use crate::snapshot::GroupId;
use crate::verdict::{Accused, Level};

/// A group that misses one sweep is not gone: its tasks may be in another group for a moment.
const GONE_AFTER: u32 = 3;

/// What has changed about a group with a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// It has a verdict.
    New,
    /// It has twice the tasks that it had when it was reported last, or more.
    Doubled,
    /// Its verdict is surer than it was.
    Raised,
    /// It has no verdict any more.
    Gone,
}

impl Change {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Doubled => "doubled",
            Self::Raised => "raised",
            Self::Gone => "gone",
        }
    }
}

/// The groups that were told of.
#[derive(Debug, Default)]
pub struct Flags {
    told: HashMap<GroupId, Told>,
}

#[derive(Debug)]
struct Told {
    tasks: u64,
    level: Level,
    missing: u32,
}

impl Flags {
    /// What to tell of the groups that a sweep accused, by group.
    pub fn changes(&mut self, accused: &[Accused]) -> Vec<(GroupId, Change)> {
        let mut changes = Vec::new();
        for told in self.told.values_mut() {
            told.missing += 1;
        }
        for now in accused {
            changes.extend(self.change(now).map(|change| (now.group, change)));
        }
        self.told.retain(|group, told| {
            let gone = told.missing >= GONE_AFTER;
            if gone {
                changes.push((*group, Change::Gone));
            }
            !gone
        });
        changes.sort_unstable_by_key(|(group, _)| *group);
        changes
    }

    /// A group could not be told of: it is as if it had never been seen.
    pub fn forget(&mut self, group: GroupId) {
        self.told.remove(&group);
    }

    fn change(&mut self, now: &Accused) -> Option<Change> {
        let Some(told) = self.told.get_mut(&now.group) else {
            let told = Told {
                tasks: now.tasks,
                level: now.level,
                missing: 0,
            };
            self.told.insert(now.group, told);
            return Some(Change::New);
        };
        told.missing = 0;
        let raised = now.level > told.level;
        if !raised && now.tasks < told.tasks.saturating_mul(2) {
            return None;
        }
        told.tasks = told.tasks.max(now.tasks);
        told.level = told.level.max(now.level);
        Some(if raised {
            Change::Raised
        } else {
            Change::Doubled
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each step is a sweep: so many tasks of one group at this level, none for 0.
    fn check(sweeps: &[(u64, Level)], expected: &[&str]) {
        let mut flags = Flags::default();
        let told: Vec<&str> = sweeps
            .iter()
            .map(|&(tasks, level)| {
                let accused = Accused {
                    group: GroupId(7),
                    tasks,
                    level,
                };
                let accused = if tasks == 0 { vec![] } else { vec![accused] };
                match flags.changes(&accused).as_slice() {
                    [] => "",
                    [(GroupId(7), change)] => change.word(),
                    other => panic!("{other:?}"),
                }
            })
            .collect();
        assert_eq!(told, expected, "{sweeps:?}");
    }

    #[test]
    fn a_group_is_told_of_once_and_when_it_doubles() {
        use Level::Suspect;
        let sweeps = [3, 3, 4, 5, 6, 7, 11, 12, 100].map(|tasks| (tasks, Suspect));
        let told = ["new", "", "", "", "doubled", "", "", "doubled", "doubled"];
        check(&sweeps, &told);
    }

    #[test]
    fn a_surer_verdict_is_told_once() {
        use Level::{Likely, Suspect};
        check(
            &[
                (5, Suspect),
                (5, Likely),
                (5, Suspect),
                (6, Likely),
                (10, Likely),
            ],
            &["new", "raised", "", "", "doubled"],
        );
    }

    #[test]
    fn a_group_is_gone_once_it_misses_some_sweeps() {
        use Level::Suspect;
        let sweeps = [5, 0, 0, 5, 0, 0, 0, 0, 1].map(|tasks| (tasks, Suspect));
        check(&sweeps, &["new", "", "", "", "", "", "gone", "", "new"]);
    }
}
