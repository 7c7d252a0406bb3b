//! Grouping: a million tasks in, a few hundred groups out.
//!
//! The rules:
//! 1. [`Grouper::push`] looks nothing up: tasks with equal ids of everything fall into one raw
//!    group. [`Grouper::finish`] resolves the ids of each raw group once, and merges those that
//!    read the same (stacks that differ in hidden frames only).
//! 2. Every task is in exactly one group, and `totals` are sums over the groups.
//! 3. A group's id is made of what is read (identities of stacks, kind, name, state, runtime,
//!    place of the spawn, the scope and whether it has ended), never of an id or an address of
//!    this run.
//! 4. Only a waiting task has waits: stacks of a task that runs or was woken are of its past.
//! 5. A group has the verdict of the tasks in it: what [`Findings`] say of its raw groups.

use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::census::Findings;
use crate::raw::{MAX_WAITS, RawTask, Source};
use crate::resolve::ResolvedStack;
use crate::rules::Rules;
use crate::snapshot::{
    Group, GroupId, Health, Kind, Module, Process, Runtime, SCHEMA, Snapshot, SourceLocation,
    Spread, Stack, State, Sweeps, Tasks, Totals, Verdict, Wait,
};
use crate::tasks::Row;

/// The most ids that a group lists.
pub const LISTED_TASKS: usize = 100;

/// In [`Group::allowed`]: its tasks were spawned in `taskleak::daemon`.
const DAEMON: &str = "taskleak::daemon";

/// The group that this task alone would be.
pub(crate) fn of_one(task: &RawTask, source: &mut impl Source) -> Group {
    let (key, unexplained) = Key::of(task);
    let mut raw = RawGroup::new(key);
    raw.add(task, unexplained);
    let read = Lookup::new(source).read(&key);
    let merged = Merged {
        id: read.id(),
        read,
        verdict: None,
        raw,
    };
    merged.finish()
}

/// What a snapshot holds beside its tasks.
#[derive(Debug, Clone)]
pub struct Meta {
    /// The wall clock when the snapshot was taken; kept to the millisecond.
    pub taken_at: SystemTime,
    /// Milliseconds since the detector was made.
    pub uptime_ms: u64,
    /// The process that was looked at.
    pub process: Process,
    /// Whether the detector records, and what it could not record.
    pub health: Health,
    /// What the watchdog has done.
    pub watchdog: Option<Sweeps>,
    /// The runtimes that were built with `build_watched`.
    pub runtimes: Vec<Runtime>,
    /// The executable and shared objects that addresses of frames lie in.
    pub modules: Vec<Module>,
    /// Tasks seen since the detector was installed.
    pub spawned: u64,
    /// Tasks that the detector never saw start.
    pub unknown: u64,
}

/// Takes tasks one by one and makes a [`Snapshot`] of them.
pub struct Grouper {
    places: ByKey<u32>,
    groups: Vec<RawGroup>,
    /// `group` of a row is a place in `groups`.
    rows: Option<Vec<Row>>,
}

impl Grouper {
    /// With `keep_tasks`, the snapshot lists every task, not its groups alone.
    pub fn new(keep_tasks: bool) -> Self {
        Self {
            places: HashMap::default(),
            groups: Vec::new(),
            rows: keep_tasks.then(Vec::new),
        }
    }

    /// Adds a task. No task may be pushed twice.
    pub fn push(&mut self, task: &RawTask) {
        let (key, unexplained) = Key::of(task);
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => self.new_group(key),
        };
        self.groups[place as usize].add(task, unexplained);
        if let Some(rows) = &mut self.rows {
            rows.push(packed(task, place));
        }
    }

    #[cold]
    fn new_group(&mut self, key: Key) -> u32 {
        let place = u32::try_from(self.groups.len()).expect("no process holds 2^32 tasks");
        self.groups.push(RawGroup::new(key));
        self.places.insert(key, place);
        place
    }

    /// The groups alone, as [`finish`](Self::finish) makes them.
    pub fn groups(
        self,
        source: &mut impl Source,
        findings: &Findings,
        rules: &Rules,
    ) -> Vec<Group> {
        let (merged, _) = merge(self.groups, findings, &mut Lookup::new(source));
        finished(merged, rules)
    }

    /// Resolves, merges and sorts the groups; `findings` judge them, `rules` allow them.
    pub fn finish(
        self,
        source: &mut impl Source,
        findings: &Findings,
        rules: &Rules,
        meta: Meta,
    ) -> Snapshot {
        let Self {
            groups: raw, rows, ..
        } = self;
        let (merged, places) = merge(raw, findings, &mut Lookup::new(source));
        let tasks = rows.map_or_else(Tasks::default, |rows| tasks(rows, &places, &merged));
        let groups = finished(merged, rules);
        let totals = Totals {
            spawned: meta.spawned,
            unknown: meta.unknown,
            ..Totals::of(&groups)
        };
        Snapshot {
            schema: SCHEMA,
            taken_at: to_the_millisecond(meta.taken_at),
            uptime_ms: meta.uptime_ms,
            process: meta.process,
            health: meta.health,
            watchdog: meta.watchdog,
            totals,
            runtimes: meta.runtimes,
            groups,
            tasks,
            modules: meta.modules,
        }
    }
}

