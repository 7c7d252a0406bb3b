//! Slots that are allocated in chunks as they are needed, never move, and are never given back to
//! the allocator: what tables without locks are made of.

use std::sync::OnceLock;

use crate::sync::{AtomicU32, Ordering};

/// At most `MAX_CHUNKS` times `CHUNK` of them; `C` holds `CHUNK`.
pub(crate) struct Slots<C, const CHUNK: usize, const MAX_CHUNKS: usize> {
    chunks: Box<[OnceLock<C>]>,
    /// The slots from here on were never used.
    fresh: AtomicU32,
}

impl<C, const CHUNK: usize, const MAX_CHUNKS: usize> Slots<C, CHUNK, MAX_CHUNKS> {
    pub(crate) fn new() -> Self {
        Slots {
            chunks: (0..MAX_CHUNKS).map(|_| OnceLock::new()).collect(),
            fresh: AtomicU32::new(0),
        }
    }

    /// How many were ever used.
    pub(crate) fn used(&self) -> usize {
        self.fresh.load(Ordering::Acquire) as usize
    }

    /// The chunk of a slot, and its place in there.
    pub(crate) fn get(&self, slot: u32) -> Option<(&C, usize)> {
        let slot = slot as usize;
        Some((self.chunks.get(slot / CHUNK)?.get()?, slot % CHUNK))
    }

    /// The chunks that were ever used, and how much of each.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (&C, usize)> {
        let used = self.used();
        let chunks = self.chunks.iter().map_while(OnceLock::get).enumerate();
        chunks.map_while(move |(number, chunk)| {
            let left = used.checked_sub(number * CHUNK).filter(|left| *left > 0)?;
            Some((chunk, left.min(CHUNK)))
        })
    }

    /// Takes one that was never used; `None` if there is no more. `vacant` makes a chunk.
    pub(crate) fn take(&self, vacant: impl Fn() -> C) -> Option<u32> {
        let mut slot = self.fresh.load(Ordering::Relaxed);
        loop {
            let chunk = self.chunks.get(slot as usize / CHUNK)?;
            // Before the count, so that a walk finds every slot that is counted. Whoever loses
            // the race to set the chunk drops its own; nobody waits for an allocation.
            if chunk.get().is_none() {
                let _lost = chunk.set(vacant());
            }
            match self.fresh.compare_exchange_weak(
                slot,
                slot + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(slot),
                Err(now) => slot = now,
            }
        }
    }
}
