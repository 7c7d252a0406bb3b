//! Unwinding the calling thread: by framehop, or by frame pointers where the build has them.
//!
//! framehop caches the unwind rule of an address in 509 direct-mapped entries, which the stacks
//! of a real server overflow, at a microsecond a miss. So there are sixteen caches, chosen by a
//! hash of the address. Sets of them are pooled: memory stays bounded however many threads
//! there are, and a thread that finds no free set goes without.

use std::ops::Range;

use crate::capture::{Bound, Missed};
use crate::counters::count_unwound;
use crate::module;
use crate::shape::{self, Key, Slot};
use crate::stack::{self, MAX_FRAMES, StackId};
use crate::thread;

/// A bound is taken a few calls below the frame that it is for: frames that lie at most so far
/// above it are captured as well. Debug builds nest those calls deeper.
const MARGIN: usize = if cfg!(debug_assertions) { 2048 } else { 512 };

/// The slots of a shape that are compared first.
const OUTERMOST: usize = 4;

/// The registers that unwinding starts from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registers {
    pc: u64,
    sp: u64,
    fp: u64,
    #[cfg(target_arch = "aarch64")]
    lr: u64,
}

impl Registers {
    /// Those of the function that this is inlined into.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn here() -> Registers {
        let (pc, sp, fp): (u64, u64, u64);
        // SAFETY: copies three registers; touches neither memory nor flags.
        unsafe {
            std::arch::asm!(
                "lea {pc}, [rip]", "mov {sp}, rsp", "mov {fp}, rbp",
                pc = out(reg) pc, sp = out(reg) sp, fp = out(reg) fp,
                options(nomem, nostack, preserves_flags),
            );
        }
        Registers { pc, sp, fp }
    }

    /// Those of the function that this is inlined into.
    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    pub(crate) fn here() -> Registers {
        let (pc, sp, fp, lr): (u64, u64, u64, u64);
        // SAFETY: copies four registers; touches neither memory nor flags.
        unsafe {
            std::arch::asm!(
                "adr {pc}, .", "mov {sp}, sp", "mov {fp}, x29", "mov {lr}, x30",
                pc = out(reg) pc, sp = out(reg) sp, fp = out(reg) fp, lr = out(reg) lr,
                options(nomem, nostack, preserves_flags),
            );
        }
        Registers { pc, sp, fp, lr }
    }
}

#[inline]
pub(crate) fn captured(
    registers: Registers,
    bound: Bound,
    may_unwind: &mut dyn FnMut() -> bool,
) -> Result<StackId, Missed> {
    let own = thread::stack();
    let sp = registers.sp as usize;
    if !own.contains(&sp) {
        return Err(Missed::ForeignStack);
    }
    let end = bound.address().clamp(sp, own.end);
    let key = Key::new(end - sp, module::generation());
    let memory = Memory { own: sp..own.end };
    if let Some(known) = shape::find(key, |slots| memory.holds(slots)) {
        return Ok(known);
    }
    if !may_unwind() {
        return Err(Missed::Unwanted);
    }
    thread::not_nested(|| unwound(registers, end, key, &memory)).unwrap_or(Err(Missed::Nested))
}

#[cold]
#[inline(never)]
fn unwound(registers: Registers, end: usize, key: Key, memory: &Memory) -> Result<StackId, Missed> {
    count_unwound();
    let mut walk = Walk {
        slots: Vec::with_capacity(32),
        slots_rise: true,
    };
    walker::walk(registers, memory, |return_address, slot| {
        walk.push(return_address, slot, registers.sp as usize);
        let past_the_end = slot.is_some_and(|slot| slot > end.saturating_add(MARGIN));
        !past_the_end && walk.slots.len() < MAX_FRAMES
    })?;
    let addresses: Vec<u64> = walk.slots.iter().map(|slot| slot.address).collect();
    if addresses.is_empty() {
        return Err(Missed::Empty);
    }
    let id = stack::intern(&addresses).ok_or(Missed::TableFull)?;
    if walk.slots_rise {
        shape::add(key, &walk.slots, id);
    }
    Ok(id)
}

struct Walk {
    slots: Vec<Slot>,
    /// Every return address has a slot, each above the one before.
    slots_rise: bool,
}

impl Walk {
    fn push(&mut self, address: u64, slot: Option<usize>, sp: usize) {
        let offset = slot.map_or(0, |slot| slot - sp);
        let above = self.slots.last().is_none_or(|below| below.offset < offset);
        self.slots_rise &= slot.is_some() && above;
        self.slots.push(Slot { offset, address });
    }
}

/// The part of this thread's stack that may be read: from the stack pointer to the root.
struct Memory {
    own: Range<usize>,
}

impl Memory {
    /// Whether every slot, counted from the stack pointer, holds its address.
    #[inline]
    fn holds(&self, slots: &[Slot]) -> bool {
        let words = self.own.len() / size_of::<u64>();
        let in_words = |slot: &Slot| slot.offset / size_of::<u64>();
        if slots.last().is_none_or(|last| in_words(last) >= words) || !self.is_aligned() {
            return false;
        }
        let base = std::ptr::with_exposed_provenance::<u64>(self.own.start);
        // What tells stacks of one depth apart is mostly which future is polled: its frames lie
        // farthest out.
        let (inner, outer) = slots.split_at(slots.len().saturating_sub(OUTERMOST));
        let difference = |slot: &Slot| {
            // SAFETY: as in `word`; the last slot is inside, and the offsets rise.
            let held = unsafe { base.add(in_words(slot)).read_volatile() };
            held ^ slot.address
        };
        // Of the others all are compared: a branch for each would cost more than it spares.
        outer.iter().all(|slot| difference(slot) == 0)
            && inner.iter().fold(0, |all, slot| all | difference(slot)) == 0
    }