fn finished(merged: Vec<Merged<'_>>, rules: &Rules) -> Vec<Group> {
    let finished = merged.into_iter().map(Merged::finish);
    let mut groups: Vec<Group> = finished.map(|group| rules.applied(group)).collect();
    groups.sort_unstable_by(|a, b| b.count.cmp(&a.count).then(a.id.cmp(&b.id)));
    groups
}

impl Totals {
    /// Sums over groups; what groups don't tell is 0.
    pub(crate) fn of(groups: &[Group]) -> Self {
        let mut totals = Self::default();
        for group in groups {
            totals.tasks += group.count;
            *totals.by_state.entry(group.state).or_default() += group.count;
            let mut waits = group.wait.clone();
            waits.sort_unstable();
            waits.dedup();
            for wait in waits {
                *totals.by_wait.entry(wait).or_default() += group.count;
            }
            if let Some(verdict) = &group.verdict {
                let accused = verdict.tasks.min(group.count);
                *totals.by_verdict.entry(verdict.level.clone()).or_default() += accused;
            }
        }
        totals
    }
}

/// JSON holds milliseconds: a snapshot read back is equal to the one written.
fn to_the_millisecond(at: SystemTime) -> SystemTime {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::new(since.as_secs(), since.subsec_millis() * 1_000_000)
}

fn packed(task: &RawTask, group: u32) -> Row {
    Row {
        id: task.id,
        parent: task.parent,
        in_state_ms: task.in_state_ms,
        age_ms: task.age_ms,
        polls: task.polls,
        busy_ms: task.busy_ms,
        group,
        wakers: Row::pack_wakers(task.wakers),
    }
}

fn tasks(mut rows: Vec<Row>, places: &[u32], merged: &[Merged<'_>]) -> Tasks {
    for row in &mut rows {
        row.group = places[row.group as usize];
    }
    Tasks::from_rows(
        rows,
        merged
            .iter()
            .map(|group| (group.id, group.read.state))
            .collect(),
    )
}

/// What tasks of one raw group have in common, as ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    created: u32,
    name: u32,
    spawned_at: u32,
    runtime: u32,
    /// Sorted; 0 fills the front.
    waits: [u32; MAX_WAITS],
    kind: Kind,
    state: State,
    wakers: Wakers,
    daemon: bool,
    scope: u32,
    /// The scope has ended.
    is_outlived: bool,
}

/// How much of a task's wakers is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wakers {
    /// It doesn't wait, or its wakers can't be seen.
    Unseen,
    /// It waits and no waker is alive.
    Gone,
    /// Stacks explain all of them.
    Explained,
    /// Some have no stack.
    Partly,
}

impl Key {
    /// What tasks with these waits have in common, whoever they are. Whether they have outlived
    /// their scope stays: waits count by it.
    pub(crate) fn of_waits_alone(&self) -> Self {
        Self {
            created: 0,
            name: 0,
            spawned_at: 0,
            runtime: 0,
            daemon: false,
            scope: 0,
            ..*self
        }
    }

