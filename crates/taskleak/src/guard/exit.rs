//! The form for a whole binary: a look at the tasks when the process exits.

use std::sync::OnceLock;

use super::mode::{Mode, tell_aloud};
use super::watch::Watch;

static WATCH: OnceLock<Watch> = OnceLock::new();

/// What libtest exits with where tests failed.
const FAILED: u8 = 101;

/// Looks at its tasks when the process exits; the first one counts.
pub(super) fn watch(watch: Watch) {
    if WATCH.set(watch).is_ok() {
        taskleak_stack::at_exit(check);
    }
}

fn check() -> Option<u8> {
    let leaks = WATCH.get()?.settled_here()?;
    let mode = Mode::of_environment();
    let what = match &mode {
        Ok(Mode::Warn) => "warning: ",
        _ => "",
    };
    tell_aloud(&format!("taskleak: {what}{leaks}"));
    let refused = mode.as_ref().err();
    refused.inspect(|error| tell_aloud(&format!("taskleak: {error}")));
    (mode != Ok(Mode::Warn)).then_some(FAILED)
}
