//! The places in which answers are rendered: so many at once, and none of them for ever.
//!
//! Rules:
//! 1. A place is taken at once or not at all; nobody waits for one.
//! 2. Who has a place says when its reader holds it up and when it goes on.
//! 3. A place that was held up for long, in one or in all, goes to the next who finds no other.
//!    Its former holder is told when it next asks, and told again whenever it asks after that,
//!    be there room by then: a renderer writes once more when its own buffer is dropped.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::limits::Limits;

/// All places of an endpoint.
#[derive(Debug)]
pub(super) struct Places {
    limits: Limits,
    taken: Mutex<Vec<Arc<Holder>>>,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Arc<Places>,
    holder: Arc<Holder>,
}

#[derive(Debug, Default)]
struct Holder {
    held_up: Mutex<HeldUp>,
    /// Another one has its place.
    replaced: AtomicBool,
}

#[derive(Debug, Default, Clone, Copy)]
struct HeldUp {
    since: Option<Instant>,
    /// How long it was before `since`.
    before: Duration,
    /// The holder was told that it is over.
    is_over: bool,
}

impl Places {
    pub(super) fn new(limits: Limits) -> Arc<Places> {
        Arc::new(Places {
            limits,
            taken: Mutex::new(Vec::new()),
        })
    }

    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.taken.lock();
        if taken.len() >= self.limits.renders {
            let longest = self.longest_held_up(&taken)?;
            let former = taken.swap_remove(longest);
            former.replaced.store(true, Ordering::Release);
        }
        let holder = Arc::new(Holder::default());
        taken.push(Arc::clone(&holder));
        drop(taken);
        Some(Place {
            of: Arc::clone(self),
            holder,
        })
    }

    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.taken.lock().len()
    }

    fn longest_held_up(&self, taken: &[Arc<Holder>]) -> Option<usize> {
        let times = taken.iter().map(|holder| holder.held_up.lock().in_all());
        let (at, longest) = times.enumerate().max_by_key(|(_, time)| *time)?;
        (longest >= self.limits.render_held_up).then_some(at)
    }
}

impl Place {
    /// The reader has no room for more.
    ///
    /// # Errors
    ///
    /// Of kind `TimedOut`, once the place is another's or the reader has had time enough.
    pub(super) fn held_up(&self) -> io::Result<()> {
        let now = Instant::now();
        let mut held_up = self.holder.held_up.lock();
        let since = *held_up.since.get_or_insert(now);
        let replaced = self.holder.replaced.load(Ordering::Acquire);
        held_up.is_over |= replaced || now - since >= self.of.limits.render_stalled;
        held_up.told()
    }

    /// The reader has taken something.
    ///
    /// # Errors
    ///
    /// Of kind `TimedOut`, once [`held_up`](Self::held_up) has given one.
    pub(super) fn goes_on(&self) -> io::Result<()> {
        let mut held_up = self.holder.held_up.lock();
        held_up.before = held_up.in_all();
        held_up.since = None;
        held_up.told()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock();
        taken.retain(|other| !Arc::ptr_eq(other, &self.holder));
    }
}

impl HeldUp {
    fn in_all(&self) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn told(&self) -> io::Result<()> {
        match self.is_over {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(render_held_up: Duration, render_stalled: Duration) -> Arc<Places> {
        Places::new(Limits {
            renders: 2,
            render_held_up,
            render_stalled,
            ..Limits::default()
        })
    }

    const NEVER: Duration = Duration::MAX;

    #[test]
    fn there_are_so_many_and_no_more() {
        let places = places(NEVER, NEVER);
        let (a, _b) = (places.take().unwrap(), places.take().unwrap());
        a.held_up().unwrap();
        assert!(places.take().is_none());
        drop(a);
        assert!(places.take().is_some());
    }

    #[test]
    fn the_place_that_is_held_up_longest_goes_to_the_next() {
        let places = places(Duration::ZERO, NEVER);
        let (a, b) = (places.take().unwrap(), places.take().unwrap());
        b.held_up().unwrap();
        a.held_up().unwrap();
        b.held_up().unwrap();
        let c = places.take().unwrap();
        assert_eq!(b.held_up().unwrap_err().kind(), io::ErrorKind::TimedOut);
        a.held_up().unwrap();
        c.held_up().unwrap();
        drop(b);
        assert_eq!(places.taken(), 2, "b's place was c's already");
    }

    #[test]
    fn a_place_that_was_never_held_up_stays() {
        let places = places(Duration::from_nanos(1), NEVER);
        let (a, _b) = (places.take().unwrap(), places.take().unwrap());
        a.goes_on().unwrap();
        assert!(places.take().is_none());
    }

    #[test]
    fn what_held_it_up_before_counts() {
        let places = places(Duration::from_nanos(1), NEVER);
        let (a, _b) = (places.take().unwrap(), places.take().unwrap());
        while a.holder.held_up.lock().before.is_zero() {
            a.held_up().unwrap();
            a.goes_on().unwrap();
        }
        assert!(places.take().is_some());
        assert_eq!(a.held_up().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_reader_that_has_stalled_is_given_up_in_any_case() {
        let places = places(NEVER, Duration::ZERO);
        let a = places.take().unwrap();
        a.goes_on().unwrap();
        assert_eq!(a.held_up().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(a.goes_on().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
