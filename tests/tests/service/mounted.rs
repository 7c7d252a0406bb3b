//! The endpoint as a service in somebody's own server.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get as on_get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use taskleak::{DebugService, WatchedRuntime};
use tokio::task::JoinHandle;

use crate::client::{Connection, get, get_request, head, request};
use crate::parked::Parked;
use crate::support::{detector, listen, runtime};

#[test]
fn in_axum_it_answers_where_it_is_mounted() {
    let parked = Parked::new("axum-parked");
    let runtime = runtime("axum");
    let check = |router: Router, at: &str| {
        let router = router.route("/shop", on_get(async || "open"));
        let (address, server) = serve(&runtime, router);
        check_endpoint(address, at, &parked);
        let shop = get(address, "/shop").ok();
        assert_eq!(String::from_utf8(shop).unwrap(), "open");
        server.abort();
    };
    let service = || detector().service();
    check(Router::new().fallback_service(service()), "/debug");
    check(Router::new().nest_service("/debug", service()), "/debug");
    check(
        Router::new().nest_service("/internal", service()),
        "/internal/debug",
    );
    check(
        Router::new().nest_service("/ops/tasks", service()),
        "/ops/tasks",
    );
    check(
        Router::new().route_service("/debug/{*path}", service()),
        "/debug",
    );
    let nested = Router::new().nest_service("/debug", service());
    check(Router::new().nest("/ops", nested), "/ops/debug");
    runtime.shutdown_background();
}

fn serve(on: &WatchedRuntime, router: Router) -> (SocketAddr, JoinHandle<()>) {
    let (listener, address) = listen(on);
    let server = on.spawn(async move {
        axum::serve(listener, router).await.expect("it goes on");
    });
    (address, server)
}

#[test]
fn in_hyper_it_is_a_service_of_either_kind() {
    let parked = Parked::new("hyper-parked");
    let runtime = runtime("hyper");
    let check = |address: SocketAddr| check_endpoint(address, "/debug", &parked);
    check(serve_hyper(&runtime, |service| service));
    check(serve_hyper(&runtime, TowerToHyperService::new));
    runtime.shutdown_background();
}

/// A hyper server that answers each connection with the service that `wrap` makes of ours.
fn serve_hyper<S>(on: &WatchedRuntime, wrap: fn(DebugService) -> S) -> SocketAddr
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = taskleak::Body>
        + Send
        + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (listener, address) = listen(on);
    let service = detector().service();
    on.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = wrap(service.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// What is below `at` is the whole endpoint.
fn check_endpoint(address: SocketAddr, at: &str, parked: &Parked) {
    let name = parked.name();
    let text = get(address, &format!("{at}/tasks?runtime={name}")).ok();
    assert!(text.starts_with(b"task profile: total 6\n"), "{at}");
    let folded = get(
        address,
        &format!("{at}/pprof/tasks?runtime={name}&format=folded"),
    )
    .ok();
    assert_eq!(folded.split(|byte| *byte == b'\n').count(), 5, "{at}");
    let index = get(address, &format!("{at}/pprof/")).ok();
    assert!(index.starts_with(b"/debug/pprof/\n"), "{at}");

    let redirect = get(address, &format!("{at}/pprof"));
    assert_eq!(
        (redirect.status, redirect.header("location")),
        (308, "pprof/")
    );

    let id = parked.id(taskleak_profile::snapshot::Wait::Sleep);
    for (target, status) in [
        (format!("{at}/tasks/{id}"), 200),
        (format!("{at}/tasks/0"), 404),
        (format!("{at}/tasks?seconds=0"), 400),
        (format!("{at}/pprof/heap"), 404),
    ] {
        assert_eq!(get(address, &target).status, status, "{target}");
        assert_eq!(head(address, &target).status, status, "HEAD {target}");
    }

    // The body is the server's to read; the answer is the same.
    let posted =
        format!("POST {at}/tasks HTTP/1.1\r\nHost: any.example\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(request(address, posted).status, 405, "{at}");

    let mut kept = Connection::open(address);
    for _ in 0..2 {
        kept.send(get_request(&format!("{at}/pprof/cmdline")))
            .unwrap();
        assert_eq!(kept.receive().unwrap().status, 200, "{at}");
    }
}
