//! A task writes a lock that it still has a read guard of.
//!
//! github.com/tokio-rs/tokio/pull/2733, "Write guard to read guard downgrading for sync::RwLock":
//! without it a read guard is easily forgotten before the write guard is taken, which is
//! "particularly tricky and non-obvious when shadowing the name of the old read guard".

use std::collections::HashMap;
use std::sync::Arc;

use taskleak_profile::snapshot::Wait;
use tokio::sync::RwLock;

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "read to write",
    source: "github.com/tokio-rs/tokio/pull/2733",
    leaky: || service(refresh_under_guard),
    fixed: || service(refresh),
    function: "read_to_write::refresh_under_guard",
    waits: &[Wait::RwLockWrite],
};

/// The prices of one shop.
type Prices = Arc<RwLock<HashMap<u64, u64>>>;

fn service<R>(refresh: fn(Prices, u64) -> R) -> Program
where
    R: Future<Output = ()> + Send + 'static,
{
    Box::pin(requests(move |n| async move {
        let prices = Prices::default();
        if !goes_wrong(n) {
            prices.write().await.insert(n, 1);
        }
        tokio::spawn(refresh(prices, n));
    }))
}

async fn refresh_under_guard(prices: Prices, item: u64) {
    let known = prices.read().await;
    if !known.contains_key(&item) {
        let mut known = prices.write().await;
        known.insert(item, 2);
    }
}

async fn refresh(prices: Prices, item: u64) {
    let is_known = prices.read().await.contains_key(&item);
    if !is_known {
        prices.write().await.insert(item, 2);
    }
}
