//! The stacks that a task's live wakers were cloned at.
//!
//! tokio tells that a waker of a task was cloned and that one is gone, never which: all wakers of
//! a task are alike. So every stack counts the wakers that are taken to be alive there, and what
//! is gone is charged, in this order:
//! 1. To the stack of the clone that follows, if a waker of an earlier poll is left there: a leaf
//!    that waits again replaces its waker, or the wake used it up.
//! 2. To the stack cloned at last, of those with wakers of earlier polls: what a task awaited last
//!    ends first, and what it registered early (a shutdown signal, its socket) outlives it.
//! 3. To the stack cloned at last.
//!
//! Rules 2 and 3 guess where several stacks have a waker: it is wrong where of several things that
//! a task waited on at once an earlier one has ended. The stacks that were spared by a guess are
//! doubtful until a waker is cloned there again.
//!
//! Known to be wrong: a timer that fires registers once more before it looks at the time, and is
//! dropped in the same poll (tokio's `runtime/time/entry.rs`). Its new waker counts as one of this
//! poll, so if the task goes on to wait, rule 2 charges the loss to a stack of an earlier poll, if
//! there is one, and the timer stays shown. tokio tells of timers apart, by events of its resource
//! spans; reading them would cost every timer.

use arrayvec::ArrayVec;
use taskleak_profile::raw::MAX_WAITS;
use taskleak_stack::StackId;

/// The stacks that are kept; the oldest fall off. The loom model explores every access.
pub(crate) const WAITS: usize = if cfg!(taskleak_loom) { 1 } else { MAX_WAITS };

/// The stacks of a task's wakers, the one cloned at last in front.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Waits(ArrayVec<Wait, WAITS>);

/// A stack and its wakers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    /// `None`: wakers are there, their stack was not captured.
    pub(crate) stack: Option<StackId>,
    /// How many wakers are taken to be alive; saturates.
    pub(crate) alive: u8,
    /// The low bits of the count of the poll that cloned here last.
    poll: u8,
    /// How many of them that poll cloned; saturates.
    fresh: u8,
    /// Another stack was taken for the one that lost its waker.
    pub(crate) doubtful: bool,
}

/// What four bits hold.
const MOST: u8 = 0xf;
/// What three bits hold: a poll so many later looks the same.
const POLL_MOST: u8 = 0x7;

impl Waits {
    /// A waker was cloned at `stack` in the poll numbered `poll`. Before it `alive` were alive, if
    /// that is known.
    pub(crate) fn clone_at(&mut self, stack: Option<StackId>, poll: u64, alive: Option<u32>) {
        let poll = low_bits(poll);
        if let Some(alive) = alive {
            let mut gone = self.alive().saturating_sub(alive);
            if let Some(same) = self.0.iter_mut().find(|wait| wait.stack == stack) {
                same.lose(&mut gone, same.of_earlier_polls(poll));
            }
            self.lose(gone, poll);
        }
        let known = self.0.iter().position(|wait| wait.stack == stack);
        let wait = match known.map(|at| self.0.remove(at)) {
            Some(known) => known.again(poll),
            None => Wait::first(stack, poll.into()),
        };
        if self.0.is_full() {
            self.0.pop();
        }
        self.0.insert(0, wait);
    }

    /// As many as `alive` are left, as of the poll numbered `poll`.
    #[inline]
    pub(crate) fn settle(&mut self, poll: u64, alive: u32) {
        let gone = self.alive().saturating_sub(alive);
        self.lose(gone, low_bits(poll));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Wait> {
        self.0.iter()
    }

    fn alive(&self) -> u32 {
        self.0.iter().map(|wait| u32::from(wait.alive)).sum()
    }

    fn lose(&mut self, mut gone: u32, poll: u8) {
        if gone == 0 {
            return;
        }
        let earlier = self
            .0
            .iter()
            .map(|wait| u32::from(wait.of_earlier_polls(poll)));
        let is_guess = earlier.sum::<u32>() > gone;
        for wait in &mut self.0 {
            wait.lose(&mut gone, wait.of_earlier_polls(poll));
            wait.doubtful |= is_guess && wait.of_earlier_polls(poll) > 0;
        }
        for wait in &mut self.0 {
            wait.lose(&mut gone, wait.alive);
        }
        self.0.retain(|wait| wait.alive > 0);
    }
}

impl Wait {
    /// A waker was cloned there in the poll of this number, and no other is alive.
    pub(crate) fn first(stack: Option<StackId>, poll: u64) -> Wait {
        Wait {
            stack,
            alive: 1,
            poll: low_bits(poll),
            fresh: 1,
            doubtful: false,
        }
    }

