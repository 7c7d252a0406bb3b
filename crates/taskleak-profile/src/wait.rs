//! What a task waits for, read off the frames between the clone of its waker and its own code.
//!
//! Rules:
//! 1. The frames are read from the leaf, and only as far as they belong to libraries: the first
//!    frame of anybody else's ends the reading.
//! 2. The first rule of [`RULES`] that fits a frame decides.
//! 3. A frame further out changes that only if its rule says that its primitive is built on the
//!    one found ([`Rule::over`]): `Mutex::lock` waits on a semaphore, and is still a mutex.
//! 4. A function whose path is unknown (`debug = "line-tables-only"`) is known by its file and its
//!    own name. A body has none: it can only make exact what was found before.

use crate::hide::{is_leaf_side, is_task_root};
use crate::name::{Name, Place};
use crate::snapshot::Wait;

/// What the task waits for whose waker was cloned at the leaf of this stack, and the primitive.
pub(crate) fn classify(names: &[Name]) -> (Wait, &'static str) {
    let mut found: Option<&Rule> = None;
    let of_libraries = names
        .iter()
        .take_while(|name| is_leaf_side(name) && !is_task_root(&name.place));
    for place in of_libraries.flat_map(|name| std::iter::once(&name.place).chain(&name.polled)) {
        if let Some(rule) = RULES.iter().find(|rule| rule.fits(place, found)) {
            found = Some(rule);
        }
    }
    found.map_or((Wait::Other, ""), |rule| (rule.wait, rule.primitive))
}

/// One way to know a wait by a function.
#[derive(Debug)]
struct Rule {
    /// The module that the function is in, or one below it.
    module: &'static str,
    /// Its type; empty for any and for none.
    types: &'static [&'static str],
    /// Its name; empty for any.
    functions: &'static [&'static str],
    /// The primitives that this one is built on.
    over: &'static [&'static str],
    wait: Wait,
    primitive: &'static str,
}

impl Rule {
    fn fits(&self, place: &Place, found: Option<&Rule>) -> bool {
        let is_over = found.is_some_and(|found| self.over.contains(&found.primitive));
        let Some(below) = place.below(self.module) else {
            return false;
        };
        if found.is_some() && !is_over {
            return false;
        }
        let is_module_alone = self.types.is_empty() && self.functions.is_empty();
        if is_module_alone {
            return is_over || self.over.is_empty();
        }
        let (before, function) = below.rsplit_once("::").unwrap_or(("", below));
        let own_type = before.rsplit("::").next().unwrap_or_default();
        let fits_type = self.types.is_empty() || place.from_file || self.types.contains(&own_type);
        // A file tells no type, and of a body no function either.
        let fits_function = match self.functions {
            [] => is_over || !place.from_file,
            _ if function.is_empty() => is_over,
            names => names.contains(&function),
        };
        fits_type && fits_function
    }
}

/// A function that waits by itself.
const fn at(
    module: &'static str,
    types: &'static [&'static str],
    functions: &'static [&'static str],
    wait: Wait,
    primitive: &'static str,
) -> Rule {
    Rule {
        module,
        types,
        functions,
        over: &[],
        wait,
        primitive,
    }
}

/// A function that waits through another primitive.
const fn over(
    inner: &'static [&'static str],
    module: &'static str,
    types: &'static [&'static str],
    functions: &'static [&'static str],
    wait: Wait,
    primitive: &'static str,
) -> Rule {
    Rule {
        module,
        types,
        functions,
        over: inner,
        wait,
        primitive,
    }
}

// Primitives that others are built on.
const SEMAPHORE: &str = "tokio::sync::Semaphore";
const NOTIFY: &str = "tokio::sync::Notify";
const WATCH: &str = "tokio::sync::watch";
const ONESHOT: &str = "tokio::sync::oneshot";
const JOIN_HANDLE: &str = "tokio::task::JoinHandle";
const JOIN_SET: &str = "tokio::task::JoinSet";
const SLEEP: &str = "tokio::time::Sleep";
const IO: &str = "tokio::io";
const SIMPLEX: &str = "tokio::io::simplex";
const EVENT: &str = "event_listener::Event";
const UNORDERED: &str = "futures::stream::FuturesUnordered";
const ORDERED: &str = "futures::stream::FuturesOrdered";

const ANY: &[&str] = &[];

