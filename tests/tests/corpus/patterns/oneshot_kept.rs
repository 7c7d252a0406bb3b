//! A handler files an order and spawns a task that waits for its receipt. A handler that is
//! dropped at its first await never takes the order off the file, and with it the sender.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use taskleak_profile::snapshot::Wait;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::load::{PATIENCE, goes_wrong, requests, work};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "oneshot kept",
    source: "design",
    leaky,
    fixed,
    function: "oneshot_kept::mail_filed_receipt",
    waits: &[Wait::ChanReceive],
};

type Receipt = u64;

#[derive(Default)]
struct Shop {
    orders: Mutex<HashMap<u64, oneshot::Sender<Receipt>>>,
}

impl Shop {
    fn file(&self, order: u64) -> oneshot::Receiver<Receipt> {
        let (sender, receipt) = oneshot::channel();
        self.orders.lock().insert(order, sender);
        receipt
    }

    async fn pack(&self, order: u64) {
        if goes_wrong(order) {
            sleep(PATIENCE * 3).await;
        } else {
            work().await;
        }
    }

    fn ship(&self, order: u64) {
        if let Some(sender) = self.orders.lock().remove(&order) {
            let _is_mailed = sender.send(order);
        }
    }
}

fn leaky() -> Program {
    let shop = Arc::new(Shop::default());
    Box::pin(requests(move |n| {
        timeout(PATIENCE, check_out_unguarded(Arc::clone(&shop), n))
    }))
}

async fn check_out_unguarded(shop: Arc<Shop>, order: u64) {
    tokio::spawn(mail_filed_receipt(shop.file(order)));
    shop.pack(order).await;
    shop.ship(order);
}

async fn mail_filed_receipt(receipt: oneshot::Receiver<Receipt>) {
    if receipt.await.is_ok() {
        work().await;
    }
}

fn fixed() -> Program {
    let shop = Arc::new(Shop::default());
    Box::pin(requests(move |n| {
        timeout(PATIENCE, check_out(Arc::clone(&shop), n))
    }))
}

async fn check_out(shop: Arc<Shop>, order: u64) {
    let _taken_off = TakenOff { shop: &shop, order };
    tokio::spawn(mail_receipt(shop.file(order)));
    shop.pack(order).await;
    shop.ship(order);
}

async fn mail_receipt(receipt: oneshot::Receiver<Receipt>) {
    if receipt.await.is_ok() {
        work().await;
    }
}

/// Takes an order off the file when its handler is done, or dropped.
struct TakenOff<'a> {
    shop: &'a Shop,
    order: u64,
}

impl Drop for TakenOff<'_> {
    fn drop(&mut self) {
        self.shop.orders.lock().remove(&self.order);
    }
}