    fn again(self, poll: u8) -> Wait {
        let fresh = if self.poll == poll { self.fresh } else { 0 };
        Wait {
            alive: MOST.min(self.alive + 1),
            fresh: MOST.min(fresh + 1),
            poll,
            doubtful: false,
            ..self
        }
    }

    fn of_earlier_polls(self, poll: u8) -> u8 {
        match self.poll == poll {
            true => self.alive.saturating_sub(self.fresh),
            false => self.alive,
        }
    }

    fn lose(&mut self, gone: &mut u32, most: u8) {
        let lost = u32::from(most).min(*gone);
        *gone -= lost;
        self.alive -= lost as u8;
        self.fresh = self.fresh.min(self.alive);
    }

    /// In 32 bits, never 0: the stack's id (20), doubtful (1), poll (3), fresh and alive (4 each).
    pub(crate) fn pack(self) -> u32 {
        let stack = self.stack.map_or(0, StackId::get);
        stack << 12
            | u32::from(self.doubtful) << 11
            | u32::from(self.poll) << 8
            | u32::from(self.fresh) << 4
            | u32::from(self.alive)
    }

    fn unpack(packed: u32) -> Wait {
        let bits = |shift: u32, most: u8| (packed >> shift) as u8 & most;
        Wait {
            stack: StackId::from_u32(packed >> 12),
            alive: bits(0, MOST),
            poll: bits(8, POLL_MOST),
            fresh: bits(4, MOST),
            doubtful: bits(11, 1) == 1,
        }
    }
}

/// From what [`Wait::pack`] made; ends at the first 0.
impl FromIterator<u32> for Waits {
    #[inline(always)]
    fn from_iter<I: IntoIterator<Item = u32>>(packed: I) -> Waits {
        let packed = packed.into_iter().take_while(|packed| *packed != 0);
        let mut waits = Waits::default();
        // `collect` would make them elsewhere, and copy all the room that there is.
        for packed in packed.take(WAITS) {
            waits.0.push(Wait::unpack(packed));
        }
        waits
    }
}

fn low_bits(poll: u64) -> u8 {
    poll as u8 & POLL_MOST
}

#[cfg(all(test, not(taskleak_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Plays the life of a task: its polls one after the other.
    #[derive(Default)]
    struct Task {
        waits: Waits,
        alive: u32,
        poll: u64,
    }

    impl Task {
        fn polled(&mut self) -> &mut Task {
            self.poll += 1;
            self
        }

        fn clones(&mut self, stack: u32) -> &mut Task {
            let stack = StackId::from_u32(stack);
            self.waits.clone_at(stack, self.poll, Some(self.alive));
            self.alive += 1;
            self
        }

        fn loses(&mut self, count: u32) -> &mut Task {
            self.alive -= count;
            self
        }

        /// What a snapshot shows.
        fn shown(&self) -> Vec<(u32, u8)> {
            let mut waits = self.waits.clone();
            waits.settle(self.poll, self.alive);
            let id = |wait: &Wait| wait.stack.map_or(0, StackId::get);
            waits.iter().map(|wait| (id(wait), wait.alive)).collect()
        }
    }

    const RECEIVE: u32 = 1;
    const SHUTDOWN: u32 = 2;
    const SLEEP: u32 = 3;
    const JOIN: u32 = 4;
    const SOCKET: u32 = 5;

    #[test]
    fn the_first_waker_after_none_ends_the_past() {
        let mut task = Task::default();
        task.polled()
            .clones(SLEEP)
            .loses(1)
            .polled()
            .clones(RECEIVE);
        assert_eq!(task.shown(), [(RECEIVE, 1)]);
    }

