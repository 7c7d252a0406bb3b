//! What becomes of the stacks of a real program, in builds of every kind.
//!
//! `testdata/README.md` says what the stacks are and how they were recorded.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::OnceLock;

use taskleak_profile::raw::{RawFrame, RawSymbol};
use taskleak_profile::resolve::ResolvedStack;
use taskleak_profile::snapshot::Wait;

/// Builds with debug info.
const WITH_DEBUG_INFO: [&str; 4] = ["limited-legacy", "limited-v0", "lines-legacy", "dev-legacy"];
/// Builds without.
const PLAIN: [&str; 2] = ["release-legacy", "release-v0"];

/// Makes a test of each case: what every build says its task waits for, and after that which
/// builds say something else, `plain` being both without debug info.
macro_rules! waits {
    ($( $case:ident: [$($wait:ident $primitive:literal),+]
        $(, $build:ident: [$($other_wait:ident $other_primitive:literal),+])*; )+) => {
        mod waits {
            use super::{Wait, check_case};

            $(
                #[test]
                fn $case() {
                    check_case(
                        stringify!($case),
                        &[$((Wait::$wait, $primitive)),+],
                        &[$((stringify!($build), &[$((Wait::$other_wait, $other_primitive)),+])),*],
                    );
                }
            )+
        }
    };
}

