//! Slots that are allocated in chunks as they are needed, never move, and are never given back to
//! the allocator: what tables without locks are made of.

use std::sync::OnceLock;

use crate::sync::{AtomicU32, Ordering};

/// At most `MAX_CHUNKS` times `CHUNK` of them.
pub(crate) struct Slots<T, const CHUNK: usize, const MAX_CHUNKS: usize> {
    chunks: Box<[OnceLock<Box<[T]>>]>,
    /// The slots from here on were never used.
    fresh: AtomicU32,
}

impl<T, const CHUNK: usize, const MAX_CHUNKS: usize> Slots<T, CHUNK, MAX_CHUNKS> {
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

    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        let slot = slot as usize;
        self.chunks.get(slot / CHUNK)?.get()?.get(slot % CHUNK)
    }

    /// Those that were ever used, in pieces.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &[T]> {
        let used = self.used();
        let chunks = self.chunks.iter().map_while(OnceLock::get).enumerate();
        chunks.map_while(move |(number, chunk)| {
            let left = used.checked_sub(number * CHUNK).filter(|left| *left > 0)?;
            Some(&chunk[..left.min(CHUNK)])
        })
    }

    /// Takes one that was never used; `None` if there is no more. `vacant` makes one.
    pub(crate) fn take(&self, vacant: impl Fn() -> T) -> Option<u32> {
        let mut slot = self.fresh.load(Ordering::Relaxed);
        loop {
            let chunk = self.chunks.get(slot as usize / CHUNK)?;
            // Before the count, so that a walk finds every slot that is counted. Whoever loses
            // the race to set the chunk drops its own; nobody waits for an allocation.
            if chunk.get().is_none() {
                let _lost = chunk.set((0..CHUNK).map(|_| vacant()).collect());
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
