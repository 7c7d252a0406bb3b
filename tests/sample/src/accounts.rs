//! A transfer locks both accounts. The leak: from an account to itself, it waits for its own
//! guard.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// In cents.
pub type Account = Arc<Mutex<i64>>;

/// Transfers in a task.
pub fn transfer(from: &Account, to: &Account, amount: i64) -> JoinHandle<()> {
    tokio::spawn(lock_and_move(Arc::clone(from), Arc::clone(to), amount))
}

async fn lock_and_move(from: Account, to: Account, amount: i64) {
    if !Arc::ptr_eq(&from, &to) {
        lock_both_and_move(from, to, amount).await;
    }
}

/// The same without a look at whether both are one.
pub fn transfer_blindly(from: &Account, to: &Account, amount: i64) -> JoinHandle<()> {
    tokio::spawn(lock_both_and_move(Arc::clone(from), Arc::clone(to), amount))
}

async fn lock_both_and_move(from: Account, to: Account, amount: i64) {
    let mut from = from.lock().await;
    let mut to = to.lock().await;
    *from -= amount;
    *to += amount;
}
