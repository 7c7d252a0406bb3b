//! A stack of free slots, linked through the slots themselves; no lock.
//!
//! The head carries a tag that every change counts up (the ABA problem), so a pop that read the
//! link of a slot which somebody else has taken meanwhile fails and reads again. A link may
//! therefore hold anything while its slot is in use.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

pub(crate) struct FreeList {
    /// A tag in the high 32 bits, the first slot plus one in the low; 0 is empty.
    head: AtomicU64,
}

impl FreeList {
    pub(crate) fn new() -> FreeList {
        FreeList {
            head: AtomicU64::new(0),
        }
    }

    /// Gives a slot back; `link` is the slot's.
    pub(crate) fn push(&self, slot: u32, link: &AtomicU32) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // Release: who reads this link in place of what the slot held sees that it is free.
            link.store(head as u32, Ordering::Release);
            let new = next_tag(head) | u64::from(slot + 1);
            match self
                .head
                .compare_exchange_weak(head, new, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes a slot; `link` finds the link of one.
    pub(crate) fn pop<'a>(&self, link: impl Fn(u32) -> Option<&'a AtomicU32>) -> Option<u32> {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let slot = (head as u32).checked_sub(1)?;
            let next = link(slot)?.load(Ordering::Relaxed);
            let new = next_tag(head) | u64::from(next);
            match self
                .head
                .compare_exchange_weak(head, new, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some(slot),
                Err(now) => head = now,
            }
        }
    }
}

fn next_tag(head: u64) -> u64 {
    (head >> 32).wrapping_add(1) << 32
}
