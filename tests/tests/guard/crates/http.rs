//! An HTTP server, axum on hyper, and a client, reqwest on hyper-util.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use reqwest::Client;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{assert_left, guard};

/// Spawns a task for each connection of the server.
const ACCEPTS: &str = "axum::serve::handle_connection";
const ANSWERS: &str = "axum::serve::handle_connection::{async block}";
/// Spawns the task that awaits the signal to shut down.
const SERVES: &str = "axum::serve::WithGracefulShutdown::run";
const SIGNAL: &str = "guard::crates::http::signal";

/// A server, and what shuts it down.
struct Shop {
    address: SocketAddr,
    server: JoinHandle<io::Result<()>>,
    close: oneshot::Sender<()>,
}

impl Shop {
    async fn open() -> Shop {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new().route("/", get(async || "open"));
        let (close, closed) = oneshot::channel();
        let server = axum::serve(listener, router).with_graceful_shutdown(signal(closed));
        Shop {
            address,
            server: tokio::spawn(server.into_future()),
            close,
        }
    }

    /// Asks twice over one connection, which the client then keeps.
    async fn answer(&self, client: &Client) {
        for _ in 0..2 {
            let answer = client.get(format!("http://{}/", self.address)).send().await;
            let text = answer.expect("it answers").text().await;
            assert_eq!(text.expect("to its end"), "open");
        }
    }
}

async fn signal(closed: oneshot::Receiver<()>) {
    let _is_dropped = closed.await;
}

#[taskleak::test]
async fn a_server_that_is_shut_down_gracefully_is_clean() {
    let shop = Shop::open().await;
    let client = Client::new();
    shop.answer(&client).await;
    // It closes the idle connection, which the client would keep.
    shop.close.send(()).expect("it serves");
    shop.server.await.expect("it ends").expect("as it should");
}

#[taskleak::test]
async fn a_connection_that_a_client_keeps_is_forgiven() {
    let shop = Shop::open().await;
    let guard = guard();
    let client = Client::new();
    shop.answer(&client).await;
    guard.verify().await;
    drop(client);
    shop.server.abort();
}

#[taskleak::test(settle = "30s")]
async fn an_aborted_server_leaves_its_connections_and_the_wait_for_its_signal() {
    let guard = guard();
    let shop = Shop::open().await;
    let clients = [Client::new(), Client::new()];
    for client in &clients {
        shop.answer(client).await;
    }
    shop.server.abort();
    assert_left(
        &guard.settled().await,
        &[(2, ACCEPTS, ANSWERS), (1, SERVES, SIGNAL)],
    );
    // The connections end with their clients, the other one with whoever may send the signal.
    drop(clients);
    assert_left(&guard.settled().await, &[(1, SERVES, SIGNAL)]);
    drop(shop.close);
}