    /// With how many wakers no stack explains.
    #[inline(always)]
    pub(crate) fn of(task: &RawTask) -> (Self, u32) {
        let mut key = Self {
            created: task.created,
            name: task.name,
            spawned_at: task.spawned_at,
            runtime: task.runtime,
            waits: [0; MAX_WAITS],
            kind: task.kind,
            state: task.state,
            wakers: Wakers::Unseen,
            daemon: task.daemon,
            scope: task.scope,
            is_outlived: task.scope != 0 && task.outlived_ms.is_some(),
        };
        let is_unseen = task.kind == Kind::BlockOn && task.wakers.is_none();
        if task.state != State::Waiting || is_unseen {
            return (key, 0);
        }
        if task.wakers == Some(0) && task.lost_ms.is_none() {
            key.wakers = Wakers::Gone;
            return (key, 0);
        }
        let given = &task.waits[..MAX_WAITS.min(task.waits_len.into())];
        let unexplained = unexplained(task, given);
        match given {
            [] => {}
            // By far the most.
            [wait] => key.waits[MAX_WAITS - 1] = *wait,
            waits => {
                key.waits[MAX_WAITS - waits.len()..].copy_from_slice(waits);
                key.waits.sort_unstable();
            }
        }
        if task.wakers == Some(0) {
            key.wakers = Wakers::Gone;
            return (key, 0);
        }
        key.wakers = match (task.wakers, unexplained) {
            (_, 1..) => Wakers::Partly,
            (Some(_), 0) => Wakers::Explained,
            (None, 0) => Wakers::Unseen,
        };
        (key, unexplained)
    }
}

/// As few words as there are: a snapshot makes a hash for each task.
impl Hash for Key {
    fn hash<H: Hasher>(&self, to: &mut H) {
        let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        let flags = u64::from(self.daemon) << 1 | u64::from(self.is_outlived);
        let words = [
            self.kind as u64,
            self.state as u64,
            self.wakers as u64,
            flags,
        ];
        let small = words.iter().fold(0, |all, word| all << 4 | word);
        to.write_u64(pair(self.created, self.spawned_at));
        to.write_u64(pair(self.name, self.runtime));
        to.write_u64(u64::from(self.scope) << 32 | small);
        let (waits, _none) = self.waits.as_chunks();
        for &[high, low] in waits {
            // Most pairs are empty, behind those that are not.
            if (high, low) != (0, 0) {
                to.write_u64(pair(high, low));
            }
        }
    }
}

/// Wakers that were cloned without a capture, and those beyond what the record has room for.
fn unexplained(task: &RawTask, given: &[u32]) -> u32 {
    let not_captured = given.iter().filter(|&&stack| stack == 0).count() as u32;
    let beyond = task
        .wakers
        .map_or(0, |alive| alive.saturating_sub(task.wakers_explained));
    not_captured + beyond
}

/// Tasks with one [`Key`].
struct RawGroup {
    key: Key,
    in_state: Times,
    age: Times,
    outlived: Times,
    /// The smallest ids, the largest of them on top.
    first: BinaryHeap<u64>,
    wakers_without_stack: u64,
    waits_guessed: u64,
    future_bytes: u32,
}

impl RawGroup {
    fn new(key: Key) -> Self {
        Self {
            key,
            in_state: Times::default(),
            age: Times::default(),
            outlived: Times::default(),
            first: BinaryHeap::new(),
            wakers_without_stack: 0,
            waits_guessed: 0,
            future_bytes: 0,
        }
    }

    fn add(&mut self, task: &RawTask, unexplained: u32) {
        self.age.add(task.age_ms);
        if task.state == State::Waiting {
            self.in_state.add(task.in_state_ms);
        }
        if let (true, Some(ms)) = (self.key.is_outlived, task.outlived_ms) {
            self.outlived.add(ms);
        }
        self.wakers_without_stack += u64::from(unexplained);
        self.waits_guessed += u64::from(task.state == State::Waiting && task.waits_guessed);
        self.future_bytes = self.future_bytes.max(task.future_bytes);
        self.list(task.id);
    }

    fn list(&mut self, id: u64) {
        if self.first.len() < LISTED_TASKS {
            self.first.push(id);
        } else if let Some(mut largest) = self.first.peek_mut()
            && id < *largest
        {
            *largest = id;
        }
    }

    fn merge(&mut self, other: Self) {
        self.in_state.merge(other.in_state);
        self.age.merge(other.age);
        self.outlived.merge(other.outlived);
        other.first.into_iter().for_each(|id| self.list(id));
        self.wakers_without_stack += other.wakers_without_stack;
        self.waits_guessed += other.waits_guessed;
        self.future_bytes = self.future_bytes.max(other.future_bytes);
    }

    fn smallest_id(&self) -> u64 {
        self.first.iter().copied().min().unwrap_or(0)
    }
}

/// Times of which the extremes and the sum are exact, and the median is exact below 24 days.
#[derive(Default)]
struct Times {
    min: u64,
    max: u64,
    sum: u64,
    /// As [`pack_time`] has them.
    each: Vec<u32>,
}