/// Every wait that is known, in groups that don't meet in one stack; within a group the order
/// counts where two rules fit one function.
#[rustfmt::skip]
static RULES: &[Rule] = &[
    // tokio::sync, the two that the rest is built on (`tokio/src/sync/{batch_semaphore,notify}.rs`)
    at("tokio::sync::batch_semaphore", ANY, ANY, Wait::Semaphore, SEMAPHORE),
    at("tokio::sync::notify", ANY, ANY, Wait::Notify, NOTIFY),
    over(&[SEMAPHORE], "tokio::sync::mutex", ANY, ANY, Wait::MutexLock, "tokio::sync::Mutex"),
    over(&[SEMAPHORE], "tokio::sync::rwlock", ANY, &["read", "read_owned"], Wait::RwLockRead, "tokio::sync::RwLock"),
    over(&[SEMAPHORE], "tokio::sync::rwlock", ANY, &["write", "write_owned"], Wait::RwLockWrite, "tokio::sync::RwLock"),
    over(&[SEMAPHORE], "tokio::sync::once_cell", ANY, ANY, Wait::Semaphore, "tokio::sync::OnceCell"),
    over(&[NOTIFY], "tokio::sync::set_once", ANY, ANY, Wait::Notify, "tokio::sync::SetOnce"),
    over(&[NOTIFY, WATCH], "tokio::sync::barrier", ANY, ANY, Wait::Barrier, "tokio::sync::Barrier"),
    over(&[NOTIFY], "tokio_util::sync::cancellation_token", &["WaitForCancellationFuture", "WaitForCancellationFutureOwned"], &["poll"], Wait::Notify, "tokio_util::sync::CancellationToken"),
    over(&[NOTIFY], "tokio_util::task::task_tracker", &["TaskTrackerWaitFuture", "TaskTracker"], &["poll", "wait"], Wait::Notify, "tokio_util::task::TaskTracker"),

    // tokio::sync, channels
    at("tokio::sync::mpsc::chan", &["Rx"], &["recv", "recv_many"], Wait::ChanReceive, "tokio::sync::mpsc"),
    at("tokio::sync::mpsc", &["Receiver", "UnboundedReceiver"], &["recv", "recv_many", "poll_recv", "poll_recv_many"], Wait::ChanReceive, "tokio::sync::mpsc"),
    over(&[NOTIFY], "tokio::sync::mpsc", ANY, &["closed"], Wait::Notify, "tokio::sync::mpsc"),
    over(&[SEMAPHORE], "tokio::sync::mpsc::bounded", &["Sender"], &["send", "send_timeout", "reserve", "reserve_inner", "reserve_many", "reserve_owned"], Wait::ChanSend, "tokio::sync::mpsc"),
    over(&[SEMAPHORE], "tokio_util::sync::mpsc", ANY, ANY, Wait::ChanSend, "tokio::sync::mpsc"),
    at("tokio::sync::oneshot", &["Receiver", "Inner"], &["poll", "poll_recv"], Wait::ChanReceive, ONESHOT),
    at("tokio::sync::oneshot", &["Sender"], &["closed", "poll_closed"], Wait::Notify, ONESHOT),
    at("tokio::sync::broadcast", &["Receiver", "Recv"], &["recv", "recv_ref", "poll"], Wait::ChanReceive, "tokio::sync::broadcast"),
    over(&[NOTIFY], "tokio::sync::broadcast", ANY, &["closed"], Wait::Notify, "tokio::sync::broadcast"),
    over(&[NOTIFY], WATCH, ANY, &["changed", "changed_impl", "wait_for", "wait_for_inner"], Wait::ChanReceive, WATCH),
    over(&[NOTIFY], WATCH, ANY, &["closed"], Wait::Notify, WATCH),

    // Other tasks
    at("tokio::runtime::task::join", ANY, ANY, Wait::Join, JOIN_HANDLE),
    at("tokio::runtime::task", ANY, &["can_read_output", "try_read_output"], Wait::Join, JOIN_HANDLE),
    at("tokio::task::join_set", ANY, ANY, Wait::Join, JOIN_SET),
    at("tokio::util::idle_notified_set", ANY, ANY, Wait::Join, JOIN_SET),
    over(&[JOIN_SET], "tokio_util::task::join_map", ANY, ANY, Wait::Join, "tokio_util::task::JoinMap"),
    over(&[JOIN_HANDLE], "tokio_util::task::join_queue", ANY, ANY, Wait::Join, "tokio_util::task::JoinQueue"),
    // A closure on the blocking pool, which a JoinHandle is waited for.
    over(&[JOIN_HANDLE], "tokio::fs", ANY, ANY, Wait::Io, "tokio::fs"),
    over(&[JOIN_HANDLE], "tokio::io::blocking", ANY, ANY, Wait::Io, "tokio::io::stdio"),
    over(&[JOIN_HANDLE], "tokio::net", ANY, ANY, Wait::Io, "tokio::net::lookup_host"),

    // Time
    at("tokio::time::sleep", ANY, ANY, Wait::Sleep, SLEEP),
    at("tokio::runtime::time", ANY, ANY, Wait::Sleep, SLEEP),
    at("tokio::runtime::Timer", ANY, ANY, Wait::Sleep, SLEEP),
    over(&[SLEEP], "tokio::time::interval", ANY, ANY, Wait::Sleep, "tokio::time::Interval"),
    over(&[SLEEP], "tokio::time::timeout", ANY, ANY, Wait::Sleep, "tokio::time::Timeout"),
    over(&[SLEEP], "tokio_stream::stream_ext::timeout", ANY, ANY, Wait::Sleep, "tokio_stream::Timeout"),
    over(&[SLEEP], "tokio_util::time::delay_queue", &["DelayQueue"], &["poll_expired", "poll_idx", "poll_next"], Wait::Sleep, "tokio_util::time::DelayQueue"),

    // Input and output
    at("tokio::runtime::io", ANY, ANY, Wait::Io, IO),
    over(&[IO], "tokio::net::tcp::listener", ANY, ANY, Wait::Io, "tokio::net::TcpListener"),
    over(&[IO], "tokio::net::tcp", ANY, ANY, Wait::Io, "tokio::net::TcpStream"),
    over(&[IO], "tokio::net::udp", ANY, ANY, Wait::Io, "tokio::net::UdpSocket"),
    over(&[IO], "tokio::net::unix::listener", ANY, ANY, Wait::Io, "tokio::net::UnixListener"),
    over(&[IO], "tokio::net::unix::datagram", ANY, ANY, Wait::Io, "tokio::net::UnixDatagram"),
    over(&[IO], "tokio::net::unix::pipe", ANY, ANY, Wait::Io, "tokio::net::unix::pipe"),
    over(&[IO], "tokio::net::unix", ANY, ANY, Wait::Io, "tokio::net::UnixStream"),
    over(&[IO], "tokio::io::async_fd", ANY, ANY, Wait::Io, "tokio::io::unix::AsyncFd"),
    over(&[IO], "tokio::process", ANY, ANY, Wait::Io, "tokio::process"),
    over(&[NOTIFY, WATCH], "tokio::signal", ANY, ANY, Wait::Io, "tokio::signal"),
    // Before Linux 5.3, and where a pidfd can't be had, a child is awaited by SIGCHLD.
    over(&["tokio::signal"], "tokio::process", ANY, ANY, Wait::Io, "tokio::process"),
    at("tokio::io::util::mem", &["SimplexStream"], &["poll_read_internal", "poll_read_deferred", "poll_write_internal", "poll_write_deferred", "poll_read", "poll_write"], Wait::Io, SIMPLEX),
    over(&[SIMPLEX], "tokio::io::util::mem", &["DuplexStream"], ANY, Wait::Io, "tokio::io::duplex"),

    // tokio's executors inside a task, and its own yields
    at("tokio::task::local", &["LocalSet", "RunUntil"], &["poll", "tick"], Wait::SubExecutor, "tokio::task::LocalSet"),
    at("tokio::task::yield_now", ANY, ANY, Wait::Other, "tokio::task::yield_now"),
    at("tokio::task::coop", ANY, &["poll_proceed", "poll_budget_available"], Wait::Other, "tokio::task::coop"),

    // futures
    at("futures_channel::mpsc", &["Receiver", "UnboundedReceiver"], &["poll_next"], Wait::ChanReceive, "futures::channel::mpsc"),
    at("futures_channel::mpsc", &["BoundedSenderInner", "Sender", "UnboundedSender"], &["poll_unparked", "poll_ready", "poll_flush", "poll_close"], Wait::ChanSend, "futures::channel::mpsc"),
    at("futures_channel::oneshot", &["Inner", "Receiver"], &["recv", "poll"], Wait::ChanReceive, "futures::channel::oneshot"),
    at("futures_channel::oneshot", &["Inner", "Sender", "Cancellation"], &["poll_canceled", "poll"], Wait::Notify, "futures::channel::oneshot"),
    at("futures_util::lock::mutex", ANY, ANY, Wait::MutexLock, "futures::lock::Mutex"),
    at("futures_util::lock::bilock", ANY, ANY, Wait::MutexLock, "futures::lock::BiLock"),
    at("futures_util::abortable", ANY, ANY, Wait::Other, "futures::future::Abortable"),
    at("futures_util::stream::futures_unordered", ANY, ANY, Wait::SubExecutor, UNORDERED),
    over(&[UNORDERED], "futures_util::stream::futures_ordered", ANY, ANY, Wait::SubExecutor, ORDERED),
    over(&[UNORDERED, ORDERED], "futures_util::future::join_all", ANY, ANY, Wait::SubExecutor, "futures::future::JoinAll"),
    over(&[UNORDERED, ORDERED], "futures_util::future::try_join_all", ANY, ANY, Wait::SubExecutor, "futures::future::TryJoinAll"),
    over(&[UNORDERED, ORDERED], "futures_util::stream::stream::buffered", ANY, ANY, Wait::SubExecutor, "futures::stream::Buffered"),
    over(&[UNORDERED, ORDERED], "futures_util::stream::stream::buffer_unordered", ANY, ANY, Wait::SubExecutor, "futures::stream::BufferUnordered"),
    over(&[UNORDERED, ORDERED], "futures_util::stream::stream::for_each_concurrent", ANY, ANY, Wait::SubExecutor, "futures::stream::ForEachConcurrent"),
    over(&[UNORDERED, ORDERED], "futures_util::stream::try_stream::try_for_each_concurrent", ANY, ANY, Wait::SubExecutor, "futures::stream::TryForEachConcurrent"),
    over(&[UNORDERED, ORDERED], "futures_util::stream::try_stream::try_buffered", ANY, ANY, Wait::SubExecutor, "futures::stream::TryBuffered"),
    over(&[UNORDERED, ORDERED], "futures_util::stream::try_stream::try_buffer_unordered", ANY, ANY, Wait::SubExecutor, "futures::stream::TryBufferUnordered"),
    over(&[UNORDERED], "futures_util::stream::select_all", ANY, ANY, Wait::SubExecutor, "futures::stream::SelectAll"),
    at("futures_util::stream::stream::flatten_unordered", ANY, ANY, Wait::SubExecutor, "futures::stream::FlattenUnordered"),
    at("futures_util::future::future::shared", ANY, ANY, Wait::SubExecutor, "futures::future::Shared"),

    // flume
    at("flume", &["RecvFut", "RecvStream", "Shared"], &["recv", "poll_inner", "poll_next"], Wait::ChanReceive, "flume"),
    at("flume", &["SendFut", "SendSink", "Shared"], &["send", "poll", "poll_ready", "poll_flush"], Wait::ChanSend, "flume"),

    // event-listener, and the crates on it
    at("event_listener", ANY, ANY, Wait::Notify, EVENT),
    over(&[EVENT], "async_channel", &["Recv", "RecvInner", "Receiver"], ANY, Wait::ChanReceive, "async_channel"),
    over(&[EVENT], "async_channel", &["Send", "SendInner", "Sender"], ANY, Wait::ChanSend, "async_channel"),
    over(&[EVENT], "async_channel", &["Closed", "ClosedInner"], ANY, Wait::Notify, "async_channel"),
    over(&[EVENT], "async_lock::mutex", ANY, ANY, Wait::MutexLock, "async_lock::Mutex"),
    over(&[EVENT], "async_lock::rwlock", &["RawRead", "Read", "ReadArc", "RawUpgradableRead", "UpgradableRead", "UpgradableReadArc"], ANY, Wait::RwLockRead, "async_lock::RwLock"),
    over(&[EVENT, "async_lock::Mutex"], "async_lock::rwlock", &["RawWrite", "Write", "WriteArc", "RawUpgrade", "Upgrade", "UpgradeArc"], ANY, Wait::RwLockWrite, "async_lock::RwLock"),
    over(&[EVENT], "async_lock::semaphore", ANY, ANY, Wait::Semaphore, "async_lock::Semaphore"),
    over(&[EVENT], "async_lock::barrier", ANY, ANY, Wait::Barrier, "async_lock::Barrier"),
    over(&[EVENT], "async_lock::once_cell", ANY, ANY, Wait::Notify, "async_lock::OnceCell"),
];
