//! A shop: an axum server and a client that gives up on some of its requests. Each request that
//! is given up leaves one task behind.
//!
//! ```text
//! cargo run --release --example server
//! curl 127.0.0.1:6060/debug/tasks
//! ```
//!
//! The leak is one that services have: the handler files an order and spawns a task that waits
//! for the receipt. When the client hangs up, axum drops the handler before it has the order
//! packed; the order stays on file, and with it the sender that the task waits for. `--fixed`
//! takes the order off the file when the handler is dropped.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use clap::Parser;
use taskleak::BuildWatched;
use taskleak_examples::{ended, install, print_addresses};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};

#[derive(Parser, Clone)]
#[command(about = "A shop whose cancelled requests leak tasks, and a client that cancels some")]
struct Args {
    /// Where 127.0.0.1 serves the debug endpoint
    #[arg(long, default_value_t = 6060)]
    port: u16,
    /// Requests each second
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// One request in so many is given up; 0 for none
    #[arg(long, default_value_t = 100)]
    cancel_every: u64,
    /// A request that is given up leaves nothing behind
    #[arg(long)]
    fixed: bool,
    /// Serves tokio-console at 127.0.0.1:6669 as well
    #[arg(long)]
    console: bool,
}

fn main() -> ExitCode {
    ended(serve(&Args::parse()))
}

fn serve(args: &Args) -> Result<(), Box<dyn Error>> {
    let detector = install(args.console)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .name("shop")
        .build_watched(&detector)?;
    let server = detector.serve(&format!("127.0.0.1:{}", args.port))?;
    print_addresses(server.local_addr(), args.console);
    runtime.block_on(run(args.clone()))
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let shop_address = listener.local_addr()?;
    println!("the shop:             curl http://{shop_address}/checkout");
    let shop = Arc::new(Shop {
        fixed: args.fixed,
        ..Shop::default()
    });
    let router = Router::new()
        .route("/checkout", get(checkout))
        .with_state(shop);
    tokio::spawn(async move { axum::serve(listener, router).await });
    tokio::spawn(shoppers(shop_address, args));
    Ok(tokio::signal::ctrl_c().await?)
}

type Receipt = u64;

#[derive(Default)]
struct Shop {
    fixed: bool,
    next: AtomicU64,
    orders: Mutex<HashMap<u64, oneshot::Sender<Receipt>>>,
}

impl Shop {
    fn file(&self, order: u64, sender: oneshot::Sender<Receipt>) {
        self.orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(order, sender);
    }

    fn take(&self, order: u64) -> Option<oneshot::Sender<Receipt>> {
        self.orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&order)
    }
}

async fn checkout(State(shop): State<Arc<Shop>>) -> String {
    let order = shop.next.fetch_add(1, Ordering::Relaxed);
    let (sender, receiver) = oneshot::channel();
    shop.file(order, sender);
    let _unfiled = shop.fixed.then(|| Unfile {
        shop: Arc::clone(&shop),
        order,
    });
    let mailed = tokio::spawn(mail_receipt(receiver));
    pack().await;
    if let Some(sender) = shop.take(order) {
        // The task that mails it waits for it.
        let _mailing = sender.send(order);
    }
    match mailed.await {
        Ok(Some(receipt)) => format!("order {receipt} is on its way\n"),
        _ => "the order was lost\n".to_owned(),
    }
}

async fn mail_receipt(receiver: oneshot::Receiver<Receipt>) -> Option<Receipt> {
    receiver.await.ok()
}

async fn pack() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// Takes an order off the file when its handler is done, or dropped.
struct Unfile {
    shop: Arc<Shop>,
    order: u64,
}

impl Drop for Unfile {
    fn drop(&mut self) {
        self.shop.take(self.order);
    }
}

async fn shoppers(shop: SocketAddr, args: Args) {
    let client = reqwest::Client::new();
    let mut ticks = interval(Duration::from_secs(1) / args.rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for number in 1u64.. {
        ticks.tick().await;
        let gives_up = args.cancel_every != 0 && number % args.cancel_every == 0;
        let patience = Duration::from_millis(if gives_up { 5 } else { 10_000 });
        let request = client.get(format!("http://{shop}/checkout")).send();
        tokio::spawn(async move {
            // To give up is to drop the request, which closes its connection.
            let _gave_up = timeout(patience, request).await;
        });
    }
}