impl Times {
    fn add(&mut self, ms: u64) {
        self.min = if self.each.is_empty() {
            ms
        } else {
            self.min.min(ms)
        };
        self.max = self.max.max(ms);
        self.sum = self.sum.saturating_add(ms);
        self.each.push(pack_time(ms));
    }

    fn merge(&mut self, other: Self) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum = self.sum.saturating_add(other.sum);
        self.each.extend(other.each);
    }

    fn spread(&mut self) -> Spread {
        let middle = self.each.len().saturating_sub(1) / 2;
        let median = match self.each.is_empty() {
            true => 0,
            false => unpack_time(*self.each.select_nth_unstable(middle).1),
        };
        // Packing rounds down to a second above 24 days.
        Spread {
            min: self.min,
            median: median.max(self.min),
            max: self.max,
        }
    }
}

/// Set where the other bits are seconds, not milliseconds.
const SECONDS: u32 = 1 << 31;

/// Half the memory of a `u64`, in the same order: milliseconds up to 24 days, then seconds.
fn pack_time(ms: u64) -> u32 {
    match u32::try_from(ms) {
        Ok(ms) if ms < SECONDS => ms,
        _ => {
            SECONDS
                | u32::try_from(ms / 1000)
                    .unwrap_or(u32::MAX)
                    .min(SECONDS - 1)
        }
    }
}

fn unpack_time(packed: u32) -> u64 {
    match packed & SECONDS {
        0 => u64::from(packed),
        _ => u64::from(packed & !SECONDS) * 1000,
    }
}

/// Merges raw groups that read the same. Also the place in the result of each raw group.
fn merge<'a, S: Source>(
    raw: Vec<RawGroup>,
    findings: &'a Findings,
    lookup: &mut Lookup<'_, S>,
) -> (Vec<Merged<'a>>, Vec<u32>) {
    let mut in_order: Vec<(usize, RawGroup)> = raw.into_iter().enumerate().collect();
    // The frames shown for merged groups are those of the oldest task, in whatever order tasks
    // were pushed.
    in_order.sort_by_key(|(_, group)| group.smallest_id());
    let mut by_id: HashMap<GroupId, usize> = HashMap::new();
    let mut merged: Vec<Merged<'a>> = Vec::new();
    let mut places = vec![0; in_order.len()];
    for (place, group) in in_order {
        let read = lookup.read(&group.key);
        let verdict = findings.verdict(&group.key);
        let id = read.id();
        let into = *by_id.entry(id).or_insert(merged.len());
        places[place] = into as u32;
        match merged.get_mut(into) {
            Some(known) => {
                known.raw.merge(group);
                known.verdict = known.verdict.or(verdict);
            }
            None => merged.push(Merged {
                id,
                read,
                verdict,
                raw: group,
            }),
        }
    }
    (merged, places)
}

/// A group before its times are summed up.
struct Merged<'a> {
    id: GroupId,
    read: Read,
    verdict: Option<&'a Verdict>,
    raw: RawGroup,
}

impl Merged<'_> {
    fn finish(self) -> Group {
        let Self {
            id,
            read,
            verdict,
            mut raw,
        } = self;
        let mut tasks = raw.first.into_vec();
        tasks.sort_unstable();
        let is_outlived = read.is_outlived();
        Group {
            id,
            count: raw.age.each.len() as u64,
            kind: read.kind,
            state: read.state,
            wait: read.wait(),
            primitives: read.primitives(),
            name: read.name,
            runtime: read.runtime,
            blocked_ms: (read.state == State::Waiting).then(|| raw.in_state.spread()),
            age_ms: raw.age.spread(),
            outlived_ms: is_outlived.then(|| raw.outlived.spread()),
            verdict: verdict.cloned(),
            allowed: read.daemon.then(|| DAEMON.to_owned()),
            spawned_at: read.spawned_at,
            waiting_at: read
                .waits
                .iter()
                .map(|stack| stack.frames.clone())
                .collect(),
            created_by: read
                .created
                .map_or_else(Stack::default, |stack| stack.frames.clone()),
            bytes: None,
            tasks,
            wakers_without_stack: raw.wakers_without_stack,
            waits_guessed: raw.waits_guessed,
            future_bytes: raw.future_bytes.into(),
            blocked_total_ms: raw.in_state.sum,
            scope: read.scope.map(|scope| scope.name).unwrap_or_default(),
        }
    }
}

