//! Which frames of a stack are hidden, because they tell nothing of the program.
//!
//! Rules, in their order:
//! 1. Hidden wherever they stand: this detector, `tracing`, the standard library, tokio's runtime.
//! 2. Hidden rootward of the poll of a task, of the run of a test, and of where a thread's own
//!    function is called: what belongs to the thread, or to the test harness.
//! 3. Hidden at the leaf: every frame of a library that others wait or spawn through, up to the
//!    first one that is not. Further rootward such frames are shown.
//! 4. Never hidden: functions of any other crate, and frames without a symbol, unless they lie
//!    below the start of the thread.
//! 5. A stack is never hidden whole: then the frame that tells most is shown.

use crate::name::{Name, Place};

/// Marks the frames to hide, leaf first.
pub(crate) fn hidden(names: &[Name]) -> Vec<bool> {
    let root = names
        .iter()
        .position(|name| {
            is_task_root(&name.place) || is_run_of_test(&name.place) || is_short_backtrace(name)
        })
        .unwrap_or(names.len());
    let start = names
        .iter()
        .position(is_thread_start)
        .unwrap_or(names.len());
    let leaf = names
        .iter()
        .position(|name| !is_leaf_side(name))
        .unwrap_or(names.len());
    let mut hidden: Vec<bool> = names
        .iter()
        .enumerate()
        .map(|(at, name)| match name.shown.is_empty() {
            true => at > start,
            false => at < leaf || at >= root || is_always_hidden(name),
        })
        .collect();
    if let (true, Some(at)) = (
        hidden.iter().all(|hidden| *hidden),
        most_telling(names, root),
    ) {
        hidden[at] = false;
    }
    hidden
}

/// Whether a function is of a library whose frames are no answer to "who waits here?".
///
/// The wait of a task is read off these frames, up to the first other one.
pub(crate) fn is_leaf_side(name: &Name) -> bool {
    name.place.in_macro || is_library(name.place.krate()) || is_plumbing(name)
}

/// Rootward of these frames a stack is that of the thread which polls the task.
///
/// `tokio/src/runtime/task/harness.rs`: `poll` calls `poll_inner`, that calls `poll_future`.
pub(crate) fn is_task_root(place: &Place) -> bool {
    let Some(below) = place.below("tokio::runtime::task") else {
        return false;
    };
    matches!(
        below,
        "harness::poll_future"
            | "harness::Harness::poll_inner"
            | "harness::poll_inner"
            | "harness::Harness::poll"
            | "harness::poll"
            | "raw::RawTask::poll"
            | "raw::poll"
            | "LocalNotified::run"
            | "UnownedTask::run"
    )
}

/// What `#[taskleak::test]` expands to is a function with a body; the test is within.
fn is_run_of_test(place: &Place) -> bool {
    place.below("taskleak::guard::test").is_some()
}

/// Crates whose functions run other people's futures, and whose primitives they wait on.
pub(crate) fn is_library(krate: &str) -> bool {
    const LIBRARIES: [&str; 19] = [
        "async_channel",
        "async_lock",
        "concurrent_queue",
        "event_listener",
        "event_listener_strategy",
        "flume",
        "futures",
        "futures_channel",
        "futures_core",
        "futures_executor",
        "futures_io",
        "futures_lite",
        "futures_sink",
        "futures_task",
        "futures_util",
        "tokio",
        "tokio_stream",
        "tokio_util",
        "tokio_macros",
    ];
    LIBRARIES.contains(&krate) || is_noise(krate)
}

/// The crates of this detector that run inside the process.
pub(crate) fn is_own(krate: &str) -> bool {
    matches!(
        krate,
        "taskleak" | "taskleak_alloc" | "taskleak_profile" | "taskleak_stack"
    )
}

/// Crates of which no function is ever of interest.
fn is_noise(krate: &str) -> bool {
    const NOISE: [&str; 12] = [
        "__rustc",
        "alloc",
        "backtrace",
        "console_subscriber",
        "core",
        "framehop",
        "panic_unwind",
        "std",
        "tracing",
        "tracing_core",
        "tracing_futures",
        "tracing_subscriber",
    ];
    is_own(krate) || NOISE.contains(&krate)
}

