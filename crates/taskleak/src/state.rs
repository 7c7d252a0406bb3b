//! The two words that hold a task's state, as plain values: their bits, and what a poll, a wake and
//! the loss of a waker make of them. Who may write which, and in what order, is in `record.rs`.
//!
//! ```text
//!           63………………32   31……………18     17……………4    3………1         0
//! WakeWord  woken         generation    gone       wakes       LIVE
//!
//!           63………………32   31……………18     17……15    14……11   10……3   2       1         0
//! PollWord  since         cloned        seen     spent    tick    SPARE   UNWOKEN   RUNNING
//! ```
//!
//! The task was woken if `wakes` is past what the last poll had `seen`; as many of its wakers are
//! alive as were `cloned` and are not `gone`. All four count round and round. `since` is the tick
//! of the coarse clock at which the task was entered or left, `woken` that at which it was woken.

use crate::key::Key;

/// A time of the coarse clock.
pub(crate) type Tick = u32;

/// The count that stands for "this many or more". Half of what the counts go round at, so that
/// those which racing threads add are not taken for none.
pub(crate) const MANY_WAKERS: u32 = (1 << 13) - 1;
/// A difference from here on is below 0: by wakers whose clone was not seen.
const BELOW_NONE: u64 = 3 << 12;

/// The most unwindings that are counted for a tick.
#[cfg(feature = "test")]
pub(crate) const MOST_SPENT: u32 = SPENT.mask as u32;

/// So many wakes since the last poll explain the poll after the next.
const SEVERAL: u64 = 2;
/// So many are as good as more: what several threads add beyond it at once still fits.
const ENOUGH: u64 = 4;

const LIVE: u64 = 1 << 0;
const WAKES: Bits = Bits::new(1, 3);
const GONE: Bits = Bits::new(4, 14);

const RUNNING: u64 = 1 << 0;
const UNWOKEN: u64 = 1 << 1;
const SPARE: u64 = 1 << 2;
const TICK: Bits = Bits::new(3, 8);
const SPENT: Bits = Bits::new(11, 4);
const SEEN: Bits = Bits::new(15, 3);
const CLONED: Bits = Bits::new(18, 14);

/// In both words.
const TIME: Bits = Bits::new(32, 32);
/// In the word of wakes and in a glance.
const GENERATION: Bits = Bits::new(18, 14);

/// A number within a word.
#[derive(Clone, Copy)]
struct Bits {
    shift: u32,
    mask: u64,
}

impl Bits {
    const fn new(shift: u32, width: u32) -> Bits {
        let mask = (1 << width) - 1;
        Bits { shift, mask }
    }

    const fn of(self, word: u64) -> u64 {
        word >> self.shift & self.mask
    }

    /// The word with this number; what does not fit goes round.
    const fn with(self, word: u64, number: u64) -> u64 {
        word & !(self.mask << self.shift) | (number & self.mask) << self.shift
    }

    /// The number where it is, and nothing else.
    const fn kept(self, word: u64) -> u64 {
        word & self.mask << self.shift
    }

    const fn plus(self, word: u64, more: u64) -> u64 {
        self.with(word, self.of(word).wrapping_add(more))
    }

    const fn minus(self, word: u64, less: u64) -> u64 {
        self.with(word, self.of(word).wrapping_sub(less))
    }
}

/// The flags that are true.
fn set(flags: [(u64, bool); 3]) -> u64 {
    let bits = flags.map(|(flag, is_set)| flag * u64::from(is_set));
    bits[0] | bits[1] | bits[2]
}

/// What any thread may do to a task: wake it, drop a waker of it, end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WakeWord(pub(crate) u64);

impl WakeWord {
    /// Of a task that is spawned: it is to be polled.
    pub(crate) fn born(key: Key, now: Tick) -> WakeWord {
        let word = WAKES.with(LIVE, 1);
        let word = GENERATION.with(word, key.generation().into());
        WakeWord(TIME.with(word, now.into()))
    }

    /// Of no task, after the one with this key.
    pub(crate) fn ended(key: Key, now: Tick) -> WakeWord {
        let next = u64::from(key.generation()) + 1;
        WakeWord(TIME.with(GENERATION.with(0, next), now.into()))
    }

