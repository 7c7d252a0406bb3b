//! Where this thread's own stack lies: what may be read.
//!
//! All of it is in cells without a destructor, so it can be asked while a thread starts or ends.

use std::cell::Cell;
use std::ops::Range;
#[cfg(not(taskleak_frame_pointers))]
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    static BOUNDS: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
    static CAPTURING: Cell<bool> = const { Cell::new(false) };
    #[cfg(not(taskleak_frame_pointers))]
    static ORDINAL: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The addresses of this thread's stack, as the C library knows them; empty if it does not.
pub(crate) fn stack() -> Range<usize> {
    let (low, high) = BOUNDS.get().unwrap_or_else(|| {
        let bounds = ask();
        // One that could not be had (no file descriptor was left, say) is asked for again.
        BOUNDS.set(bounds);
        bounds.unwrap_or_default()
    });
    low..high
}

/// A small number of this thread's own, for framehop's caches.
#[cfg(not(taskleak_frame_pointers))]
pub(crate) fn ordinal() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    ORDINAL.get().unwrap_or_else(|| {
        let ordinal = NEXT.fetch_add(1, Ordering::Relaxed);
        ORDINAL.set(Some(ordinal));
        ordinal
    })
}

/// Runs `capture` unless one is under way on this thread: an allocator that logs, say.
pub(crate) fn not_nested<T>(capture: impl FnOnce() -> T) -> Option<T> {
    struct Done;
    impl Drop for Done {
        fn drop(&mut self) {
            CAPTURING.set(false);
        }
    }
    if CAPTURING.replace(true) {
        return None;
    }
    let _done = Done;
    Some(capture())
}

fn ask() -> Option<(usize, usize)> {
    // SAFETY: the attributes are initialized by `pthread_getattr_np` if it returns 0, read by
    // `pthread_attr_getstack`, and destroyed once; `pthread_self` is this live thread.
    unsafe {
        let mut attributes = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) != 0 {
            return None;
        }
        let mut low = std::ptr::null_mut();
        let mut size = 0;
        let failed =
            libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut size);
        libc::pthread_attr_destroy(&raw mut attributes);
        if failed != 0 {
            return None;
        }
        Some((low as usize, low as usize + size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_lies_in_the_stack() {
        let check = || {
            let local = 0u8;
            assert!(stack().contains(&(std::ptr::from_ref(&local) as usize)));
            let heap = Box::new(0u8);
            assert!(!stack().contains(&(std::ptr::from_ref(&*heap) as usize)));
        };
        check();
        std::thread::spawn(check).join().unwrap();
    }

    #[test]
    fn a_capture_in_a_capture_is_none() {
        assert_eq!(not_nested(|| not_nested(|| 1)), Some(None));
        assert_eq!(not_nested(|| 1), Some(1));
    }
}