fn is_always_hidden(name: &Name) -> bool {
    let place = &name.place;
    place.in_macro
        || is_noise(place.krate())
        || is_plumbing(name)
        || RUNTIME.iter().any(|module| place.below(module).is_some())
}

/// The parts of tokio and futures that run tasks or hand a poll on, as opposed to those that tasks
/// wait on.
const RUNTIME: [&str; 17] = [
    "futures_core",
    "futures_task",
    "futures_util::future::either",
    "futures_util::future::future",
    "futures_util::future::poll_fn",
    "futures_util::future::try_future",
    "futures_util::stream::stream::StreamExt",
    "futures_util::stream::try_stream::TryStreamExt",
    "tokio::future",
    "tokio::loom",
    "tokio::macros",
    "tokio::park",
    "tokio::runtime",
    "tokio::task",
    "tokio::trace",
    "tokio::util",
    "tokio_util::task::task_tracker::TrackedFuture",
];

/// The functions of C and Rust that start a thread or the process, or catch a panic.
fn is_plumbing(name: &Name) -> bool {
    is_thread_start(name) || (name.is_c && name.shown == "__rust_try")
}

fn is_thread_start(name: &Name) -> bool {
    const C: [&str; 12] = [
        "_pthread_start",
        "_start",
        "__clone3",
        "__libc_start_call_main",
        "__libc_start_main",
        "__libc_start_main_impl",
        "clone",
        "clone3",
        "main",
        "start",
        "start_thread",
        "thread_start",
    ];
    (name.is_c && C.contains(&name.shown.as_str()))
        || name.place.below("std::rt").is_some()
        || is_short_backtrace(name)
        || name.place.below("std::sys::thread").is_some()
}

/// Std's mark between what a thread runs and what runs it, of which libtest has one of its own
/// (`library/test/src/lib.rs`). std's backtraces end here too.
fn is_short_backtrace(name: &Name) -> bool {
    name.place.path.ends_with("::__rust_begin_short_backtrace")
}

/// The frame to show of a stack that holds nothing but libraries: the outermost function of the
/// primitive that is waited on; else, in the runtime, the innermost one.
fn most_telling(names: &[Name], root: usize) -> Option<usize> {
    names[..root]
        .iter()
        .rposition(|name| {
            !name.shown.is_empty() && !is_always_hidden(name) && !is_wiring(&name.place)
        })
        .or_else(|| {
            names
                .iter()
                .position(|name| name.place.krate() == "tokio" && !is_wiring(&name.place))
        })
        .or_else(|| names.iter().position(|name| !name.shown.is_empty()))
}

/// What stands between every waker and what waits on it.
fn is_wiring(place: &Place) -> bool {
    [
        "tokio::runtime::task::waker",
        "tokio::sync::task",
        "tokio::util",
        "tokio::loom",
    ]
    .iter()
    .any(|module| place.below(module).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str) -> Name {
        let mut name = Name::of_future(path.to_owned());
        name.place = Place::of_shown(path);
        name
    }

    #[test]
    fn what_runs_a_thread_or_a_test_is_hidden() {
        let names = [
            "tokio::task::spawn::spawn",
            "shop::tests::it_works",
            "core::ops::function::FnOnce::call_once",
            "test::__rust_begin_short_backtrace",
            "test::run_test_in_process",
            "test::run_test::{closure}",
            "std::sys::backtrace::__rust_begin_short_backtrace",
            "std::thread::lifecycle::spawn_unchecked",
        ];
        let visible = hidden(&names.map(named)).into_iter().map(|hidden| !hidden);
        let visible: Vec<_> = names
            .iter()
            .zip(visible)
            .filter(|(_, shown)| *shown)
            .collect();
        assert_eq!(visible, [(&"shop::tests::it_works", true)]);
        let body = "shop::tests::it_works::{async block}";
        let run = "taskleak::guard::test::run";
        let names = ["tokio::spawn", body, run, "shop::tests::it_works"];
        assert_eq!(hidden(&names.map(named)), [true, false, true, true]);
        // A crate of that name may be the program's.
        assert_eq!(hidden(&[named("test::worker")]), [false]);
    }
}