    pub(crate) fn is_live(self) -> bool {
        self.0 & LIVE != 0
    }

    /// Of the living task with this key; see rule 3 of `record.rs`.
    pub(crate) fn is_of(self, key: Key) -> bool {
        self.is_live() && GENERATION.of(self.0) == u64::from(key.generation()) & GENERATION.mask
    }

    /// Of the same task; be it another number of wakers.
    pub(crate) fn same_wakes(self, other: WakeWord) -> bool {
        GONE.with(self.0, 0) == GONE.with(other.0, 0)
    }

    /// Of the same task.
    pub(crate) fn same_task(self, other: WakeWord) -> bool {
        self.is_live() == other.is_live() && GENERATION.of(self.0) == GENERATION.of(other.0)
    }

    pub(crate) fn woken(self) -> Tick {
        TIME.of(self.0) as Tick
    }
}

/// What the thread does that polls a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PollWord(pub(crate) u64);

impl PollWord {
    pub(crate) fn born(now: Tick) -> PollWord {
        PollWord(TIME.with(0, now.into()))
    }

    pub(crate) fn is_running(self) -> bool {
        self.0 & RUNNING != 0
    }

    pub(crate) fn since(self) -> Tick {
        TIME.of(self.0) as Tick
    }

    /// A poll has returned.
    pub(crate) fn left(self, now: Tick) -> PollWord {
        PollWord(TIME.with(self.0 & !(RUNNING | UNWOKEN), now.into()))
    }

    /// One more unwinding in this tick; `None` if there were as many as may be.
    pub(crate) fn spent(self, now: Tick, most: u32) -> Option<PollWord> {
        let tick = u64::from(now) & TICK.mask;
        let spent = match TICK.of(self.0) == tick {
            true => SPENT.of(self.0),
            false => 0,
        };
        let may = spent < u64::from(most);
        may.then(|| PollWord(SPENT.with(TICK.with(self.0, tick), spent + 1)))
    }
}

/// Both words; of one moment if whoever read them has made sure of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) wake: WakeWord,
    pub(crate) poll: PollWord,
}

impl State {
    pub(crate) fn is_running(self) -> bool {
        self.poll.is_running()
    }

    /// It was woken since its last poll began.
    pub(crate) fn is_notified(self) -> bool {
        self.wakes() != 0
    }

    /// It is alive, and neither runs nor was it woken.
    pub(crate) fn waits(self) -> bool {
        self.wake.is_live() && !self.is_running() && !self.is_notified()
    }

    /// Its poll began without a wake, and there was none since.
    pub(crate) fn is_unwoken(self) -> bool {
        self.poll.0 & UNWOKEN != 0 && !self.is_notified()
    }

    /// How many wakers are alive.
    pub(crate) fn wakers(self) -> u32 {
        let (cloned, gone) = (CLONED.of(self.poll.0), GONE.of(self.wake.0));
        match cloned.wrapping_sub(gone) & CLONED.mask {
            BELOW_NONE.. => 0,
            wakers => MANY_WAKERS.min(wakers as u32),
        }
    }

    /// When it went into its present state.
    pub(crate) fn since(self) -> Tick {
        let (since, woken) = (self.poll.since(), self.wake.woken());
        let was_woken_later = woken.wrapping_sub(since) as i32 > 0;
        match !self.is_running() && self.is_notified() && was_woken_later {
            true => woken,
            false => since,
        }
    }

    /// A poll begins.
    pub(crate) fn entered(self, now: Tick) -> PollWord {
        let wakes = self.wakes();
        let is_unwoken = wakes == 0 && self.poll.0 & SPARE == 0;
        let flags = [
            (SPARE, wakes >= SEVERAL),
            (UNWOKEN, is_unwoken),
            (RUNNING, true),
        ];
        let spent = match self.poll.since() == now {
            true => SPENT.kept(self.poll.0),
            false => 0,
        };
        let kept = CLONED.kept(self.poll.0) | TICK.kept(self.poll.0) | spent;
        let fresh = TIME.with(SEEN.with(set(flags), WAKES.of(self.wake.0)), now.into());
        PollWord(kept | fresh)
    }

