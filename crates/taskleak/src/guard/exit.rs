//! The form for a whole binary: a look at the tasks when the process exits.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;

use taskleak_profile::leaks::Leaks;
use tokio::runtime::Builder;

use super::mode::{Mode, tell_aloud};
use super::watch::{Left, Watch};
use crate::polls;

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
    let look = move || {
        polls::belong_to_detector();
        let runtime = Builder::new_current_thread().build()?;
        Ok::<Left, io::Error>(runtime.block_on(watch.settled(|| false)))
    };
    let thread = thread::Builder::new().name("taskleak-exit".into());
    match thread.spawn(look).map(thread::JoinHandle::join) {
        Ok(Ok(Ok(Left::Nothing | Left::Allowed))) => None,
        Ok(Ok(Ok(Left::Leaks(leaks)))) => tell(&leaks),
        Ok(Ok(Err(_)) | Err(_)) | Err(_) => {
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
