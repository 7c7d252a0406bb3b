//! Known noise: tasks that libraries keep for their own sake, so that tests forgive them out of the
//! box.
//!
//! The rules:
//! 1. Each [`Noise`] cites its cause, and knows its tasks by the library's function that spawned
//!    them, never by a crate alone: what the program spawns by way of a library is the program's.
//! 2. Whoever waits for the library's answer is not forgiven. A request that never ends shows as
//!    the task that awaits it.
//! 3. A task that nothing can wake is never noise.
//!
//! What is no task, so that nothing here is for it:
//! - tokio's signal and process drivers: a runtime turns them while it parks
//!   (tokio 1.54, `src/runtime/signal/mod.rs`, `src/runtime/process.rs`), Windows calls back on
//!   threads of its own. A task that awaits `ctrl_c()` or a child is the program's.
//! - tracing-appender's worker: a thread (0.2.5, `src/worker.rs`).
//! - opentelemetry_sdk's batch processors and periodic reader by default: threads (0.31,
//!   `src/trace/span_processor.rs`). Those on an async runtime are tasks, and below.
//!
//! What can't be told: tracing-loki's `BackgroundTask`. The program spawns it, and it polls under a
//! `NoSubscriber` (0.2.7, `src/lib.rs`), so that none of its wakers is seen: allow it by where it
//! is spawned. A server's task and its connections are none: whoever started it can stop it.

use std::fmt;

use crate::frames::visible;
use crate::name::{Place, module_of};
use crate::snapshot::{Frame, Group, Kind, Wait};

/// Tasks that a library keeps for its own sake.
#[derive(Debug)]
pub struct Noise {
    /// What they are: `hyper-util's idle connections`.
    pub name: &'static str,
    /// The library, its version, where in its source they come from, and why they stay.
    pub cause: &'static str,
    is_it: fn(&Group) -> bool,
}

/// As [`Group::allowed`] has it: `known noise: hyper-util's idle connections`.
impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "known noise: {}", self.name)
    }
}

/// What noise the tasks of this group are, if they are.
pub fn known(group: &Group) -> Option<&'static Noise> {
    if group.wait.contains(&Wait::Nothing) {
        return None;
    }
    NOISES.iter().find(|noise| (noise.is_it)(group))
}

static NOISES: [Noise; 8] = [
    Noise {
        name: "hyper-util's idle connections",
        cause: "hyper-util 0.1.21, src/client/legacy/client.rs, `connect_to`: the task of a \
                connection lives while a client, reqwest's too, keeps it in its pool",
        is_it: is_idle_connection,
    },
    Noise {
        name: "hyper-util's HTTP/2 connections",
        cause: "hyper 1.12, src/proto/h2/client.rs, `handshake`: a connection's second task, which \
                does its I/O for as long as the first one lives",
        is_it: is_http2_driver,
    },
    Noise {
        name: "hyper-util's pool reaper",
        cause: "hyper-util 0.1.21, src/client/legacy/pool.rs, `spawn_idle_interval`: closes idle \
                connections, and lives until the client is dropped",
        is_it: is_pool_reaper,
    },
    Noise {
        name: "hyper-util's name look-ups",
        cause: "hyper-util 0.1.21, src/client/legacy/connect/dns.rs: `getaddrinfo` on the blocking \
                pool, which can't be cancelled",
        is_it: |group| is_blocking_in(group, "hyper_util::client::legacy::connect::dns"),
    },
    Noise {
        name: "tokio's name look-ups",
        cause: "tokio 1.54, src/net/addr.rs: `getaddrinfo` on the blocking pool, which can't be \
                cancelled",
        is_it: |group| is_blocking_in(group, "tokio::net::addr"),
    },
    Noise {
        name: "tokio's standard input and output",
        cause: "tokio 1.54, src/io/blocking.rs: a read of stdin on the blocking pool, which can't \
                be cancelled, or a write to stdout or stderr",
        is_it: |group| is_blocking_in(group, "tokio::io::blocking"),
    },
    Noise {
        name: "tokio's file operations",
        cause: "tokio 1.54, src/fs: system calls on the blocking pool, which can't be cancelled",
        is_it: |group| is_blocking_in(group, "tokio::fs"),
    },
    Noise {
        name: "opentelemetry_sdk's background tasks",
        cause: "opentelemetry_sdk 0.31, src/trace/span_processor_with_async_runtime.rs and its \
                like: batch processors and readers live until their provider is shut down",
        is_it: is_opentelemetry,
    },
];