/// A [`Key`] as it reads.
struct Read {
    kind: Kind,
    state: State,
    wakers: Wakers,
    daemon: bool,
    name: String,
    runtime: String,
    spawned_at: Option<SourceLocation>,
    created: Option<Arc<ResolvedStack>>,
    /// Ordered by wait, primitive and identity.
    waits: Vec<Arc<ResolvedStack>>,
    scope: Option<Scope>,
}

/// The scope of a task.
struct Scope {
    name: String,
    has_ended: bool,
}

impl Read {
    fn is_outlived(&self) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.has_ended)
    }

    fn wait(&self) -> Vec<Wait> {
        match self.wakers {
            Wakers::Gone => vec![Wait::Nothing; self.waits.len().max(1)],
            _ => self.waits.iter().map(|stack| stack.wait).collect(),
        }
    }

    fn primitives(&self) -> Vec<String> {
        match self.wakers {
            Wakers::Gone => vec![String::new(); self.waits.len().max(1)],
            _ => self
                .waits
                .iter()
                .map(|stack| stack.primitive.clone())
                .collect(),
        }
    }

    fn id(&self) -> GroupId {
        let mut hash = Fnv::default();
        hash.text(self.kind.word());
        hash.text(self.state.word());
        hash.text(&self.name);
        hash.text(&self.runtime);
        match &self.spawned_at {
            Some(at) => {
                hash.text(&at.file);
                hash.number(at.line.into());
                hash.number(at.column.into());
            }
            None => hash.text(""),
        }
        hash.number(self.created.as_ref().map_or(0, |stack| stack.identity));
        hash.text(match self.wakers {
            Wakers::Gone => "no waker",
            Wakers::Partly => "some wakers",
            Wakers::Explained | Wakers::Unseen => "wakers",
        });
        for stack in &self.waits {
            hash.number(stack.identity);
            // One line may wait on different things, by what it is generic over.
            hash.text(stack.wait.word());
            hash.text(&stack.primitive);
        }
        if self.daemon {
            hash.text(DAEMON);
        }
        if let Some(scope) = &self.scope {
            hash.text(if scope.has_ended { "ended" } else { "scope" });
            hash.text(&scope.name);
        }
        GroupId(hash.0)
    }
}

/// Asks a [`Source`] once for each id.
struct Lookup<'a, S> {
    source: &'a mut S,
    stacks: HashMap<u32, Arc<ResolvedStack>>,
    names: HashMap<u32, String>,
    locations: HashMap<u32, Option<SourceLocation>>,
    runtimes: HashMap<u32, String>,
}

impl<'a, S: Source> Lookup<'a, S> {
    fn new(source: &'a mut S) -> Self {
        Self {
            source,
            stacks: HashMap::new(),
            names: HashMap::new(),
            locations: HashMap::new(),
            runtimes: HashMap::new(),
        }
    }

    fn read(&mut self, key: &Key) -> Read {
        let mut waits: Vec<_> = key.waits.iter().filter_map(|&id| self.stack(id)).collect();
        waits.sort_by(|a, b| {
            (a.wait, &a.primitive, a.identity).cmp(&(b.wait, &b.primitive, b.identity))
        });
        Read {
            kind: key.kind,
            state: key.state,
            wakers: key.wakers,
            daemon: key.daemon,
            name: self.name(key.name),
            runtime: self.runtime(key.runtime),
            spawned_at: self.location(key.spawned_at),
            created: self.stack(key.created),
            waits,
            scope: (key.scope != 0).then(|| Scope {
                name: self.name(key.scope),
                has_ended: key.is_outlived,
            }),
        }
    }

    fn stack(&mut self, id: u32) -> Option<Arc<ResolvedStack>> {
        let known = || self.source.stack(id);
        (id != 0).then(|| self.stacks.entry(id).or_insert_with(known).clone())
    }

    fn name(&mut self, id: u32) -> String {
        let known = || self.source.name(id);
        match id {
            0 => String::new(),
            _ => self.names.entry(id).or_insert_with(known).clone(),
        }
    }

    fn runtime(&mut self, id: u32) -> String {
        let known = || self.source.runtime(id);
        match id {
            0 => String::new(),
            _ => self.runtimes.entry(id).or_insert_with(known).clone(),
        }
    }

    fn location(&mut self, id: u32) -> Option<SourceLocation> {
        let known = || self.source.location(id);
        match id {
            0 => None,
            _ => self.locations.entry(id).or_insert_with(known).clone(),
        }
    }
}

/// FNV-1a, 64 bits: the same in every version, on every machine.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// The length stands before the text, so that no two lists of texts run together alike.
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }
}

