//! The key of a record, which is also the id of its span: `enter` and `exit` need no map.
//!
//! ```text
//! 63   62……………………38   37……30   29………………0
//! 1    generation   1111 1111  slot
//! ```
//!
//! A wrapped subscriber hands out ids of its own, and a key must never equal one of them:
//! 1. `tracing_subscriber::Registry` uses the layout of sharded-slab's `DefaultConfig`
//!    (sharded-slab 0.1, `src/cfg.rs`): bits 0 to 37 are an index into one shard, which fills
//!    from 0. Bits 30 to 37 are all ones only past 273 billion open spans of one thread.
//! 2. An id that counts from 1 does not reach bit 63, and an address in user space has it clear.
//!
//! A slot is retired after its last generation, so a key is never used twice.

const OURS: u64 = 1 << 63 | 0xff << 30;
pub(crate) const MAX_SLOT: u32 = (1 << 30) - 1;
pub(crate) const MAX_GENERATION: u32 = (1 << 25) - 1;

/// Names one task for ever; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64);

impl Key {
    /// The key of spans that are not recorded: the detector's own tasks, tokio's workers, and
    /// what comes once the table is full. No record has it.
    pub(crate) const UNRECORDED: Key = Key(OURS | MAX_SLOT as u64);

    pub(crate) fn new(slot: u32, generation: u32) -> Key {
        debug_assert!(slot < MAX_SLOT && generation <= MAX_GENERATION);
        Key(OURS | u64::from(generation) << 38 | u64::from(slot))
    }

    /// The key in a span's id, if the id has a key's form.
    pub(crate) fn from_span_id(id: u64) -> Option<Key> {
        (id & OURS == OURS).then_some(Key(id))
    }

    pub(crate) fn span_id(self) -> u64 {
        self.0
    }

    pub(crate) fn slot(self) -> u32 {
        (self.0 & u64::from(MAX_SLOT)) as u32
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 38) as u32 & MAX_GENERATION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_slot_and_generation() {
        for (slot, generation) in [(0, 0), (7, 1), (MAX_SLOT - 1, MAX_GENERATION)] {
            let key = Key::new(slot, generation);
            assert_eq!((key.slot(), key.generation()), (slot, generation));
            assert_eq!(Key::from_span_id(key.span_id()), Some(key));
            assert_ne!(key, Key::UNRECORDED);
        }
    }

    #[test]
    fn ids_of_other_subscribers_are_no_keys() {
        for id in [
            1,
            2,
            1 << 62,
            u64::MAX >> 1,
            0x7fff_dead_beef,
            1 << 63 | 42,
            0xffff << 48 | 9,
        ] {
            assert_eq!(Key::from_span_id(id), None, "{id:#x}");
        }
    }
}