/// HTTP/1: the one task of a connection. HTTP/2: the first of two.
///
/// It waits for requests. While one is under way it waits for whoever awaits the response to give
/// up instead (`poll_canceled`), in HTTP/2 another task does. A waker without a stack may be
/// either: it is taken for the first, since who awaits a response or a body shows anyway.
fn is_idle_connection(group: &Group) -> bool {
    const DISPATCH: &str = "hyper::client::dispatch";
    let Some(spawner) = spawner(group).filter(is_of_client) else {
        return false;
    };
    // Other functions of the client spawn too.
    let is_connection = spawner.path.ends_with("::connect_to");
    let may_idle = || is_connection && group.wakers_without_stack > 0;
    !waits_in(group, DISPATCH, "poll_canceled")
        && (waits_in(group, DISPATCH, "poll_recv") || may_idle())
}

/// hyper spawns no other task in the handshake. It is busy when requests are, and they show.
fn is_http2_driver(group: &Group) -> bool {
    let mut places = spawners(group);
    let handshake = places.next();
    let mut outer = places.filter(|place| place.below("hyper::client::conn::http2").is_none());
    handshake.is_some_and(|place| place.below("hyper::proto::h2::client").is_some())
        && outer.next().is_some_and(|place| is_of_client(&place))
}

fn is_pool_reaper(group: &Group) -> bool {
    let is_in_pool = |place: Place| place.below("hyper_util::client::legacy::pool").is_some();
    spawner(group).is_some_and(is_in_pool)
}

fn is_opentelemetry(group: &Group) -> bool {
    let is_in_sdk = |place: Place| place.below("opentelemetry_sdk").is_some();
    spawner(group).is_some_and(is_in_sdk)
}

fn is_of_client(place: &Place) -> bool {
    place.below("hyper_util::client::legacy::client").is_some()
}

/// Closures that a module of a library gave to the blocking pool.
fn is_blocking_in(group: &Group, module: &str) -> bool {
    let file = group.spawned_at.as_ref().map(|at| at.file.as_str());
    let spawned_in = file.and_then(module_of).map(|path| Place {
        path,
        ..Place::default()
    });
    group.kind == Kind::Blocking && spawned_in.is_some_and(|place| place.below(module).is_some())
}

/// The function that spawned them, whatever executor it did it through.
fn spawner(group: &Group) -> Option<Place> {
    spawners(group).next()
}

/// The functions at whose call they were spawned, innermost first, without executors.
fn spawners(group: &Group) -> impl Iterator<Item = Place> {
    const EXECUTORS: [&str; 4] = [
        "hyper::rt::bounds",
        "hyper_util::common::exec",
        "hyper_util::rt",
        "opentelemetry_sdk::runtime",
    ];
    let is_executor = |place: &Place| {
        let mut executors = EXECUTORS.iter();
        executors.any(|module| place.below(module).is_some())
    };
    places(&group.created_by).skip_while(is_executor)
}

/// Whether one of the waits is in this function of a module.
fn waits_in(group: &Group, module: &str, function: &str) -> bool {
    let is_it = |place: Place| {
        let below = place.below(module);
        below.is_some_and(|below| below.rsplit("::").next() == Some(function))
    };
    let mut waits = group.waiting_at.iter();
    waits.any(|stack| places(stack).any(is_it))
}