    #[test]
    fn a_leaf_that_registers_again_replaces_its_waker() {
        let mut task = Task::default();
        task.polled().clones(RECEIVE).clones(SLEEP);
        for _ in 0..40 {
            // The new one is cloned before the old one is dropped.
            task.polled()
                .clones(RECEIVE)
                .loses(1)
                .clones(SLEEP)
                .loses(1);
            assert_eq!(task.shown(), [(SLEEP, 1), (RECEIVE, 1)]);
        }
    }

    #[test]
    fn a_receive_loop_keeps_the_shutdown_signal_beside_it() {
        let mut task = Task::default();
        task.polled().clones(RECEIVE).clones(SHUTDOWN);
        for _ in 0..40 {
            // The wake uses the receiver's waker up; the signal keeps its own.
            task.loses(1).polled().clones(RECEIVE);
            assert_eq!(task.shown(), [(RECEIVE, 1), (SHUTDOWN, 1)]);
        }
    }

    #[test]
    fn what_was_awaited_last_ends_first() {
        // A connection: a shutdown signal and the socket, and then a handler's awaits.
        let mut task = Task::default();
        task.polled().clones(SHUTDOWN).clones(SOCKET);
        for stack in [JOIN, SLEEP, 6, 7, 8, 9, 10, 11, 12] {
            task.polled().clones(stack);
            assert_eq!(task.shown(), [(stack, 1), (SOCKET, 1), (SHUTDOWN, 1)]);
            // Dropped within the poll that finished it.
            task.polled().loses(1);
            assert_eq!(task.shown(), [(SOCKET, 1), (SHUTDOWN, 1)]);
        }
    }

    #[test]
    fn what_a_guess_spares_is_doubtful_until_it_registers_again() {
        let doubtful = |task: &Task| -> Vec<bool> {
            let mut waits = task.waits.clone();
            waits.settle(task.poll, task.alive);
            waits.iter().map(|wait| wait.doubtful).collect()
        };
        let mut task = Task::default();
        task.polled().clones(SLEEP).clones(SOCKET);
        assert_eq!(doubtful(&task), [false, false]);
        // The sleep ended, and the socket is taken for it.
        task.loses(1).polled().clones(JOIN);
        assert_eq!(task.shown(), [(JOIN, 1), (SLEEP, 1)]);
        assert_eq!(doubtful(&task), [false, true]);
        task.loses(1).polled().clones(SLEEP);
        assert_eq!(doubtful(&task), [false, false]);
    }

    #[test]
    fn wakers_of_one_stack_are_counted() {
        let mut task = Task::default();
        task.polled().clones(RECEIVE).clones(RECEIVE).clones(SLEEP);
        assert_eq!(task.shown(), [(SLEEP, 1), (RECEIVE, 2)]);
        task.loses(1).polled().clones(RECEIVE);
        assert_eq!(task.shown(), [(RECEIVE, 2), (SLEEP, 1)]);
    }

    #[test]
    fn the_oldest_stack_falls_off() {
        let mut task = Task::default();
        task.polled();
        for stack in 1..=9 {
            task.clones(stack);
        }
        let stacks: Vec<u32> = task.shown().iter().map(|wait| wait.0).collect();
        assert_eq!(stacks, [9, 8, 7, 6, 5, 4, 3, 2]);
    }

    proptest! {
        /// No more wakers are shown than are alive, and what is packed is what is kept.
        #[test]
        fn no_more_are_shown_than_are_alive(
            steps in prop::collection::vec((0..4u8, 1..12u32), 1..200)
        ) {
            let mut task = Task::default();
            for (step, stack) in steps {
                match step {
                    0 => task.polled(),
                    1 | 2 => task.clones(stack),
                    _ => task.loses(task.alive.min(1)),
                };
                let shown = task.shown();
                let sum: u32 = shown.iter().map(|wait| u32::from(wait.1)).sum();
                prop_assert!(sum <= task.alive);
                let packed: Vec<u32> = task.waits.iter().map(|wait| wait.pack()).collect();
                prop_assert!(!packed.contains(&0));
                prop_assert_eq!(&packed.into_iter().collect::<Waits>(), &task.waits);
            }
        }
    }
}
