//! The tasks of a snapshot, packed: a million of them take 56 MB.
//!
//! The rules:
//! 1. Sorted by id, each id once.
//! 2. In JSON it is an array of [`Task`]; how they are packed is nobody's business.
//! 3. A task has the state of its group, so a row holds neither the group's id nor the state but
//!    the place of both in a small table.

use std::collections::HashMap;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::snapshot::{GroupId, State, Task};

/// In [`Row::wakers`]: they can't be seen.
const UNSEEN: u32 = u32::MAX;

/// The tasks of a snapshot by their id, 56 bytes each.
#[derive(Clone, Default)]
pub struct Tasks {
    rows: Vec<Row>,
    groups: Vec<(GroupId, State)>,
}

/// A packed [`Task`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) id: u64,
    /// 0 for none.
    pub(crate) parent: u64,
    /// Milliseconds since it went into its state; of use for `waiting` and `runnable`.
    pub(crate) in_state_ms: u64,
    pub(crate) age_ms: u64,
    pub(crate) polls: u64,
    pub(crate) busy_ms: u64,
    /// Its place in [`Tasks::groups`].
    pub(crate) group: u32,
    /// As [`Row::pack_wakers`] has it.
    pub(crate) wakers: u32,
}

const _: () = assert!(size_of::<Row>() == 56);

impl Tasks {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Task> + '_ {
        self.rows.iter().map(|row| self.unpack(row))
    }

    /// The task with this id.
    pub fn get(&self, id: u64) -> Option<Task> {
        let place = self.rows.binary_search_by_key(&id, |row| row.id).ok()?;
        Some(self.unpack(&self.rows[place]))
    }

    /// Keeps those for which `keep` holds.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Task) -> bool) {
        let Self { rows, groups } = self;
        rows.retain(|row| keep(&row.unpack(groups)));
    }

    /// Keeps the first `most`.
    pub(crate) fn truncate(&mut self, most: usize) {
        self.rows.truncate(most);
    }

    /// Takes rows in any order; `groups` is what their `group` is a place in.
    pub(crate) fn from_rows(mut rows: Vec<Row>, groups: Vec<(GroupId, State)>) -> Self {
        rows.sort_unstable_by_key(|row| row.id);
        rows.dedup_by_key(|row| row.id);
        Self { rows, groups }
    }

    /// Every task with the place of its group in [`Tasks::group_ids`].
    pub(crate) fn with_places(&self) -> impl Iterator<Item = (Task, usize)> + '_ {
        self.rows
            .iter()
            .map(|row| (self.unpack(row), row.group as usize))
    }

    /// The groups that tasks refer to.
    pub(crate) fn group_ids(&self) -> impl ExactSizeIterator<Item = GroupId> + '_ {
        self.groups.iter().map(|&(id, _)| id)
    }

    fn unpack(&self, row: &Row) -> Task {
        row.unpack(&self.groups)
    }
}

impl Row {
    /// The packed form of a count of wakers.
    pub(crate) fn pack_wakers(wakers: Option<u32>) -> u32 {
        wakers.map_or(UNSEEN, |count| count.min(UNSEEN - 1))
    }

    fn unpack(&self, groups: &[(GroupId, State)]) -> Task {
        let (group, state) = groups[self.group as usize];
        Task {
            id: self.id,
            parent: (self.parent != 0).then_some(self.parent),
            group,
            state,
            blocked_ms: (state == State::Waiting).then_some(self.in_state_ms),
            runnable_ms: (state == State::Runnable).then_some(self.in_state_ms),
            age_ms: self.age_ms,
            polls: self.polls,
            busy_ms: self.busy_ms,
            wakers: (self.wakers != UNSEEN).then_some(self.wakers),
        }
    }
}

impl FromIterator<Task> for Tasks {
    fn from_iter<I: IntoIterator<Item = Task>>(tasks: I) -> Self {
        let mut packer = Packer::default();
        tasks.into_iter().for_each(|task| packer.push(task));
        packer.finish()
    }
}

/// Packs tasks one by one.
#[derive(Default)]
struct Packer {
    rows: Vec<Row>,
    groups: Vec<(GroupId, State)>,
    places: HashMap<(GroupId, State), u32>,
}

impl Packer {
    fn push(&mut self, task: Task) {
        let Self {
            rows,
            groups,
            places,
        } = self;
        let group = *places
            .entry((task.group, task.state))
            .or_insert_with_key(|&pair| {
                groups.push(pair);
                u32::try_from(groups.len() - 1)
                    .expect("fewer groups than tasks, fewer tasks than 2^32")
            });
        rows.push(Row {
            id: task.id,
            parent: task.parent.unwrap_or(0),
            in_state_ms: task.blocked_ms.or(task.runnable_ms).unwrap_or(0),
            age_ms: task.age_ms,
            polls: task.polls,
            busy_ms: task.busy_ms,
            group,
            wakers: Row::pack_wakers(task.wakers),
        });
    }

    fn finish(self) -> Tasks {
        Tasks::from_rows(self.rows, self.groups)
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Tasks {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Serialize for Tasks {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Tasks {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(TasksVisitor)
    }
}

struct TasksVisitor;

impl<'de> Visitor<'de> for TasksVisitor {
    type Value = Tasks;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of tasks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Tasks, A::Error> {
        let mut packer = Packer::default();
        while let Some(task) = from.next_element()? {
            packer.push(task);
        }
        Ok(packer.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: u64, state: State) -> Task {
        Task {
            id,
            parent: (id > 1).then_some(1),
            group: GroupId(id / 2),
            state,
            blocked_ms: (state == State::Waiting).then_some(id),
            runnable_ms: (state == State::Runnable).then_some(id),
            age_ms: id + 1,
            polls: id + 2,
            busy_ms: id + 3,
            wakers: (id > 2).then_some(2),
        }
    }

    #[test]
    fn packing_keeps_every_field() {
        let tasks = [
            task(1, State::Running),
            task(2, State::Waiting),
            task(3, State::Runnable),
        ];
        let packed: Tasks = tasks.into_iter().rev().collect();
        assert!(packed.iter().eq(tasks));
        assert_eq!(packed.get(2), Some(tasks[1]));
        assert_eq!(packed.get(4), None);
    }

    #[test]
    fn json_is_the_array_of_tasks() {
        let tasks = vec![task(1, State::Blocking), task(7, State::Waiting)];
        let packed: Tasks = tasks.iter().copied().collect();
        let json = serde_json::to_string(&packed).unwrap();
        assert_eq!(json, serde_json::to_string(&tasks).unwrap());
        assert_eq!(serde_json::from_str::<Tasks>(&json).unwrap(), packed);
    }
}
