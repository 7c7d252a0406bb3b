//! The guards that are at work: when the process is told to end, their tasks are told of.
//!
//! A test runner that has waited long enough sends a SIGTERM (`cargo nextest`, with
//! `terminate-after`). Then the profile of each running test goes to standard error, and the
//! process ends of the signal as it would have.

use std::sync::{Arc, Once, Weak};

use parking_lot::Mutex;

use super::watch::Watch;

static RUNNING: Mutex<Vec<Weak<Watch>>> = Mutex::new(Vec::new());

/// Notes a guard, until it is gone.
pub(super) fn note(watch: &Arc<Watch>) {
    let mut running = RUNNING.lock();
    running.retain(|watch| watch.strong_count() > 0);
    running.push(Arc::downgrade(watch));
    drop(running);
    static HANDLED: Once = Once::new();
    HANDLED.call_once(handle_sigterm);
}

#[cfg(unix)]
fn handle_sigterm() {
    use std::panic::catch_unwind;
    use std::process;

    use taskleak_profile::leaks::{Unended, unended};
    use taskleak_stack::{die_of_sigterm, on_sigterm};

    use super::mode::tell_aloud;
    use crate::polls;

    let tell = |sender: u32| {
        // A test of what the program does at a SIGTERM.
        if sender == process::id() {
            return;
        }
        let tell_all = || {
            polls::belong_to_detector();
            let running: Vec<_> = RUNNING.lock().iter().filter_map(Weak::upgrade).collect();
            for watch in running {
                let page = unended(&watch.owner, Unended::Terminated, &watch.profile());
                tell_aloud(&format!("taskleak: {page}"));
            }
        };
        // It ends whatever becomes of the pages.
        let _told = catch_unwind(tell_all);
        die_of_sigterm();
    };
    if let Err(error) = on_sigterm(tell) {
        tell_aloud(&format!("taskleak: cannot handle SIGTERM: {error}"));
    }
}

#[cfg(not(unix))]
fn handle_sigterm() {}