/// A wait and its primitive.
type Known = (Wait, &'static str);

#[rustfmt::skip]
waits! {
    mpsc_recv: [ChanReceive "tokio::sync::mpsc"];
    mpsc_recv_many: [ChanReceive "tokio::sync::mpsc"], release_legacy: [Other ""];
    mpsc_poll_recv: [ChanReceive "tokio::sync::mpsc"];
    mpsc_unbounded_recv: [ChanReceive "tokio::sync::mpsc"];
    mpsc_unbounded_recv_many: [ChanReceive "tokio::sync::mpsc"], release_legacy: [Other ""];
    mpsc_send: [ChanSend "tokio::sync::mpsc"];
    mpsc_send_timeout: [ChanSend "tokio::sync::mpsc", Sleep "tokio::time::Timeout"];
    mpsc_reserve: [ChanSend "tokio::sync::mpsc"];
    mpsc_reserve_many: [ChanSend "tokio::sync::mpsc"];
    mpsc_reserve_owned: [ChanSend "tokio::sync::mpsc"];
    mpsc_closed: [Notify "tokio::sync::mpsc"], plain: [Notify "tokio::sync::Notify"];
    mpsc_unbounded_closed: [Notify "tokio::sync::mpsc"], plain: [Notify "tokio::sync::Notify"];
    poll_sender: [ChanSend "tokio::sync::mpsc"];
    oneshot_recv: [ChanReceive "tokio::sync::oneshot"];
    oneshot_closed: [Notify "tokio::sync::oneshot"], release_legacy: [Other ""];
    broadcast_recv: [ChanReceive "tokio::sync::broadcast"];
    broadcast_closed: [Notify "tokio::sync::broadcast"], plain: [Notify "tokio::sync::Notify"];
    watch_changed: [ChanReceive "tokio::sync::watch"];
    watch_wait_for: [ChanReceive "tokio::sync::watch"];
    watch_closed: [Notify "tokio::sync::watch"], release_legacy: [Notify "tokio::sync::Notify"];
    notify: [Notify "tokio::sync::Notify"];
    notify_owned: [Notify "tokio::sync::Notify"];
    cancelled: [Notify "tokio_util::sync::CancellationToken"];
    cancelled_owned: [Notify "tokio_util::sync::CancellationToken"];
    run_until_cancelled: [ChanReceive "tokio::sync::mpsc", Notify "tokio_util::sync::CancellationToken"];
    task_tracker: [Notify "tokio_util::task::TaskTracker"], plain: [Notify "tokio::sync::Notify"];
    mutex: [MutexLock "tokio::sync::Mutex"];
    mutex_owned: [MutexLock "tokio::sync::Mutex"];
    rwlock_read: [RwLockRead "tokio::sync::RwLock"];
    rwlock_write: [RwLockWrite "tokio::sync::RwLock"];
    rwlock_read_owned: [RwLockRead "tokio::sync::RwLock"];
    rwlock_write_owned: [RwLockWrite "tokio::sync::RwLock"];
    semaphore: [Semaphore "tokio::sync::Semaphore"];
    semaphore_many: [Semaphore "tokio::sync::Semaphore"];
    semaphore_owned: [Semaphore "tokio::sync::Semaphore"];
    semaphore_many_owned: [Semaphore "tokio::sync::Semaphore"];
    poll_semaphore: [Semaphore "tokio::sync::Semaphore"];
    barrier: [Barrier "tokio::sync::Barrier"], release_legacy: [Notify "tokio::sync::Notify"];
    once_cell: [Semaphore "tokio::sync::OnceCell"], plain: [Semaphore "tokio::sync::Semaphore"];
    set_once: [Notify "tokio::sync::SetOnce"], plain: [Notify "tokio::sync::Notify"];
    join_handle: [Join "tokio::task::JoinHandle"];
    join_blocking: [Join "tokio::task::JoinHandle"];
    join_set: [Join "tokio::task::JoinSet"];
    join_set_all: [Join "tokio::task::JoinSet"];
    join_set_shutdown: [Join "tokio::task::JoinSet"];
    join_map: [Join "tokio_util::task::JoinMap"], plain: [Join "tokio::task::JoinSet"];
    join_queue: [Join "tokio_util::task::JoinQueue"];
    abort_on_drop: [Join "tokio::task::JoinHandle"];
    sleep: [Sleep "tokio::time::Sleep"];
    sleep_until: [Sleep "tokio::time::Sleep"];
    interval: [Sleep "tokio::time::Interval"];
    interval_stream: [Sleep "tokio::time::Interval"];
    timeout_recv: [ChanReceive "tokio::sync::mpsc", Sleep "tokio::time::Timeout"];
    delay_queue: [Sleep "tokio_util::time::DelayQueue"], plain: [Other "", Sleep "tokio::time::Sleep"];
    stream_timeout: [Sleep "tokio_stream::Timeout"], plain: [Sleep "tokio::time::Sleep"];
    select: [ChanReceive "tokio::sync::mpsc", Sleep "tokio::time::Sleep"];
    futures_select: [ChanReceive "tokio::sync::oneshot", Sleep "tokio::time::Sleep"];
    tokio_join: [ChanReceive "tokio::sync::mpsc", Notify "tokio::sync::Notify"];
    tcp_accept: [Io "tokio::net::TcpListener"], plain: [Io "tokio::io"];
    tcp_connect: [Io "tokio::net::TcpStream"], plain: [Io "tokio::io"];
    tcp_read: [Io "tokio::net::TcpStream"];
    tcp_read_exact: [Io "tokio::net::TcpStream"];
    tcp_read_buf: [Io "tokio::net::TcpStream"];
    tcp_lines: [Io "tokio::net::TcpStream"];
    tcp_owned_read: [Io "tokio::net::TcpStream"];
    tcp_split_read: [Io "tokio::net::TcpStream"];
    tcp_write: [Io "tokio::net::TcpStream"];
    tcp_readable: [Io "tokio::net::TcpStream"];
    tcp_ready: [Io "tokio::net::TcpStream"];
    tcp_peek: [Io "tokio::net::TcpStream"], plain: [Io "tokio::io"];
    tcp_copy: [Io "tokio::net::TcpStream"];
    tcp_copy_bidirectional: [Io "tokio::net::TcpStream"];
    framed: [Io "tokio::net::TcpStream"];
    udp_recv: [Io "tokio::net::UdpSocket"], plain: [Io "tokio::io"];
    unix_accept: [Io "tokio::net::UnixListener"], plain: [Io "tokio::io"];
    unix_read: [Io "tokio::net::UnixStream"];
    unix_datagram: [Io "tokio::net::UnixDatagram"], plain: [Io "tokio::io"];
    async_fd: [Io "tokio::io::unix::AsyncFd"], plain: [Io "tokio::io"];
    signal: [Io "tokio::signal"];
    ctrl_c: [Io "tokio::signal"];
    child_wait: [Io "tokio::process"];
    child_stdout: [Io "tokio::io"], dev_legacy: [Io "tokio::process"];
    pipe_read: [Io "tokio::io"], dev_legacy: [Io "tokio::net::unix::pipe"];
    fs_read: [Io "tokio::fs"], plain: [Join "tokio::task::JoinHandle"];
    fs_file_read: [Io "tokio::fs"];
    lookup_host: [Io "tokio::net::lookup_host"];
    stdin_read: [Io "tokio::io::stdio"];
    duplex_read: [Io "tokio::io::duplex"];
    duplex_write: [Io "tokio::io::duplex"];
    simplex_read: [Io "tokio::io::simplex"];
    flume_recv: [ChanReceive "flume"];
    flume_stream: [ChanReceive "flume"];
    flume_send: [ChanSend "flume"];
    async_channel_recv: [ChanReceive "async_channel"];
    async_channel_stream: [ChanReceive "async_channel"], plain: [Notify "event_listener::Event"];
    async_channel_send: [ChanSend "async_channel"];
    futures_mpsc_recv: [ChanReceive "futures::channel::mpsc"], plain: [Other ""];
    futures_mpsc_unbounded_recv: [ChanReceive "futures::channel::mpsc"], plain: [Other ""];
    futures_mpsc_send: [ChanSend "futures::channel::mpsc"];
    futures_oneshot: [ChanReceive "futures::channel::oneshot"], plain: [Other ""];
    futures_oneshot_cancel: [Notify "futures::channel::oneshot"], plain: [Other ""];
    futures_mutex: [MutexLock "futures::lock::Mutex"];
    futures_shared: [SubExecutor "futures::future::Shared"];
    futures_abortable: [ChanReceive "tokio::sync::oneshot", Other "futures::future::Abortable"], plain: [ChanReceive "tokio::sync::oneshot", Other ""];
    async_lock_mutex: [MutexLock "async_lock::Mutex"];
    async_lock_rwlock_read: [RwLockRead "async_lock::RwLock"];
    async_lock_rwlock_write: [RwLockWrite "async_lock::RwLock"];
    async_lock_semaphore: [Semaphore "async_lock::Semaphore"];
    async_lock_barrier: [Barrier "async_lock::Barrier"];
    async_lock_once_cell: [Notify "async_lock::OnceCell"], plain: [Notify "event_listener::Event"];
    receiver_stream: [ChanReceive "tokio::sync::mpsc"];
    unbounded_receiver_stream: [ChanReceive "tokio::sync::mpsc"];
    broadcast_stream: [ChanReceive "tokio::sync::broadcast"];
    watch_stream: [ChanReceive "tokio::sync::watch"];
    stream_map: [ChanReceive "tokio::sync::mpsc"];
    futures_unordered: [SubExecutor "futures::stream::FuturesUnordered"];
    futures_ordered: [SubExecutor "futures::stream::FuturesOrdered"], plain: [SubExecutor "futures::stream::FuturesUnordered"];
    join_all_small: [ChanReceive "tokio::sync::oneshot"];
    join_all_big: [SubExecutor "futures::future::JoinAll"];
    try_join_all_big: [SubExecutor "futures::future::TryJoinAll"];
    try_join_all_small: [ChanReceive "tokio::sync::oneshot"];
    buffered: [SubExecutor "futures::stream::Buffered"], plain: [SubExecutor "futures::stream::FuturesOrdered"];
    buffer_unordered: [SubExecutor "futures::stream::BufferUnordered"], plain: [SubExecutor "futures::stream::FuturesUnordered"];
    for_each_concurrent: [SubExecutor "futures::stream::ForEachConcurrent"], plain: [SubExecutor "futures::stream::FuturesUnordered"];
    try_for_each_concurrent: [SubExecutor "futures::stream::TryForEachConcurrent"], plain: [Other ""];
    flatten_unordered: [SubExecutor "futures::stream::FlattenUnordered"];
    select_all_futures: [ChanReceive "tokio::sync::oneshot"];
    select_all_streams: [SubExecutor "futures::stream::SelectAll"], plain: [SubExecutor "futures::stream::FuturesUnordered"];
    yield_loop: [Other "tokio::task::yield_now"], plain: [Other ""];
    hand_written: [ChanReceive "tokio::sync::mpsc"];
    foreign: [Other ""];
    name_async_fn: [ChanReceive "tokio::sync::mpsc"];
    name_async_block: [ChanReceive "tokio::sync::mpsc"];
    name_async_closure: [ChanReceive "tokio::sync::mpsc"];
    name_closure: [ChanReceive "tokio::sync::mpsc"];
    name_async_trait: [ChanReceive "tokio::sync::mpsc"];
    name_trait: [ChanReceive "tokio::sync::mpsc"];
    name_generic: [ChanReceive "tokio::sync::mpsc"], release_legacy: [Other ""];
    name_method: [ChanReceive "tokio::sync::mpsc"], release_legacy: [Other ""];
    name_boxed: [ChanReceive "tokio::sync::mpsc"];
    name_instrumented: [ChanReceive "tokio::sync::mpsc"];
    name_map: [ChanReceive "tokio::sync::oneshot"];
    hyper_server: [Io "tokio::net::TcpStream"];
    hyper_server_h2: [Io "tokio::net::TcpStream"];
    hyper_client: [ChanReceive "tokio::sync::oneshot"];
    reqwest_get: [ChanReceive "futures::channel::oneshot", ChanReceive "tokio::sync::oneshot", Io "tokio::net::TcpStream", Other ""], plain: [ChanReceive "tokio::sync::oneshot", Io "tokio::net::TcpStream", Other ""];
    axum_serve: [Io "tokio::net::TcpListener"];
    split_sink: [Io "tokio::net::TcpStream"];
    try_next: [ChanReceive "futures::channel::mpsc"], plain: [Other ""];
    hyper_client_pool: [ChanReceive "tokio::sync::mpsc", Io "tokio::net::TcpStream", Notify "tokio::sync::oneshot"], plain: [ChanReceive "tokio::sync::mpsc", Io "tokio::net::TcpStream", Other ""];
}

/// The waits of a case in every build; a task that waits on several has several stacks.
fn check_case(case: &str, expected: &[Known], exceptions: &[(&str, &[Known])]) {
    for build in WITH_DEBUG_INFO.iter().chain(&PLAIN) {
        let stacks = stacks(build, &format!("wait {case}"));
        let found: BTreeSet<_> = stacks
            .iter()
            .map(|stack| (stack.wait, stack.primitive.as_str()))
            .collect();
        let exception = exceptions.iter().find(|(name, _)| match *name {
            "plain" => PLAIN.contains(build),
            name => name.replace('_', "-") == *build,
        });
        let expected: BTreeSet<_> = exception
            .map_or(expected, |(_, waits)| waits)
            .iter()
            .copied()
            .collect();
        // Stacks of other libraries are long, and kept of two builds only.
        assert!(
            found.is_empty() || found == expected,
            "{build}: {found:?} is not {expected:?}"
        );
    }
    assert!(!stacks("limited-legacy", &format!("wait {case}")).is_empty());
}

/// Waits that are hard to record: the functions between a waker's clone and the task, leaf first.
fn check(functions: &[&str], wait: Wait, primitive: &str) {
    let frames: Vec<RawFrame> = functions
        .iter()
        .map(|function| frame(vec![symbol(&mangled(function))]))
        .collect();
    let stack = ResolvedStack::new(&frames);
    assert_eq!(
        (stack.wait, stack.primitive.as_str()),
        (wait, primitive),
        "{functions:?}"
    );
}

#[test]
fn waits_of_functions() {
    const EVENT: &str = "event_listener::EventListener<T>::poll";
    const UNORDERED: &str = "<futures_util::stream::futures_unordered::FuturesUnordered<F> as futures_core::stream::Stream>::poll_next";
    check(
        &["<tokio::task::local::LocalSet as core::future::future::Future>::poll"],
        Wait::SubExecutor,
        "tokio::task::LocalSet",
    );
    check(
        &["tokio::task::coop::poll_proceed"],
        Wait::Other,
        "tokio::task::coop",
    );
    check(
        &["futures_util::lock::bilock::BiLock<T>::poll_lock"],
        Wait::MutexLock,
        "futures::lock::BiLock",
    );
    check(
        &[
            EVENT,
            "<async_channel::ClosedInner<T> as event_listener_strategy::EventListenerFuture>::poll_with_strategy",
        ],
        Wait::Notify,
        "async_channel",
    );
    check(
        &[
            EVENT,
            "<async_lock::rwlock::raw::RawUpgrade as event_listener_strategy::EventListenerFuture>::poll_with_strategy",
        ],
        Wait::RwLockWrite,
        "async_lock::RwLock",
    );
    check(
        &[EVENT, "shop::own_event"],
        Wait::Notify,
        "event_listener::Event",
    );
    check(
        &[
            UNORDERED,
            "<futures_util::stream::try_stream::try_buffered::TryBuffered<S> as futures_core::stream::Stream>::poll_next",
        ],
        Wait::SubExecutor,
        "futures::stream::TryBuffered",
    );
    check(
        &[
            UNORDERED,
            "<futures_util::stream::try_stream::try_buffer_unordered::TryBufferUnordered<S> as futures_core::stream::Stream>::poll_next",
        ],
        Wait::SubExecutor,
        "futures::stream::TryBufferUnordered",
    );
    check(
        &[
            "tokio::sync::notify::Notified::poll_notified",
            "tokio::sync::watch::Receiver<T>::changed",
            "tokio::signal::unix::Signal::recv",
            "<tokio::process::imp::reap::Reaper<W> as core::future::future::Future>::poll",
        ],
        Wait::Io,
        "tokio::process",
    );
}

/// The user's frames end the reading: what polls them does not change what they wait for.
#[test]
fn a_users_frame_decides_over_what_polls_it() {
    let sleep = "<tokio::time::sleep::Sleep as core::future::future::Future>::poll";
    check(
        &[sleep, "tokio::fs::asyncify"],
        Wait::Sleep,
        "tokio::time::Sleep",
    );
    check(
        &[
            sleep,
            "shop::nap",
            "tokio::time::interval::Interval::poll_tick",
        ],
        Wait::Sleep,
        "tokio::time::Sleep",
    );
    check(&["shop::nap", sleep], Wait::Other, "");
    check(&[], Wait::Other, "");
}

/// The visible functions of the first stack of a case.
fn check_visible(build: &str, case: &str, expected: &[&str]) {
    let stacks = stacks(build, case);
    assert_eq!(visible(&stacks[0]), expected, "{build}: {case}");
}

#[test]
fn names_with_debug_info() {
    for build in ["limited-legacy", "limited-v0", "dev-legacy"] {
        check_visible(build, "wait mpsc_recv", &["shop::waits::mpsc_recv"]);
        check_visible(build, "wait select", &["shop::waits::select"]);
        check_visible(
            build,
            "wait futures_select",
            &["shop::waits::futures_select"],
        );
        check_visible(build, "wait tokio_join", &["shop::waits::tokio_join"]);
        check_visible(
            build,
            "wait name_async_fn",
            &[
                "shop::cart::pay",
                "shop::cart::checkout",
                "shop::waits::name_async_fn",
            ],
        );
        check_visible(
            build,
            "wait name_async_block",
            &[
                "shop::waits::name_async_block::{async block}",
                "shop::waits::name_async_block",
            ],
        );
        check_visible(
            build,
            "wait name_async_closure",
            &[
                "shop::waits::name_async_closure::{async closure}",
                "shop::waits::name_async_closure",
            ],
        );
        check_visible(
            build,
            "wait foreign",
            &["shop::waits::foreign::{closure}", "shop::waits::foreign"],
        );
        check_visible(
            build,
            "wait name_trait",
            &[
                "<shop::cart::Worker as shop::cart::Plain>::run",
                "shop::waits::name_trait",
            ],
        );
        check_visible(
            build,
            "wait name_generic",
            &["shop::cart::generic", "shop::waits::name_generic"],
        );
        check_visible(
            build,
            "wait name_method",
            &["shop::cart::Cart::fill", "shop::waits::name_method"],
        );
        check_visible(
            build,
            "wait hand_written",
            &[
                "<shop::cart::Hand as core::future::future::Future>::poll",
                "shop::waits::hand_written",
            ],
        );
        check_visible(
            build,
            "wait name_instrumented",
            &[
                "shop::cart::pay",
                "shop::cart::checkout",
                "shop::waits::name_instrumented::{async block}",
                "shop::waits::name_instrumented",
            ],
        );
        check_visible(
            build,
            "spawn spawn_fn",
            &[
                "shop::spawns::from_fn",
                "shop::spawns::run::{async block}",
                "shop::spawns::run",
                "shop::main",
            ],
        );
        check_visible(
            build,
            "spawn spawn_tokio_main",
            &[
                "shop::spawns::multi::{async block}",
                "shop::spawns::multi",
                "shop::spawns::run",
                "shop::main",
            ],
        );
        check_visible(build, "spawn spawn_in_task", &["shop::spawns::in_task"]);
        check_visible(
            build,
            "spawn spawn_async_fn",
            &[
                "shop::spawns::from_async_fn",
                "shop::spawns::multi::{async block}",
            ],
        );
        check_visible(
            build,
            "spawn spawn_thread",
            &["shop::spawns::multi::{closure}"],
        );
        for case in [
            "spawn_join_set",
            "spawn_blocking",
            "spawn_builder",
            "spawn_tracker",
            "spawn_fs",
        ] {
            let case = format!("spawn {case}");
            check_visible(
                build,
                &case,
                &[
                    "shop::spawns::multi::{async block}",
                    "shop::spawns::multi",
                    "shop::spawns::run",
                    "shop::main",
                ],
            );
        }
    }
}

/// Inlined functions have no path: that of a body is known where something generic polls it.
#[test]
fn names_with_line_tables_only() {
    let build = "lines-legacy";
    check_visible(build, "wait mpsc_recv", &["shop::waits::mpsc_recv"]);
    check_visible(build, "wait select", &["shop::waits::select"]);
    check_visible(
        build,
        "wait name_async_fn",
        &[
            "{async fn}",
            "shop::cart::checkout",
            "shop::waits::name_async_fn",
        ],
    );
    check_visible(
        build,
        "wait name_trait",
        &["{async fn}", "shop::waits::name_trait"],
    );
    check_visible(
        build,
        "wait hand_written",
        &["poll", "shop::waits::hand_written"],
    );
    check_visible(
        build,
        "spawn spawn_fn",
        &[
            "from_fn",
            "shop::spawns::run::{async block}",
            "shop::spawns::run",
            "shop::main",
        ],
    );
    check_visible(
        build,
        "spawn spawn_async_fn",
        &["{async fn}", "shop::spawns::multi::{async block}"],
    );
}

/// What was inlined into a library's function is known by that one's type parameters.
#[test]
fn names_without_debug_info_v0() {
    let build = "release-v0";
    check_visible(build, "wait mpsc_recv", &["shop::waits::mpsc_recv"]);
    check_visible(
        build,
        "wait name_async_fn",
        &["shop::cart::checkout", "shop::waits::name_async_fn"],
    );
    check_visible(build, "wait name_map", &["shop::waits::name_map"]);
    check_visible(build, "wait framed", &["shop::waits::framed"]);
    check_visible(
        build,
        "wait select",
        &["shop::waits::select::{closure}", "shop::waits::select"],
    );
    check_visible(
        build,
        "spawn spawn_tokio_main",
        &["shop::spawns::multi", "shop::spawns::run", "shop::main"],
    );
    check_visible(build, "spawn spawn_in_task", &["shop::spawns::in_task"]);
    check_visible(
        build,
        "spawn spawn_thread",
        &["shop::spawns::multi::{closure}"],
    );
}

/// Nothing but the primitive is left of a task whose functions were inlined into tokio's.
#[test]
fn names_without_debug_info_legacy() {
    let build = "release-legacy";
    check_visible(
        build,
        "wait mpsc_recv",
        &["tokio::sync::mpsc::chan::Rx::recv"],
    );
    check_visible(
        build,
        "wait mpsc_send",
        &["tokio::sync::mpsc::bounded::Sender::send"],
    );
    check_visible(build, "wait name_async_fn", &["shop::cart::checkout"]);
    check_visible(
        build,
        "spawn spawn_fn",
        &["shop::spawns::run", "shop::main"],
    );
    check_visible(
        build,
        "spawn spawn_in_task",
        &["tokio::task::spawn::spawn_inner"],
    );
}

#[test]
fn frames_of_other_libraries_are_visible() {
    let stacks = stacks("limited-legacy", "wait hyper_server_h2");
    let visible = visible(&stacks[0]);
    assert!(
        visible.contains(&"<h2::server::Handshake as core::future::future::Future>::poll"),
        "{visible:?}"
    );
    assert_eq!(visible.last(), Some(&"shop::waits::hyper_server_h2"));
}

#[test]
fn every_stack_shows_something_and_no_runtime() {
    for build in WITH_DEBUG_INFO {
        for (case, frames) in recorded(build) {
            let stack = ResolvedStack::new(frames);
            let visible = visible(&stack);
            assert!(!visible.is_empty(), "{build}: {case}");
            let of_runtime = |name: &&str| {
                ["tokio::runtime", "taskleak", "tracing", "std::", "core::"]
                    .iter()
                    .any(|of| name.starts_with(of))
            };
            assert_eq!(
                visible.iter().find(|name| of_runtime(name)),
                None,
                "{build}: {case}"
            );
        }
    }
}

#[test]
fn inlined_functions_share_an_address() {
    let raw = [
        frame(vec![symbol("inner"), symbol("outer")]),
        RawFrame {
            address: 9,
            ..frame(vec![])
        },
    ];
    let frames = ResolvedStack::new(&raw).frames;
    let found: Vec<_> = frames
        .iter()
        .map(|f| (f.function.as_str(), f.address, f.inlined))
        .collect();
    assert_eq!(
        found,
        [("inner", 1, true), ("outer", 1, false), ("", 9, false)]
    );
}

#[test]
fn a_stripped_stack_is_all_visible() {
    let raw: Vec<RawFrame> = (1..4)
        .map(|address| RawFrame {
            address,
            stable: address,
            symbols: vec![],
        })
        .collect();
    let stack = ResolvedStack::new(&raw);
    assert!(
        stack
            .frames
            .iter()
            .all(|frame| !frame.hidden && frame.function.is_empty())
    );
    assert_ne!(stack.identity, ResolvedStack::new(&raw[1..]).identity);
}

#[test]
fn hidden_frames_do_not_change_the_identity() {
    let recv = RawFrame {
        stable: 1,
        ..frame(vec![symbol(&mangled(
            "tokio::sync::mpsc::chan::Rx<T>::recv",
        ))])
    };
    let other_call = RawFrame {
        stable: 2,
        ..recv.clone()
    };
    let user = RawFrame {
        stable: 3,
        ..frame(vec![symbol(&mangled("shop::pay"))])
    };
    let other_user = RawFrame {
        stable: 4,
        ..user.clone()
    };
    let identity = |frames: &[&RawFrame]| {
        ResolvedStack::new(&frames.iter().copied().cloned().collect::<Vec<_>>()).identity
    };
    assert_eq!(identity(&[&recv, &user]), identity(&[&other_call, &user]));
    assert_eq!(identity(&[&recv, &user]), identity(&[&user]));
    assert_ne!(identity(&[&recv, &user]), identity(&[&recv, &other_user]));
}

/// A call that the compiler copied has two addresses and one line.
#[test]
fn a_copied_call_does_not_change_the_identity() {
    let at_line = |stable, line| {
        let symbol = RawSymbol {
            file: Some("src/pay.rs".to_owned()),
            line: Some(line),
            ..symbol(&mangled("shop::pay"))
        };
        ResolvedStack::new(&[RawFrame {
            stable,
            ..frame(vec![symbol])
        }])
        .identity
    };
    assert_eq!(at_line(1, 24), at_line(2, 24));
    assert_ne!(at_line(1, 24), at_line(1, 25));
}

fn visible(stack: &ResolvedStack) -> Vec<&str> {
    stack
        .frames
        .iter()
        .filter(|frame| !frame.hidden)
        .map(|frame| frame.function.as_str())
        .collect()
}

fn frame(symbols: Vec<RawSymbol>) -> RawFrame {
    RawFrame {
        address: 1,
        stable: 1,
        symbols,
    }
}

fn symbol(linkage_name: &str) -> RawSymbol {
    RawSymbol {
        linkage_name: Some(linkage_name.to_owned()),
        ..RawSymbol::default()
    }
}

/// The legacy mangled name of a function that is not nested in a generic one.
fn mangled(function: &str) -> String {
    let (of_type, method) = match function.rsplit_once(">::") {
        Some((of_type, method)) if function.starts_with('<') => {
            (Some(format!("_{of_type}>")), method)
        }
        _ => (None, function),
    };
    let parts = of_type
        .into_iter()
        .chain(method.split("::").map(str::to_owned));
    let encoded = parts.map(|part| {
        let part = part
            .replace("::", "..")
            .replace('<', "$LT$")
            .replace('>', "$GT$")
            .replace(' ', "$u20$");
        format!("{}{part}", part.len())
    });
    format!("_ZN{}17h0123456789abcdefE", encoded.collect::<String>())
}

/// The kind and name of a case (`wait mpsc_recv`), and a stack of it.
type Recorded = (String, Vec<RawFrame>);

/// The stacks of a case in one build.
fn stacks(build: &str, case: &str) -> Vec<ResolvedStack> {
    let of_case = recorded(build).iter().filter(|(name, _)| name == case);
    of_case
        .map(|(_, frames)| ResolvedStack::new(frames))
        .collect()
}

/// Every stack that was recorded of a build, with the kind and name of its case.
fn recorded(build: &str) -> &'static [Recorded] {
    static BUILDS: OnceLock<HashMap<&str, Vec<Recorded>>> = OnceLock::new();
    let builds = BUILDS.get_or_init(|| {
        WITH_DEBUG_INFO
            .iter()
            .chain(&PLAIN)
            .map(|build| (*build, read(build)))
            .collect()
    });
    &builds[build]
}

fn read(build: &str) -> Vec<Recorded> {
    let path = format!(
        "{}/testdata/stacks/{build}.stacks",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    let known = |field: &str| (!field.is_empty()).then(|| field.to_owned());
    let (mut symbols, mut stacks) = (HashMap::new(), Vec::new());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let [number, linkage_name, dwarf_name, file, at] =
            line.split('\t').collect::<Vec<_>>()[..]
        {
            let symbol = RawSymbol {
                linkage_name: known(linkage_name),
                dwarf_name: known(dwarf_name),
                file: known(file),
                line: at.parse().ok(),
            };
            symbols.insert(number, symbol);
            continue;
        }
        let mut words = line.split(' ');
        let case = format!(
            "{} {}",
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default()
        );
        let frames = words.zip(1..).map(|(numbers, address)| {
            let numbers = numbers.split(',').filter(|number| *number != "-");
            let symbols = numbers.map(|number| symbols[number].clone()).collect();
            RawFrame {
                address,
                stable: address,
                symbols,
            }
        });
        stacks.push((case, frames.collect()));
    }
    stacks
}
