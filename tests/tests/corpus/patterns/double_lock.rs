//! A transfer locks both accounts. From an account to itself, it waits for its own guard.

use std::sync::Arc;

use taskleak_profile::snapshot::Wait;
use tokio::sync::Mutex;

use crate::load::{goes_wrong, requests, work};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "double lock",
    source: "design",
    leaky,
    fixed,
    function: "double_lock::transfer_blindly",
    waits: &[Wait::MutexLock],
};

type Account = Arc<Mutex<i64>>;

fn accounts_of(n: u64) -> (Account, Account) {
    let from = Account::default();
    let to = match goes_wrong(n) {
        true => Arc::clone(&from),
        false => Account::default(),
    };
    (from, to)
}

fn leaky() -> Program {
    Box::pin(requests(|n| {
        let (from, to) = accounts_of(n);
        transfer_blindly(from, to)
    }))
}

async fn transfer_blindly(from: Account, to: Account) {
    let mut from = from.lock().await;
    let mut to = to.lock().await;
    work().await;
    *from -= 1;
    *to += 1;
}

fn fixed() -> Program {
    Box::pin(requests(|n| {
        let (from, to) = accounts_of(n);
        transfer(from, to)
    }))
}

async fn transfer(from: Account, to: Account) {
    if Arc::ptr_eq(&from, &to) {
        return;
    }
    let mut from = from.lock().await;
    let mut to = to.lock().await;
    work().await;
    *from -= 1;
    *to += 1;
}
