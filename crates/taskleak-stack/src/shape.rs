//! Shapes: how a stack that was unwound once is recognized without unwinding.
//!
//! A shape is a stack with the offset, from the stack pointer, of the slot that holds each
//! return address. If every slot holds the recorded address again, unwinding would give the
//! same stack:
//! 1. The first slot lies at a fixed offset in the frame of `capture`, so it is live.
//! 2. If a live slot holds the recorded return address, the caller is at the same instruction;
//!    unwind information gives one frame size for an instruction, so the next slot lies at the
//!    recorded offset too, and is live.
//! 3. The exception is a frame whose size is not fixed (`alloca`, over-aligned locals). Then the
//!    next slot lies elsewhere and the recorded one holds something else: a mismatch, and the
//!    stack is unwound. It would take a stale copy of just that return address to fool it.
//!
//! Code that is unloaded and replaced could break 2, so the generation of the modules is part
//! of the key. Shapes are leaked; their number and the length of a list are bounded, and past
//! that a stack is unwound each time.

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use crate::stack::{StackId, mix};

const BUCKETS: usize = 1 << 12;
const MAX_SHAPES: u32 = 1 << 16;
/// The most shapes of one bucket, so that a look-up stays bounded: a service may have some hundred
/// stacks of one depth, and one that is not in the list is unwound each time, which costs more
/// than the list.
const MAX_LIST: usize = 128;

static LISTS: [AtomicPtr<Shape>; BUCKETS] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; BUCKETS];
static SHAPES: AtomicU32 = AtomicU32::new(0);

/// What stacks have to share before their slots are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    /// `distance`: from the stack pointer to where the capture ends.
    pub(crate) fn new(distance: usize, generation: u32) -> Key {
        Key(mix(u64::from(generation), distance as u64))
    }
}

struct Shape {
    key: Key,
    id: StackId,
    slots: Box<[Slot]>,
    next: AtomicPtr<Shape>,
}

/// A return address and where it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// Bytes above the stack pointer.
    pub(crate) offset: usize,
    pub(crate) address: u64,
}

/// The stack whose shape this is. `matches` compares slots, whose offsets rise, with the stack.
#[inline]
pub(crate) fn find(key: Key, matches: impl Fn(&[Slot]) -> bool) -> Option<StackId> {
    let mut link = list(key);
    loop {
        // SAFETY: shapes are leaked boxes, published with release and never freed.
        let shape = unsafe { link.load(Ordering::Acquire).as_ref() }?;
        if shape.key == key && matches(&shape.slots) {
            return Some(shape.id);
        }
        link = &shape.next;
    }
}

/// Adds a shape, if there is room. The offsets of its slots have to rise.
pub(crate) fn add(key: Key, slots: &[Slot], id: StackId) {
    let one_more = |shapes| (shapes < MAX_SHAPES).then_some(shapes + 1);
    if SHAPES
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
        .is_err()
    {
        return;
    }
    let next = AtomicPtr::new(std::ptr::null_mut());
    let fresh = Box::into_raw(Box::new(Shape {
        key,
        id,
        slots: slots.into(),
        next,
    }));
    let mut link = list(key);
    for _ in 0..MAX_LIST {
        let null = std::ptr::null_mut();
        match link.compare_exchange(null, fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return,
            // SAFETY: not null, or the exchange had succeeded; leaked as above.
            Err(taken) => link = unsafe { &(*taken).next },
        }
    }
    // SAFETY: the list had no room, so nobody else has seen the shape.
    drop(unsafe { Box::from_raw(fresh) });
    SHAPES.fetch_sub(1, Ordering::Relaxed);
}

fn list(key: Key) -> &'static AtomicPtr<Shape> {
    &LISTS[key.0 as usize % BUCKETS]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_found_by_all_of_its_slots() {
        let key = Key::new(0x1234_5678, 7);
        let slots = [
            Slot {
                offset: 8,
                address: 0xa,
            },
            Slot {
                offset: 24,
                address: 0xb,
            },
        ];
        let id = StackId::from_u32(5).unwrap();
        let stack = |words: &'static [u64]| {
            let holds = |slot: &Slot| words.get(slot.offset / 8) == Some(&slot.address);
            move |slots: &[Slot]| slots.iter().all(holds)
        };
        assert_eq!(find(key, stack(&[0, 0xa, 0, 0xb])), None);
        add(key, &slots, id);
        assert_eq!(find(key, stack(&[0, 0xa, 0, 0xb])), Some(id));
        assert_eq!(find(key, stack(&[0, 0xa, 0, 0xc])), None);
        assert_eq!(find(key, stack(&[0, 0xa])), None, "shorter than the shape");
        assert_eq!(
            find(Key::new(0x1234_5678, 8), stack(&[0, 0xa, 0, 0xb])),
            None
        );
    }

    #[test]
    fn a_list_is_bounded() {
        let key = Key::new(0x8765_4321, 1);
        for n in 0..MAX_LIST as u64 + 8 {
            add(
                key,
                &[Slot {
                    offset: 0,
                    address: n,
                }],
                StackId::from_u32(9).unwrap(),
            );
        }
        let is = |n: u64| move |slots: &[Slot]| slots[0].address == n;
        let found = (0..MAX_LIST as u64 + 8).filter(|n| find(key, is(*n)).is_some());
        assert_eq!(found.count(), MAX_LIST);
    }
}