    fn is_aligned(&self) -> bool {
        self.own.start.is_multiple_of(align_of::<u64>())
    }

    #[inline]
    fn word(&self, at: usize) -> Option<u64> {
        let last = self.own.end.checked_sub(size_of::<u64>())?;
        if at < self.own.start || at > last || !at.is_multiple_of(align_of::<u64>()) {
            return None;
        }
        // SAFETY: aligned, and within this thread's own stack above its stack pointer, which is
        // mapped while the thread runs. Volatile: the words are locals and return addresses of
        // frames that the compiler knows nothing of here.
        Some(unsafe { std::ptr::with_exposed_provenance::<u64>(at).read_volatile() })
    }
}

#[cfg(taskleak_frame_pointers)]
mod walker {
    use super::{Memory, Missed, Registers, module};

    /// Follows the chain of frame pointers. Gives each return address and its slot to `each`,
    /// until that returns false.
    pub(super) fn walk(
        registers: Registers,
        memory: &Memory,
        mut each: impl FnMut(u64, Option<usize>) -> bool,
    ) -> Result<(), Missed> {
        let loaded = module::loaded().ok_or(Missed::Busy)?;
        let mut fp = registers.fp as usize;
        while let (Some(next), Some(address)) = (memory.word(fp), memory.word(fp + 8)) {
            if !loaded.covers(address) || !each(address, Some(fp + 8)) {
                break;
            }
            // The chain goes up the stack, or it is none.
            if next as usize <= fp {
                break;
            }
            fp = next as usize;
        }
        Ok(())
    }
}

#[cfg(not(taskleak_frame_pointers))]
mod walker {
    use framehop::{CacheNative, FrameAddress, MayAllocateDuringUnwind, Unwinder, UnwinderNative};
    use parking_lot::{Mutex, MutexGuard};

    use super::{Memory, Missed, Registers, module};
    use crate::module::{Bytes, Loaded};
    use crate::thread;

    const CACHES: usize = 16;
    const SETS: usize = 64;
    /// How many sets a thread tries.
    const TRIES: usize = 4;

    static POOL: [Mutex<Option<Box<Set>>>; SETS] = [const { Mutex::new(None) }; SETS];

    struct Set {
        generation: u32,
        unwinder: UnwinderNative<Bytes, MayAllocateDuringUnwind>,
        caches: [CacheNative<MayAllocateDuringUnwind>; CACHES],
    }

    /// Unwinds frame by frame. Gives each return address and its slot to `each`, until that
    /// returns false.
    pub(super) fn walk(
        registers: Registers,
        memory: &Memory,
        mut each: impl FnMut(u64, Option<usize>) -> bool,
    ) -> Result<(), Missed> {
        let loaded = module::loaded().ok_or(Missed::Busy)?;
        let mut set = take_set().ok_or(Missed::Busy)?;
        let set = set.get_or_insert_with(|| Box::new(Set::new(&loaded)));
        set.refresh(&loaded);
        let mut unwind = unwind_registers(registers);
        let mut at = FrameAddress::from_instruction_pointer(registers.pc);
        // framehop would guess in unknown code, by frame pointers.
        while loaded.covers(at.address_for_lookup()) {
            let mut reads = LastReads::default();
            let mut read = |address: u64| {
                let word = memory.word(address as usize).ok_or(())?;
                reads.note(address, word);
                Ok(word)
            };
            let cache = &mut set.caches[cache_of(at.address_for_lookup())];
            let next = set.unwinder.unwind_frame(at, &mut unwind, cache, &mut read);
            let Ok(Some(return_address)) = next else {
                break;
            };
            let Some(caller) = FrameAddress::from_return_address(return_address) else {
                break;
            };
            if !each(return_address, reads.slot_of(return_address)) {
                break;
            }
            at = caller;
        }
        Ok(())
    }

    fn take_set() -> Option<MutexGuard<'static, Option<Box<Set>>>> {
        let first = thread::ordinal();
        (first..first + TRIES).find_map(|n| POOL[n % SETS].try_lock())
    }

    fn cache_of(address: u64) -> usize {
        (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize % CACHES
    }

    impl Set {
        fn new(loaded: &Loaded) -> Set {
            Set {
                generation: module::generation(),
                unwinder: loaded.unwinder(),
                caches: std::array::from_fn(|_| CacheNative::new()),
            }
        }

        fn refresh(&mut self, loaded: &Loaded) {
            let generation = module::generation();
            if self.generation != generation {
                self.generation = generation;
                self.unwinder = loaded.unwinder();
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn unwind_registers(registers: Registers) -> framehop::x86_64::UnwindRegsX86_64 {
        framehop::x86_64::UnwindRegsX86_64::new(registers.pc, registers.sp, registers.fp)
    }

    #[cfg(target_arch = "aarch64")]
    fn unwind_registers(registers: Registers) -> framehop::aarch64::UnwindRegsAarch64 {
        framehop::aarch64::UnwindRegsAarch64::new(registers.lr, registers.sp, registers.fp)
    }

    /// The last words that the unwinder read for a frame: one of them is the return address.
    #[derive(Default)]
    struct LastReads {
        reads: [(u64, u64); 4],
        count: usize,
    }

    impl LastReads {
        fn note(&mut self, address: u64, word: u64) {
            self.reads[self.count % self.reads.len()] = (address, word);
            self.count += 1;
        }

        fn slot_of(&self, return_address: u64) -> Option<usize> {
            let kept = self.count.min(self.reads.len());
            let newest_first = (self.count - kept..self.count).rev();
            newest_first
                .map(|n| self.reads[n % self.reads.len()])
                .find(|(_, word)| *word == return_address)
                .map(|(address, _)| address as usize)
        }
    }
}
