//! A last word when the process exits: the standard library has none.

use std::sync::OnceLock;

static CHECK: OnceLock<fn() -> Option<u8>> = OnceLock::new();

/// Has `check` called when the process exits in order: its `main` returns, or `exit` is called. If
/// it gives a code, the process exits with that one. The first call counts; returns whether it is
/// this one.
///
/// What was registered before it with `atexit` is not called where it gives a code. It must not
/// panic.
pub fn at_exit(check: fn() -> Option<u8>) -> bool {
    if CHECK.set(check).is_err() {
        return false;
    }
    // SAFETY: `atexit` may be called at any time, and `run` is of the type that it wants, and
    // lives as long as the process: nobody unloads the executable.
    unsafe { libc::atexit(run) == 0 }
}

extern "C" fn run() {
    let code = CHECK.get().and_then(|check| check());
    if let Some(code) = code {
        // SAFETY: it ends the process at once, whatever else runs. `exit` must not be called by
        // what it calls.
        unsafe { libc::_exit(code.into()) }
    }
}
