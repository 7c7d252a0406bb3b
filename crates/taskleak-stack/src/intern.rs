//! Interning: a value in, a small number out, the same number for equal values.
//!
//! Rules:
//! 1. Nothing is ever removed, and every table has a most; so a value lives for ever and what
//!    is leaked is bounded.
//! 2. Nothing blocks. A bucket is a list that only grows at its end, by one compare-and-swap;
//!    who loses it looks at what the winner added before it tries again, so that equal values
//!    get one number.

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

const BUCKETS: usize = 1 << 12;
/// The places of the directory from numbers to values: chunk `n` holds `FIRST_CHUNK << n`.
const CHUNKS: usize = 15;
const FIRST_CHUNK: u32 = 64;

/// A bounded, append-only table from values to numbers from 1 on, and back.
///
/// Made for statics. Values are leaked: their number is bounded by the most that the table was
/// made for.
///
/// ```
/// use taskleak_stack::Interner;
///
/// static WORDS: Interner<str> = Interner::new(100);
/// let number = |word: &str| WORDS.intern(word.len() as u64, |w| w == word, || word.into());
/// assert_eq!(number("park"), number("park"));
/// assert_ne!(number("park"), number("poll"));
/// assert_eq!(WORDS.get(number("poll").unwrap()), Some("poll"));
/// ```
pub struct Interner<T: ?Sized + 'static> {
    buckets: [AtomicPtr<Node<T>>; BUCKETS],
    chunks: [AtomicPtr<AtomicPtr<Node<T>>>; CHUNKS],
    /// Numbers given out; one that lost its race is nobody's.
    used: AtomicU32,
    most: u32,
}

struct Node<T: ?Sized + 'static> {
    hash: u64,
    number: u32,
    value: &'static T,
    next: AtomicPtr<Node<T>>,
}

impl<T: ?Sized + 'static> Interner<T> {
    /// An empty table for at most `most` values, and never more than about two million.
    pub const fn new(most: u32) -> Self {
        Interner {
            buckets: [const { AtomicPtr::new(std::ptr::null_mut()) }; BUCKETS],
            chunks: [const { AtomicPtr::new(std::ptr::null_mut()) }; CHUNKS],
            used: AtomicU32::new(0),
            most,
        }
    }

    /// The number of the value that `is` it; a new value is made with `make`. `hash` has to be
    /// equal for equal values. `None`: the table is full.
    pub fn intern(
        &self,
        hash: u64,
        is: impl Fn(&T) -> bool,
        make: impl FnOnce() -> Box<T>,
    ) -> Option<u32> {
        let mut link = &self.buckets[(hash ^ hash >> 32) as usize % BUCKETS];
        let mut make = Some(make);
        let mut fresh: *mut Node<T> = std::ptr::null_mut();
        loop {
            let there = link.load(Ordering::Acquire);
            // SAFETY: nodes are leaked boxes, published with release and never freed.
            if let Some(node) = unsafe { there.as_ref() } {
                if node.hash == hash && is(node.value) {
                    // A node made for a race that was lost stays leaked, with its number.
                    return Some(node.number);
                }
                link = &node.next;
                continue;
            }
            if let Some(make) = make.take() {
                fresh = self.node(hash, make)?;
            }
            let end = std::ptr::null_mut();
            if link
                .compare_exchange(end, fresh, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                // SAFETY: as above; `fresh` was made by `node`.
                return Some(unsafe { &*fresh }.number);
            }
        }
    }

    /// The value with this number.
    pub fn get(&self, number: u32) -> Option<&'static T> {
        let (chunk, offset, _) = place(number)?;
        let chunk = self.chunks.get(chunk)?.load(Ordering::Acquire);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: a chunk is a leaked slice of the length that `place` keeps `offset` under.
        let node = unsafe { &*chunk.add(offset) }.load(Ordering::Acquire);
        // SAFETY: nodes are leaked boxes, published with release and never freed.
        unsafe { node.as_ref() }.map(|node| node.value)
    }

    /// How many numbers were given out.
    pub fn len(&self) -> u32 {
        self.used.load(Ordering::Relaxed).min(self.most)
    }

    /// Whether no number was given out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn node(&self, hash: u64, make: impl FnOnce() -> Box<T>) -> Option<*mut Node<T>> {
        let one_more = |used| (used < self.most).then_some(used + 1);
        let used = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        let node = Node {
            hash,
            number: used + 1,
            value: Box::leak(make()),
            next: AtomicPtr::new(std::ptr::null_mut()),
        };
        place(node.number)?;
        let node = Box::into_raw(Box::new(node));
        // Before its number is known to anybody, so that every number leads to its value.
        // SAFETY: just made, and never freed.
        self.list(unsafe { &*node }, node);
        Some(node)
    }

    fn list(&self, node: &Node<T>, raw: *mut Node<T>) {
        let Some((chunk, offset, len)) = place(node.number) else {
            return;
        };
        let at = &self.chunks[chunk];
        let mut places = at.load(Ordering::Acquire);
        if places.is_null() {
            let fresh: Box<[AtomicPtr<Node<T>>]> = (0..len)
                .map(|_| AtomicPtr::new(std::ptr::null_mut()))
                .collect();
            let fresh = Box::into_raw(fresh);
            let first = fresh.cast();
            let null = std::ptr::null_mut();
            places = match at.compare_exchange(null, first, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => first,
                Err(other) => {
                    // SAFETY: nobody else has seen the slice that was just made.
                    drop(unsafe { Box::from_raw(fresh) });
                    other
                }
            };
        }
        // SAFETY: a chunk is a leaked slice of the length that `place` keeps `offset` under.
        unsafe { &*places.add(offset) }.store(raw, Ordering::Release);
    }
}