fn places(stack: &[Frame]) -> impl Iterator<Item = Place> {
    visible(stack).map(|frame| Place::of_shown(&frame.function))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;
    use crate::snapshot::{SourceLocation, Stack, State};

    const REGISTRY: &str = "/home/me/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f";

    /// Leaf first, a function in a line.
    fn stack(functions: &str) -> Stack {
        let lines = functions.lines().map(str::trim);
        let functions = lines.filter(|line| !line.is_empty());
        functions.map(|name| sample::frame(name, 1).0).collect()
    }

    /// As reqwest 0.13.5 on hyper 1.12, hyper-util 0.1.21 and tokio 1.54.1 gave them, but for
    /// hidden frames and what lies between a client's and the program's.
    fn task(waiting_at: &[&str], created_by: &str) -> Group {
        let waiting_at: Vec<Stack> = waiting_at.iter().map(|waits| stack(waits)).collect();
        Group {
            wait: vec![Wait::Other; waiting_at.len()],
            primitives: vec![String::new(); waiting_at.len()],
            waiting_at,
            created_by: stack(created_by),
            ..sample::snapshot().groups.swap_remove(0)
        }
    }

    fn blocking(file: &str, created_by: &str) -> Group {
        Group {
            kind: Kind::Blocking,
            state: State::Blocking,
            wait: Vec::new(),
            spawned_at: Some(SourceLocation {
                file: file.to_owned(),
                line: 1,
                column: 1,
            }),
            ..task(&[], created_by)
        }
    }

    fn check(group: &Group, expected: Option<&str>) {
        let noise = known(group).map(|noise| noise.name);
        assert_eq!(noise, expected, "{group:?}");
    }

    const IN_CONNECT: &str = "
        <hyper_util::rt::tokio::TokioExecutor as hyper::rt::Executor>::execute
        hyper_util::common::exec::Exec::execute
        hyper_util::client::legacy::client::Client::connect_to::{async block}
        <hyper_util::common::lazy::Lazy as core::future::future::Future>::poll
        hyper_util::client::legacy::client::Client::one_connection_for
        <reqwest::async_impl::client::Pending as core::future::future::Future>::poll
        shop::fetch
    ";

    const IDLE: &str = "
        hyper::client::dispatch::Receiver::poll_recv
        <hyper::proto::h1::dispatch::Client as hyper::proto::h1::dispatch::Dispatch>::poll_msg
        hyper::proto::h1::dispatch::Dispatcher::poll_write
        <hyper::client::conn::http1::upgrades::UpgradeableConnection as core::future::future::Future>::poll
    ";

    const READS: &str = "
        <hyper_util::rt::tokio::TokioIo as hyper::rt::io::Read>::poll_read
        <reqwest::connect::sealed::Conn as hyper::rt::io::Read>::poll_read
        hyper::proto::h1::conn::Conn::require_empty_read
        hyper::proto::h1::conn::Conn::poll_read_keep_alive
        <hyper::client::conn::http1::upgrades::UpgradeableConnection as core::future::future::Future>::poll
    ";

    const UNDER_WAY: &str = "
        hyper::client::dispatch::Callback::poll_canceled
        <hyper::proto::h1::dispatch::Client as hyper::proto::h1::dispatch::Dispatch>::poll_msg
        hyper::proto::h1::dispatch::Dispatcher::poll_write
        <hyper::client::conn::http1::upgrades::UpgradeableConnection as core::future::future::Future>::poll
    ";

    const STREAMS: &str = "
        atomic_waker::AtomicWaker::register
        hyper::body::chan::Sender::poll_ready
        hyper::proto::h1::dispatch::Dispatcher::poll_read
        <hyper::client::conn::http1::upgrades::UpgradeableConnection as core::future::future::Future>::poll
    ";

    #[test]
    fn a_connection_is_noise_while_it_is_idle() {
        let idle = Some("hyper-util's idle connections");
        check(&task(&[IDLE, READS], IN_CONNECT), idle);
        // Which of its wakers is gone was a guess.
        check(&task(&[IDLE, STREAMS], IN_CONNECT), idle);
        check(&task(&[READS, UNDER_WAY], IN_CONNECT), None);
        check(&task(&[IDLE, UNDER_WAY], IN_CONNECT), None);
        check(&task(&[READS, STREAMS], IN_CONNECT), None);
        check(&task(&[READS], IN_CONNECT), None);
        check(&task(&[], IN_CONNECT), None);
        // A waker was cloned without a capture.
        let partly = |waiting_at: &[&str]| Group {
            wakers_without_stack: 1,
            ..task(waiting_at, IN_CONNECT)
        };
        check(&partly(&[IDLE]), idle);
        check(&partly(&[READS]), idle);
        check(&partly(&[]), idle);
        check(&partly(&[UNDER_WAY]), None);
        // Of a connection that the program made itself, it has the end in hand.
        check(&task(&[IDLE, READS], "shop::fetch\nshop::main"), None);
    }

    #[test]
    fn who_waits_for_a_connection_or_a_response_is_none() {
        let responds = "
            hyper::client::conn::http1::SendRequest::try_send_request::{async block}
            <hyper_util::client::legacy::client::ResponseFuture as core::future::future::Future>::poll
            shop::fetch
        ";
        check(&task(&[responds], "shop::main"), None);
        // hyper-util spawns it while a body is streamed.
        let until_idle = "
            want::Giver::poll_want
            hyper::client::dispatch::Sender::poll_ready
            hyper::client::conn::http1::SendRequest::poll_ready
            hyper_util::client::legacy::client::PoolClient::poll_ready
        ";
        let in_response = "
            <hyper_util::rt::tokio::TokioExecutor as hyper::rt::Executor>::execute
            hyper_util::common::exec::Exec::execute
            hyper_util::client::legacy::client::Client::try_send_request
            hyper_util::client::legacy::client::Client::send_request
            <hyper_util::client::legacy::client::ResponseFuture as core::future::future::Future>::poll
            shop::fetch
        ";
        check(&task(&[until_idle], in_response), None);
        let unknown = Group {
            wakers_without_stack: 1,
            ..task(&[], in_response)
        };
        check(&unknown, None);
        // A connector of the program's own, which is called in there.
        let in_connector = "
            shop::Connector::call
            hyper_util::client::legacy::client::Client::connect_to::{async block}
        ";
        check(&task(&[IDLE], in_connector), None);
        let by_executor = "
            <hyper_util::rt::tokio::TokioExecutor as hyper::rt::Executor>::execute
            shop::main
        ";
        check(&task(&[IDLE], by_executor), None);
    }

    #[test]
    fn both_tasks_of_an_http2_connection_are_noise() {
        let first = "
            hyper::client::dispatch::Receiver::poll_recv
            <hyper::proto::h2::client::ClientTask as core::future::future::Future>::poll
            <hyper::client::conn::http2::Connection as core::future::future::Future>::poll
        ";
        let at_end = "
            <hyper::proto::h2::client::ClientTask as core::future::future::Future>::poll
            <hyper::client::conn::http2::Connection as core::future::future::Future>::poll
        ";
        let idle = Some("hyper-util's idle connections");
        check(&task(&[at_end, first], IN_CONNECT), idle);

        let second = "
            <h2::client::Connection as core::future::future::Future>::poll
            <hyper::proto::h2::client::ConnTask as core::future::future::Future>::poll
            <hyper::proto::h2::client::H2ClientFuture as core::future::future::Future>::poll
        ";
        let handshake = "
            <hyper_util::rt::tokio::TokioExecutor as hyper::rt::Executor>::execute
            hyper_util::common::exec::Exec::execute
            <E as hyper::rt::bounds::h2_client::Http2ClientConnExec>::execute_h2_future
            hyper::proto::h2::client::handshake
            hyper::client::conn::http2::Builder::handshake::{async block}
        ";
        let by_pool = format!(
            "{handshake}{}",
            &IN_CONNECT[IN_CONNECT.find("hyper_util::client").unwrap()..]
        );
        check(
            &task(&[second], &by_pool),
            Some("hyper-util's HTTP/2 connections"),
        );
        check(&task(&[second], &format!("{handshake}shop::main")), None);

        // The task of a request that is under way.
        let request = "
            h2::proto::streams::recv::Recv::poll_response
            <hyper::client::dispatch::SendWhen as core::future::future::Future>::poll
            <hyper::proto::h2::client::H2ClientFuture as core::future::future::Future>::poll
        ";
        let in_first = "
            <hyper_util::rt::tokio::TokioExecutor as hyper::rt::Executor>::execute
            <E as hyper::rt::bounds::h2_client::Http2ClientConnExec>::execute_h2_future
            hyper::proto::h2::client::ClientTask::poll_pipe
            <hyper::proto::h2::client::ClientTask as core::future::future::Future>::poll
            <hyper::client::conn::http2::Connection as core::future::future::Future>::poll
        ";
        check(&task(&[request], in_first), None);
    }

    #[test]
    fn the_reaper_of_a_pool_is_noise() {
        let waits = "hyper_util::client::legacy::pool::IdleTask::run";
        let created = "
            <hyper_util::rt::tokio::TokioExecutor as hyper::rt::Executor>::execute
            hyper_util::common::exec::Exec::execute
            <hyper_util::common::exec::Exec as hyper::rt::Executor>::execute
            hyper_util::common::exec::Exec::execute
            hyper_util::client::legacy::pool::PoolInner::spawn_idle_interval
            hyper_util::client::legacy::pool::PoolInner::put
            hyper_util::client::legacy::pool::Pool::pooled
            hyper_util::client::legacy::client::Client::connect_to::{async block}
        ";
        check(
            &task(&[waits, waits], created),
            Some("hyper-util's pool reaper"),
        );
    }

    /// axum 0.8.9
    #[test]
    fn a_server_and_its_connections_are_none() {
        let serves = "
            axum::serve::Serve::run
            <axum::serve::private::ServeFuture as core::future::future::Future>::poll
            shop::serve::{async block}
        ";
        check(&task(&[serves], "shop::serve\nshop::main"), None);
        let keeps_alive = "
            <hyper_util::rt::tokio::TokioIo as hyper::rt::io::Read>::poll_read
            hyper::proto::h1::conn::Conn::poll_read_keep_alive
            <hyper::server::conn::http1::UpgradeableConnection as core::future::future::Future>::poll
            <hyper_util::server::conn::auto::UpgradeableConnection as core::future::future::Future>::poll
            axum::serve::handle_connection::{async block}
        ";
        let accepts = "
            axum::serve::handle_connection
            axum::serve::Serve::run
        ";
        check(&task(&[keeps_alive], accepts), None);
    }

    #[test]
    fn calls_on_the_blocking_pool_are_noise_if_a_library_makes_them() {
        let at = |file: &str| blocking(&format!("{REGISTRY}/{file}"), "shop::read\nshop::main");
        check(
            &at("tokio-1.54.1/src/fs/mod.rs"),
            Some("tokio's file operations"),
        );
        check(
            &at("tokio-1.54.1/src/fs/file.rs"),
            Some("tokio's file operations"),
        );
        check(
            &at("tokio-1.54.1/src/io/blocking.rs"),
            Some("tokio's standard input and output"),
        );
        check(
            &at("tokio-1.54.1/src/net/addr.rs"),
            Some("tokio's name look-ups"),
        );
        let of_hyper = "hyper-util-0.1.21/src/client/legacy/connect/dns.rs";
        check(&at(of_hyper), Some("hyper-util's name look-ups"));
        // Of a checkout of theirs.
        let vendored = "/srv/shop/vendor/tokio/src/fs/mod.rs";
        check(
            &blocking(vendored, "shop::read"),
            Some("tokio's file operations"),
        );
        check(&at("tokio-1.54.1/src/fsync.rs"), None);
        check(&at("tokio-rusqlite-0.7.0/src/fs/mod.rs"), None);
        check(&blocking("src/fs/mod.rs", "shop::read"), None);
        check(&blocking("src/main.rs", "shop::read"), None);
        let waits = Group {
            kind: Kind::Task,
            ..at("tokio-1.54.1/src/fs/mod.rs")
        };
        check(&waits, None);
    }

    #[test]
    fn exporters_are_noise_and_what_the_program_runs_beside_them_is_none() {
        let waits = "
            opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessorInternal::run
            opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor::new::{async block}
        ";
        let spawns = |by: &str| {
            let runtime =
                "<opentelemetry_sdk::runtime::Tokio as opentelemetry_sdk::runtime::Runtime>::spawn";
            task(&[waits], &format!("{runtime}\n{by}\nshop::main"))
        };
        let background = Some("opentelemetry_sdk's background tasks");
        let sdk = "opentelemetry_sdk::";
        for by in [
            "trace::span_processor_with_async_runtime::BatchSpanProcessor::new",
            "metrics::periodic_reader_with_async_runtime::PeriodicReaderBuilder::build::{closure}",
            "logs::log_processor_with_async_runtime::BatchLogProcessor::new",
        ] {
            check(&spawns(&format!("{sdk}{by}")), background);
        }
        check(&spawns("shop::export"), None);
    }

    #[test]
    fn what_nothing_can_wake_is_never_noise() {
        let lost = Group {
            wait: vec![Wait::Nothing],
            ..task(&[IDLE], IN_CONNECT)
        };
        check(&lost, None);
    }

    #[test]
    fn noise_says_what_it_is() {
        for group in sample::snapshot().groups {
            check(&group, None);
        }
        let noise = known(&task(&[IDLE], IN_CONNECT)).unwrap();
        assert_eq!(
            noise.to_string(),
            "known noise: hyper-util's idle connections"
        );
        for noise in &NOISES {
            assert!(
                noise.cause.contains("src/") && noise.cause.contains(|c: char| c.is_ascii_digit())
            );
        }
    }
}