    /// It is woken by a waker that is kept; `None` if that changes nothing.
    pub(crate) fn woken(self, now: Tick) -> Option<WakeWord> {
        let wakes = self.wakes();
        if wakes >= ENOUGH {
            return None;
        }
        let word = WAKES.plus(self.wake.0, 1);
        Some(WakeWord(match wakes {
            0 => TIME.with(word, now.into()),
            _ => word,
        }))
    }

    /// It is woken by a waker that is used up.
    pub(crate) fn woken_by_value(self, now: Tick) -> WakeWord {
        let wake = self.woken(now).unwrap_or(self.wake);
        State { wake, ..self }.lost_elsewhere().unwrap_or(wake)
    }

    /// A waker of it is cloned outside of its poll; `None` if that changes nothing.
    pub(crate) fn cloned_elsewhere(self) -> Option<WakeWord> {
        let gone = |one_more| CLONED.of(self.poll.0).wrapping_sub(one_more);
        let gone = self.one_more().map(gone);
        gone.map(|gone| WakeWord(GONE.with(self.wake.0, gone)))
    }

    /// A waker of it is dropped outside of its poll; `None` if that changes nothing.
    pub(crate) fn lost_elsewhere(self) -> Option<WakeWord> {
        self.can_lose().then(|| WakeWord(GONE.plus(self.wake.0, 1)))
    }

    /// A waker of it is cloned within its poll.
    pub(crate) fn cloned(self) -> PollWord {
        let cloned = |one_more| GONE.of(self.wake.0).wrapping_add(one_more);
        let cloned = self.one_more().map(cloned);
        cloned.map_or(self.poll, |cloned| {
            PollWord(CLONED.with(self.poll.0, cloned))
        })
    }

    /// A waker of it is dropped within its poll.
    pub(crate) fn lost(self) -> PollWord {
        match self.can_lose() {
            true => PollWord(CLONED.minus(self.poll.0, 1)),
            false => self.poll,
        }
    }

    pub(crate) fn glance(self) -> Glance {
        let flags = [
            (LIVE, self.wake.is_live()),
            (Glance::NOTIFIED, self.is_notified()),
            (Glance::RUNNING, self.is_running()),
        ];
        let word = GONE.with(set(flags), self.wakers().into());
        let word = GENERATION.with(word, GENERATION.of(self.wake.0));
        Glance(TIME.with(word, self.since().into()))
    }

    /// The same in the middle of a poll.
    pub(crate) fn as_running(self) -> State {
        let poll = PollWord(self.poll.0 | RUNNING);
        State { poll, ..self }
    }

    /// The count of wakers with one more; `None` if it stays. Counted from none where it is below.
    fn one_more(self) -> Option<u64> {
        let wakers = self.wakers();
        (wakers != MANY_WAKERS).then(|| u64::from(wakers) + 1)
    }

    fn can_lose(self) -> bool {
        !matches!(self.wakers(), 0 | MANY_WAKERS)
    }

    fn wakes(self) -> u64 {
        WAKES.of(self.wake.0).wrapping_sub(SEEN.of(self.poll.0)) & WAKES.mask
    }
}

/// A state, as one sees it who looks at every task again and again: two that are equal are of the
/// same task in the same wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glance(u64);

impl Glance {
    /// Of no task.
    pub(crate) const NONE: Glance = Glance(0);

    const NOTIFIED: u64 = 1 << 1;
    const RUNNING: u64 = 1 << 2;

    /// The task is alive, and neither runs nor was it woken.
    pub(crate) fn waits(self) -> bool {
        self.0 & (LIVE | Self::RUNNING | Self::NOTIFIED) == LIVE
    }

    pub(crate) fn has_wakers(self) -> bool {
        GONE.of(self.0) != 0
    }

    pub(crate) fn since(self) -> Tick {
        TIME.of(self.0) as Tick
    }

    /// It is of a task that is alive, and the other of the same one.
    pub(crate) fn same_task(self, other: Glance) -> bool {
        const TASK: u64 = LIVE | GENERATION.mask << GENERATION.shift;
        self.0 & LIVE != 0 && self.0 & TASK == other.0 & TASK
    }
}

