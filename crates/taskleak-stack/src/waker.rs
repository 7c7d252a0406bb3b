//! A waker that tells of its clones: where a future registers it, the future is about to wait.
//!
//! tokio tells of the wakers of its tasks; the root future of a `block_on` gets one that tells
//! nothing, and the standard library has no safe way to be told of a clone (`std::task::Wake` has
//! no hook for it).
//!
//! Rules:
//! 1. The data of each waker made here is an `Arc<Shared>` turned into a pointer: one count for
//!    each waker.
//! 2. There is one vtable, so `Waker::will_wake` holds between clones.
//! 3. What is told runs in the host's code: it must neither block nor panic.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// What was done to a waker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakerOp {
    /// A further one was made.
    Clone,
    /// One is gone.
    Drop,
    /// One was woken, and is gone.
    Wake,
    /// One was woken.
    WakeByRef,
}

/// A waker whose clones are told of; what becomes of itself is not.
#[derive(Debug)]
pub struct WatchedWaker {
    /// Its count is given back without being told of.
    waker: ManuallyDrop<Waker>,
}

struct Shared {
    inner: Waker,
    tell: Box<dyn Fn(WakerOp) + Send + Sync>,
}

impl WatchedWaker {
    /// Makes a waker that wakes `inner`, and tells of its clones.
    pub fn new(inner: Waker, tell: impl Fn(WakerOp) + Send + Sync + 'static) -> WatchedWaker {
        let tell = Box::new(tell);
        let raw = raw(Arc::new(Shared { inner, tell }));
        // SAFETY: the vtable keeps the contract of `RawWaker`: it is thread-safe because `Shared`
        // is `Send + Sync`, each function takes or leaves one count as its place in the vtable
        // wants, and the data is what `raw` made.
        let waker = unsafe { Waker::from_raw(raw) };
        WatchedWaker {
            waker: ManuallyDrop::new(waker),
        }
    }

    /// The waker to hand out.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }
}

impl Drop for WatchedWaker {
    fn drop(&mut self) {
        let data = self.waker.data().cast::<Shared>();
        // SAFETY: the data is an `Arc<Shared>` (rule 1), and this waker's count is given back
        // once: `ManuallyDrop` keeps the waker's own drop away.
        drop(unsafe { Arc::from_raw(data) });
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_one);

fn raw(shared: Arc<Shared>) -> RawWaker {
    RawWaker::new(Arc::into_raw(shared).cast(), &VTABLE)
}

/// # Safety
///
/// `data` is of a waker made here that lives.
unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: rule 1; the count that is taken over here is that of the waker which lives on, so it
    // is not given back.
    let shared = ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<Shared>()) });
    let one_more = Arc::clone(&shared);
    (shared.tell)(WakerOp::Clone);
    raw(one_more)
}

/// # Safety
///
/// `data` is of a waker made here, which is used up.
unsafe fn wake(data: *const ()) {
    // SAFETY: rule 1; the waker is used up, so its count is this function's.
    let shared = unsafe { Arc::from_raw(data.cast::<Shared>()) };
    (shared.tell)(WakerOp::Wake);
    shared.inner.wake_by_ref();
}

/// # Safety
///
/// `data` is of a waker made here that lives.
unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: as in `clone`.
    let shared = ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<Shared>()) });
    (shared.tell)(WakerOp::WakeByRef);
    shared.inner.wake_by_ref();
}

/// # Safety
///
/// `data` is of a waker made here, which is dropped.
unsafe fn drop_one(data: *const ()) {
    // SAFETY: as in `wake`.
    let shared = unsafe { Arc::from_raw(data.cast::<Shared>()) };
    (shared.tell)(WakerOp::Drop);
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_waker_but_the_first_is_told_of() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let woken = Arc::new(Woken::default());
        let watched = {
            let told = Arc::clone(&told);
            WatchedWaker::new(Arc::clone(&woken).into(), move |op| {
                told.lock().unwrap().push(op);
            })
        };
        let one = watched.waker().clone();
        let two = one.clone();
        assert!(one.will_wake(watched.waker()) && one.will_wake(&two));
        one.wake_by_ref();
        drop(watched);
        std::thread::spawn(move || two.wake()).join().unwrap();
        drop(one);
        use WakerOp::{Clone, Drop, Wake, WakeByRef};
        assert_eq!(*told.lock().unwrap(), [Clone, Clone, WakeByRef, Wake, Drop]);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert_eq!(Arc::strong_count(&woken), 1, "nothing is leaked");
        assert_eq!(Arc::strong_count(&told), 1);
    }
}
