//! Stacks as small ids.

use std::num::NonZeroU32;

use crate::intern::Interner;

/// The most stacks that are kept: an id fits in 20 bits, of which all ones is nobody's. With 24
/// frames each, 200 MB.
const MAX_STACKS: u32 = (1 << 20) - 2;

/// The most frames of a stack; deeper ones lose the frames at the root.
pub(crate) const MAX_FRAMES: usize = 128;

static STACKS: Interner<[u64]> = Interner::new(MAX_STACKS);

/// A captured stack: the same for equal stacks, for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackId(NonZeroU32);

impl StackId {
    /// The id as a number, less than 2^20.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// The id with this number; `None` for 0. It is not checked that there is such a stack.
    pub fn from_u32(number: u32) -> Option<StackId> {
        NonZeroU32::new(number).map(StackId)
    }
}

/// The return addresses of a stack, leaf first. Empty if there is no such stack.
pub fn addresses(id: StackId) -> &'static [u64] {
    STACKS.get(id.get()).unwrap_or_default()
}

/// `None`: the table is full.
pub(crate) fn intern(addresses: &[u64]) -> Option<StackId> {
    let hash = addresses
        .iter()
        .fold(0, |hash, address| mix(hash, *address));
    let number = STACKS.intern(hash, |seen| seen == addresses, || addresses.into())?;
    StackId::from_u32(number)
}

/// How many stacks are kept.
pub(crate) fn kept() -> u32 {
    STACKS.len()
}

/// A step of a fast hash (the multiplier of the golden ratio, folded).
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 29
}