impl<T: ?Sized + 'static> std::fmt::Debug for Interner<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interner")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// The chunk of a number, its place there, and the length of the chunk.
fn place(number: u32) -> Option<(usize, usize, usize)> {
    let index = number.checked_sub(1)?.checked_add(FIRST_CHUNK)?;
    let chunk = (index / FIRST_CHUNK).ilog2() as usize;
    let len = FIRST_CHUNK << chunk;
    (chunk < CHUNKS).then_some((chunk, (index - len) as usize, len as usize))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn intern(table: &Interner<str>, text: &str) -> Option<u32> {
        // Few hashes, so that lists are long.
        table.intern(text.len() as u64 % 3, |seen| seen == text, || text.into())
    }

    #[test]
    fn numbers_lead_back_to_their_values() {
        let table = Interner::new(1000);
        assert!(table.is_empty());
        let words: Vec<String> = (0..500).map(|n| format!("{n:x}")).collect();
        let numbers: Vec<u32> = words
            .iter()
            .map(|word| intern(&table, word).unwrap())
            .collect();
        for (word, number) in words.iter().zip(&numbers) {
            assert_eq!(table.get(*number), Some(word.as_str()));
            assert_eq!(intern(&table, word), Some(*number));
        }
        assert_eq!(table.len(), 500);
        assert_eq!(
            (table.get(0), table.get(501), table.get(u32::MAX)),
            (None, None, None)
        );
    }

    #[test]
    fn a_full_table_still_knows_what_it_has() {
        let table = Interner::new(2);
        assert_eq!(intern(&table, "a"), Some(1));
        assert_eq!(intern(&table, "b"), Some(2));
        assert_eq!(intern(&table, "c"), None);
        assert_eq!(intern(&table, "a"), Some(1));
    }

    #[test]
    fn places_do_not_overlap() {
        let mut seen = std::collections::HashSet::new();
        for number in 1..10_000 {
            let (chunk, offset, len) = place(number).unwrap();
            assert!(offset < len);
            assert!(seen.insert((chunk, offset)), "{number}");
        }
        assert_eq!(place(0), None);
        assert_eq!(place(u32::MAX), None);
    }

    #[test]
    fn threads_agree_on_the_numbers() {
        static TABLE: Interner<str> = Interner::new(100_000);
        let rounds = if cfg!(miri) { 30 } else { 2_000 };
        let maps: Vec<HashMap<String, u32>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    scope.spawn(move || {
                        (0..rounds)
                            .map(|n| format!("{}", (n * 7 + thread) % rounds))
                            .map(|word| (word.clone(), intern(&TABLE, &word).unwrap()))
                            .collect()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        for map in &maps[1..] {
            assert_eq!(*map, maps[0]);
        }
        for (word, number) in &maps[0] {
            assert_eq!(TABLE.get(*number), Some(word.as_str()));
        }
    }
}
