//! The form for a whole binary: a look at the tasks when the process exits.

use std::sync::{Arc, OnceLock};
use std::thread;

use taskleak_profile::leaks::Leaks;

use super::mode::{Mode, tell_aloud};
use super::watch::Watch;

static WATCH: OnceLock<Arc<Watch>> = OnceLock::new();

/// What libtest exits with where tests failed.
const FAILED: u8 = 101;

/// Looks at its tasks when the process exits. Whether it is the first.
pub(super) fn watch(watch: Watch) -> bool {
    WATCH.set(Arc::new(watch)).is_ok() && taskleak_stack::at_exit(check)
}

/// The thread that exits has no thread-locals any more, and a panic must not leave this function:
/// another one looks.
fn check() -> Option<u8> {
    let watch = Arc::clone(WATCH.get()?);
    let look = thread::Builder::new().name("taskleak-exit".into());
    let look = look.spawn(move || watch.settled_here());
    match look.map(thread::JoinHandle::join) {
        Ok(Ok(None)) => None,
        Ok(Ok(Some(leaks))) => tell(&leaks),
        Ok(Err(_)) | Err(_) => {
            tell_aloud("taskleak: cannot look at the tasks that are left: the look failed");
            Some(FAILED)
        }
    }
}

fn tell(leaks: &Leaks) -> Option<u8> {
    let mode = Mode::of_environment();
    let warning = match mode {
        Ok(Mode::Warn) => "warning: ",
        _ => "",
    };
    tell_aloud(&format!("taskleak: {warning}{leaks}"));
    if let Err(error) = &mode {
        tell_aloud(&format!("taskleak: {error}"));
    }
    (mode != Ok(Mode::Warn)).then_some(FAILED)
}