/// Something for each [`Key`].
pub(crate) type ByKey<T> = HashMap<Key, T, BuildHasherDefault<FastHasher>>;

/// The hash of rustc's own tables: a multiplication a word. Its keys are ids that the detector
/// gave out, so nobody can choose them to collide.
#[derive(Default)]
pub(crate) struct FastHasher(u64);

impl FastHasher {
    fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for FastHasher {
    fn finish(&self) -> u64 {
        // The table takes its bucket from the low bits, the best mixed ones are the high.
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(8) {
            let mut filled = [0; 8];
            filled[..word.len()].copy_from_slice(word);
            self.word(u64::from_le_bytes(filled));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.word(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.word(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.word(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::fake::{Fake, raw};

    fn meta() -> Meta {
        Meta {
            taken_at: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789),
            uptime_ms: 1,
            process: Process::default(),
            health: Health::default(),
            watchdog: None,
            runtimes: Vec::new(),
            modules: Vec::new(),
            spawned: 9,
            unknown: 3,
        }
    }

    fn grouped_with(tasks: &[RawTask], shift: u32) -> Snapshot {
        let mut grouper = Grouper::new(true);
        tasks.iter().for_each(|task| grouper.push(task));
        grouper.finish(
            &mut Fake::new(shift),
            &Findings::default(),
            &Rules::default(),
            meta(),
        )
    }

    fn grouped(tasks: &[RawTask]) -> Snapshot {
        grouped_with(tasks, 0)
    }

    fn only_group(task: RawTask) -> Group {
        let mut groups = grouped(&[task]).groups;
        assert_eq!(groups.len(), 1);
        groups.remove(0)
    }

    #[test]
    fn a_group_sums_up_its_tasks() {
        let tasks: Vec<_> = (1..=250).rev().map(raw).collect();
        let snapshot = grouped(&tasks);
        let [group] = snapshot.groups.as_slice() else {
            panic!("{snapshot:?}")
        };
        assert_eq!(group.count, 250);
        assert_eq!(group.tasks, (1..=100).collect::<Vec<_>>());
        assert_eq!(
            group.blocked_ms,
            Some(Spread {
                min: 10,
                median: 1250,
                max: 2500
            })
        );
        assert_eq!(
            group.age_ms,
            Spread {
                min: 100,
                median: 12_500,
                max: 25_000
            }
        );
        assert_eq!(group.blocked_total_ms, 10 * 250 * 251 / 2);
        assert_eq!(
            (group.wait.as_slice(), group.future_bytes),
            ([Wait::Sleep].as_slice(), 64)
        );
        assert_eq!(
            snapshot.totals.by_wait,
            BTreeMap::from([(Wait::Sleep, 250)])
        );
        assert_eq!(
            snapshot.totals.by_state,
            BTreeMap::from([(State::Waiting, 250)])
        );
        assert_eq!((snapshot.totals.spawned, snapshot.totals.unknown), (9, 3));
    }

    #[test]
    fn the_median_is_the_lower_one() {
        let snapshot = grouped(&[raw(4), raw(1), raw(3), raw(2)]);
        assert_eq!(snapshot.groups[0].age_ms.median, 200);
    }

    #[test]
    fn times_of_months_keep_their_extremes() {
        let mut times = Times::default();
        let months = 100 * 24 * 3_600_000 + 1;
        times.add(months);
        assert_eq!(
            times.spread(),
            Spread {
                min: months,
                median: months,
                max: months
            }
        );
        times.add(u64::MAX);
        times.add(5);
        assert_eq!(
            times.spread(),
            Spread {
                min: 5,
                median: months - 1,
                max: u64::MAX
            }
        );
    }

    #[test]
    fn a_task_without_wakers_waits_on_nothing() {
        let group = only_group(RawTask {
            wakers: Some(0),
            ..raw(1)
        });
        assert_eq!(
            (group.wait, group.primitives),
            (vec![Wait::Nothing], vec![String::new()])
        );
        assert!(group.waiting_at.is_empty());
        assert_eq!(group.wakers_without_stack, 0);
    }

    #[test]
    fn a_block_on_waits_on_what_nobody_sees() {
        let group = only_group(RawTask {
            kind: Kind::BlockOn,
            wakers: None,
            ..raw(1)
        });
        assert!(group.wait.is_empty() && group.waiting_at.is_empty());
        assert_eq!(group.doing().to_string(), "waiting");
        assert!(group.blocked_ms.is_some());
    }

    #[test]
    fn a_task_that_runs_has_no_wait() {
        for state in [State::Running, State::Runnable, State::Blocking] {
            let group = only_group(RawTask { state, ..raw(1) });
            assert!(group.wait.is_empty() && group.waiting_at.is_empty());
            assert_eq!((group.blocked_ms, group.blocked_total_ms), (None, 0));
            assert_eq!(group.doing().to_string(), state.word());
        }
    }

    #[test]
    fn wakers_without_a_stack_are_counted() {
        let waits = [2, 0, 3, 0, 0, 0, 0, 0];
        let task = RawTask {
            waits,
            waits_len: 3,
            wakers: Some(5),
            wakers_explained: 3,
            ..raw(1)
        };
        let group = only_group(task);
        assert_eq!(group.wakers_without_stack, 3);
        assert_eq!(group.doing().to_string(), "select (sleep, IO wait, ?)");

        let none = RawTask {
            waits_len: 0,
            wakers: Some(1),
            wakers_explained: 0,
            ..raw(1)
        };
        assert_eq!(only_group(none).doing().to_string(), "?");
    }

    #[test]
    fn guesses_are_counted_for_tasks_that_wait() {
        let guessed = RawTask {
            waits_guessed: true,
            ..raw(2)
        };
        let snapshot = grouped(&[raw(1), guessed]);
        assert_eq!(snapshot.groups.len(), 1, "no group of their own");
        assert_eq!(snapshot.groups[0].waits_guessed, 1);
        let running = RawTask {
            state: State::Running,
            ..guessed
        };
        assert_eq!(only_group(running).waits_guessed, 0);
    }

    #[test]
    fn equal_waits_are_told_once_with_their_number() {
        let waits = [2, 7, 3, 0, 0, 0, 0, 0];
        let task = RawTask {
            waits,
            waits_len: 3,
            wakers: Some(3),
            wakers_explained: 3,
            ..raw(1)
        };
        let group = only_group(task);
        assert_eq!(group.doing().to_string(), "select (2 sleep, IO wait)");
        assert_eq!(group.waiting_at.len(), 3);
    }

    #[test]
    fn a_scope_parts_groups_and_so_does_its_end() {
        let in_scope = |id| RawTask {
            scope: 2,
            ..raw(id)
        };
        let ended = |id| RawTask {
            outlived_ms: Some(1000 * id),
            ..in_scope(id)
        };
        let other = RawTask { scope: 1, ..raw(9) };
        let tasks = [raw(1), in_scope(2), ended(3), ended(4), ended(5), other];
        let snapshot = grouped(&tasks);
        let outlived = Spread {
            min: 3000,
            median: 4000,
            max: 5000,
        };
        let mut read: Vec<_> = snapshot
            .groups
            .iter()
            .map(|group| (group.tasks[0], group.scope.as_str(), group.outlived_ms))
            .collect();
        read.sort_unstable_by_key(|(first, ..)| *first);
        assert_eq!(
            read,
            [
                (1, "", None),
                (2, "name 0", None),
                (3, "name 0", Some(outlived)),
                (9, "name 1", None),
            ]
        );
    }

    #[test]
    fn an_end_without_a_scope_is_none() {
        let group = only_group(RawTask {
            outlived_ms: Some(1),
            ..raw(1)
        });
        assert_eq!((group.scope.as_str(), group.outlived_ms), ("", None));
    }

    /// They are compared between snapshots, and between versions.
    #[test]
    fn ids_of_groups_without_a_scope_are_what_they_were() {
        assert_eq!(only_group(raw(1)).id, GroupId(0x70c8_d89b_76d4_8c6f));
        let daemon = RawTask {
            daemon: true,
            name: 1,
            ..raw(2)
        };
        assert_eq!(only_group(daemon).id, GroupId(0x815d_5c9d_e5ba_825f));
    }

    #[test]
    fn a_million_busy_tasks_do_not_hide_that_some_are_not_explained() {
        let unsure = RawTask {
            wakers: Some(2),
            ..raw(2)
        };
        assert_eq!(grouped(&[raw(1), unsure]).groups.len(), 2);
    }

    fn any_task() -> impl Strategy<Value = RawTask> {
        let waits = proptest::collection::vec(1..12_u32, 0..4);
        let parts = (0..4_usize, 0..4_usize, 0..12_u32, waits, 0..3_u32, 0..4_u32);
        let scope = (0..3_u32, proptest::option::of(0..9_u64));
        (parts, proptest::option::of(0..5_u32), any::<u32>(), scope).prop_map(
            |((kind, state, created, stacks, name, spawned_at), wakers, ms, scope)| {
                let mut waits = [0; MAX_WAITS];
                waits[..stacks.len()].copy_from_slice(&stacks);
                RawTask {
                    kind: Kind::ALL[kind],
                    state: State::ALL[state],
                    created,
                    waits,
                    waits_len: stacks.len() as u8,
                    wakers,
                    wakers_explained: stacks.len() as u32,
                    name,
                    spawned_at,
                    scope: scope.0,
                    outlived_ms: scope.1,
                    in_state_ms: ms.into(),
                    ..raw(0)
                }
            },
        )
    }

    fn any_tasks() -> impl Strategy<Value = Vec<RawTask>> {
        proptest::collection::vec(any_task(), 0..300).prop_map(|mut tasks| {
            (1..).zip(&mut tasks).for_each(|(id, task)| task.id = id);
            tasks
        })
    }

    fn renumbered(task: &RawTask, shift: u32) -> RawTask {
        let moved = |id: u32| if id == 0 { 0 } else { id + shift };
        RawTask {
            created: moved(task.created),
            waits: task.waits.map(moved),
            name: moved(task.name),
            spawned_at: moved(task.spawned_at),
            scope: moved(task.scope),
            ..*task
        }
    }

    fn ids_and_counts(snapshot: &Snapshot) -> Vec<(GroupId, u64)> {
        snapshot
            .groups
            .iter()
            .map(|group| (group.id, group.count))
            .collect()
    }

    proptest! {
        #[test]
        fn every_task_is_in_exactly_one_group(tasks in any_tasks()) {
            let snapshot = grouped(&tasks);
            let counted: u64 = snapshot.groups.iter().map(|group| group.count).sum();
            prop_assert_eq!(counted, tasks.len() as u64);
            prop_assert_eq!(snapshot.tasks.len(), tasks.len());
            let outlived = |task: &&RawTask| task.scope != 0 && task.outlived_ms.is_some();
            let ended = snapshot.groups.iter().filter(|group| group.outlived_ms.is_some());
            let ended: u64 = ended.map(|group| group.count).sum();
            prop_assert_eq!(ended, tasks.iter().filter(outlived).count() as u64);
            for group in &snapshot.groups {
                prop_assert!(group.outlived_ms.is_none() || !group.scope.is_empty());
                let members: Vec<u64> = snapshot
                    .tasks
                    .iter()
                    .filter(|task| task.group == group.id)
                    .map(|task| task.id)
                    .collect();
                prop_assert_eq!(group.count, members.len() as u64);
                prop_assert_eq!(&group.tasks, &members[..members.len().min(LISTED_TASKS)]);
            }
        }

        #[test]
        fn totals_are_the_sums_of_the_groups(tasks in any_tasks()) {
            let totals = grouped(&tasks).totals;
            prop_assert_eq!(totals.tasks, tasks.len() as u64);
            prop_assert_eq!(totals.by_state.values().sum::<u64>(), totals.tasks);
            prop_assert!(totals.by_wait.values().all(|&count| count <= totals.tasks));
        }

        #[test]
        fn no_id_is_listed_twice(tasks in any_tasks()) {
            let snapshot = grouped(&tasks);
            let ids: Vec<u64> = snapshot.groups.iter().flat_map(|g| g.tasks.clone()).collect();
            prop_assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
            let groups: BTreeSet<_> = snapshot.groups.iter().map(|group| group.id).collect();
            prop_assert_eq!(groups.len(), snapshot.groups.len());
        }

        #[test]
        fn group_ids_do_not_depend_on_the_order(tasks in any_tasks(), seed in any::<u64>()) {
            let mut shuffled = tasks.clone();
            shuffled.sort_by_key(|task| task.id.wrapping_mul(seed | 1));
            let (one, other) = (grouped(&tasks), grouped(&shuffled));
            let json = |snapshot| serde_json::to_string(snapshot).unwrap();
            prop_assert_eq!(json(&one), json(&other));
        }

        #[test]
        fn group_ids_do_not_depend_on_ids_of_the_run(tasks in any_tasks(), shift in 0..9_u32) {
            let moved: Vec<_> = tasks.iter().map(|task| renumbered(task, shift)).collect();
            let (one, other) = (grouped(&tasks), grouped_with(&moved, shift));
            prop_assert_eq!(ids_and_counts(&one), ids_and_counts(&other));
        }
    }
}