#[cfg(all(test, not(taskleak_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spawned() -> State {
        State {
            wake: WakeWord::born(Key::new(3, 7), 0),
            poll: PollWord::born(0),
        }
    }

    /// What is known of a task by counting without bounds.
    #[derive(Debug)]
    struct Plain {
        running: bool,
        wakes: u32,
        wakers: u32,
    }

    proptest! {
        /// The words count as plain numbers do, however often they go round.
        #[test]
        fn words_count_as_numbers_do(steps in prop::collection::vec(0..7u8, 1..400), repeat in 1..60u32) {
            let mut state = spawned();
            let mut plain = Plain { running: false, wakes: 1, wakers: 0 };
            for step in steps.iter().cycle().take(steps.len() * repeat as usize) {
                match step {
                    0 if !plain.running => {
                        prop_assert_eq!(state.is_notified(), plain.wakes > 0);
                        state.poll = state.entered(0);
                        plain.running = true;
                        plain.wakes = 0;
                    }
                    0 => {
                        state.poll = state.poll.left(0);
                        plain.running = false;
                    }
                    1 if plain.running => {
                        state.poll = state.cloned();
                        plain.wakers += 1;
                    }
                    2 if plain.running => {
                        state.poll = state.lost();
                        plain.wakers = plain.wakers.saturating_sub(1);
                    }
                    3 => {
                        state.wake = state.cloned_elsewhere().unwrap_or(state.wake);
                        plain.wakers += 1;
                    }
                    4 => {
                        state.wake = state.lost_elsewhere().unwrap_or(state.wake);
                        plain.wakers = plain.wakers.saturating_sub(1);
                    }
                    5 => {
                        state.wake = state.woken(0).unwrap_or(state.wake);
                        plain.wakes += 1;
                    }
                    6 => {
                        state.wake = state.woken_by_value(0);
                        plain.wakes += 1;
                        plain.wakers = plain.wakers.saturating_sub(1);
                    }
                    _ => {}
                }
                prop_assert_eq!(state.wakers(), plain.wakers);
                prop_assert_eq!(state.is_notified(), plain.wakes > 0);
                prop_assert_eq!(state.is_running(), plain.running);
                prop_assert!(state.wake.is_of(Key::new(3, 7)));
                prop_assert_eq!(state.glance().waits(), state.waits());
                prop_assert_eq!(state.glance().has_wakers(), plain.wakers > 0);
            }
        }
    }

    #[test]
    fn a_poll_after_several_wakes_explains_the_next() {
        let mut state = spawned();
        for _ in 1..ENOUGH {
            state.wake = state.woken(1).unwrap();
        }
        assert_eq!(state.woken(1), None, "as good as more");
        state.poll = state.entered(1);
        state.poll = state.poll.left(1);
        state.poll = state.entered(2);
        assert!(!state.is_unwoken());
        state.poll = state.poll.left(2);
        state.poll = state.entered(3);
        assert!(state.is_unwoken());
    }

    #[test]
    fn losses_that_race_leave_none_and_not_many() {
        let mut state = spawned();
        state.poll = state.cloned();
        // Both saw one waker, of two that were alive: the clone of the other was not seen.
        let (poll, wake) = (state.lost(), state.lost_elsewhere().unwrap());
        let state = State { wake, poll };
        assert_eq!(state.wakers(), 0);
        let poll = state.cloned();
        assert_eq!(State { poll, ..state }.wakers(), 1);
        let wake = state.cloned_elsewhere().unwrap();
        assert_eq!(State { wake, ..state }.wakers(), 1);
    }

    #[test]
    fn what_is_spent_is_of_a_tick() {
        let mut state = spawned();
        state.poll = state.entered(1);
        for _ in 0..2 {
            state.poll = state.poll.spent(1, 2).unwrap();
        }
        assert_eq!(state.poll.spent(1, 2), None);
        assert!(state.poll.spent(2, 2).is_some(), "a long poll");
        state.poll = state.poll.left(1);
        assert_eq!(state.entered(1).spent(1, 2), None);
        // The low bits of that tick are the same.
        assert!(state.entered(1 + 256).spent(1 + 256, 2).is_some());
    }
}
