//! Other people's servers and clients in one process under load: the tasks that they spawn are
//! listed like any other.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use taskleak::WatchedRuntime;
use taskleak_profile::snapshot::{Group, Snapshot, Wait};
use tokio::net::TcpListener;

use crate::support::{listed, listen, runtime, until};

#[test]
fn tasks_that_libraries_spawn_are_listed() {
    let runtime = runtime("libraries");
    let answered = Arc::new(AtomicU64::new(0));
    for server in [serve_axum(&runtime), serve_hyper(&runtime)] {
        let client = reqwest::Client::new();
        for _ in 0..8 {
            runtime.spawn(ask(client.clone(), server, Arc::clone(&answered)));
        }
    }
    let mut looked = 0;
    let mut unseen = vec![
        // A connection of the client, made in hyper-util for reqwest.
        Seen {
            created_in: &["hyper_util::client::legacy", "reqwest::async_impl::client"],
            wait: Wait::Io,
            waits_in: "hyper::client::conn::http1",
        },
        // What sweeps the client's pool.
        Seen {
            created_in: &["hyper_util::client::legacy::pool"],
            wait: Wait::Sleep,
            waits_in: "hyper_util::client::legacy::pool",
        },
        // A connection of the server, made in axum.
        Seen {
            created_in: &["axum::serve::"],
            wait: Wait::Io,
            waits_in: "hyper::server::conn::http1",
        },
        // A connection of the hyper server, made here.
        Seen {
            created_in: &["service::libraries::accept"],
            wait: Wait::Io,
            waits_in: "hyper::server::conn::http1",
        },
        // Those who ask wait for the client's connection.
        Seen {
            created_in: &["service::libraries::tasks_that_libraries_spawn"],
            wait: Wait::ChanReceive,
            waits_in: "reqwest::async_impl::client",
        },
    ];
    until(|| {
        let snapshot = listed("runtime=libraries");
        check_stacks(&snapshot);
        unseen.retain(|seen| !snapshot.groups.iter().any(|group| seen.is(group)));
        looked += 1;
        looked >= 20 && unseen.is_empty() && answered.load(Ordering::Relaxed) > 500
    });
    runtime.shutdown_background();
}

/// A group that is to be seen.
struct Seen {
    created_in: &'static [&'static str],
    wait: Wait,
    waits_in: &'static str,
}

impl Seen {
    fn is(&self, group: &Group) -> bool {
        let has = |stack: &taskleak_profile::snapshot::Stack, part: &str| {
            stack.iter().any(|frame| frame.function.contains(part))
        };
        let created = |part: &&str| has(&group.created_by, part);
        let mut waits = group.wait.iter().zip(&group.waiting_at);
        self.created_in.iter().all(created)
            && waits.any(|(wait, stack)| *wait == self.wait && has(stack, self.waits_in))
    }
}

/// Every task has its creation stack, and every wait its own.
fn check_stacks(snapshot: &Snapshot) {
    for group in &snapshot.groups {
        assert!(!group.created_by.is_empty(), "{group:?}");
        let waits = match &group.wait[..] {
            [Wait::Nothing] => 0,
            waits => waits.len(),
        };
        assert_eq!(group.waiting_at.len(), waits, "{group:?}");
    }
}

async fn ask(client: reqwest::Client, server: SocketAddr, answered: Arc<AtomicU64>) {
    loop {
        let answer = client.get(format!("http://{server}/")).send().await;
        let text = answer.expect("the server answers").text().await;
        assert_eq!(text.expect("to its end"), "open");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

fn serve_axum(on: &WatchedRuntime) -> SocketAddr {
    let (listener, address) = listen(on);
    on.spawn(async {
        let router = Router::new().route("/", on_get(shop));
        axum::serve(listener, router).await.expect("it goes on");
    });
    address
}

fn serve_hyper(on: &WatchedRuntime) -> SocketAddr {
    let (listener, address) = listen(on);
    on.spawn(accept(listener));
    address
}

async fn accept(listener: TcpListener) {
    let answer = |_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(shop().await)))
    };
    while let Ok((stream, _)) = listener.accept().await {
        let io = TokioIo::new(stream);
        tokio::spawn(http1::Builder::new().serve_connection(io, service_fn(answer)));
    }
}

async fn shop() -> &'static str {
    tokio::time::sleep(Duration::from_millis(1)).await;
    "open"
}
