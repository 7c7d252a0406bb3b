//! Each user has an inbox with a task that reads it. The leak: nobody takes the inbox of a user
//! who has left out of the register, where its sender is.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A user's name.
pub type User = &'static str;
type Register = HashMap<User, mpsc::Sender<String>>;

static REGISTER: LazyLock<Mutex<Register>> = LazyLock::new(Mutex::default);

/// Opens an inbox; its task tells how much mail it has read.
pub fn open(user: User) -> JoinHandle<usize> {
    let (sender, mail) = mpsc::channel(8);
    with_register(|register| register.insert(user, sender));
    tokio::spawn(read_mail(mail))
}

/// Sends to an inbox that is open.
pub async fn deliver(user: User, letter: &str) {
    let inbox = with_register(|register| register.get(user).cloned());
    if let Some(inbox) = inbox {
        let _is_read = inbox.send(letter.to_owned()).await;
    }
}

/// Ends the task of an inbox.
pub fn close(user: User) {
    with_register(|register| register.remove(user));
}

async fn read_mail(mut mail: mpsc::Receiver<String>) -> usize {
    let mut read = 0;
    while mail.recv().await.is_some() {
        read += 1;
    }
    read
}

fn with_register<T>(with: impl FnOnce(&mut Register) -> T) -> T {
    with(&mut REGISTER.lock().unwrap_or_else(PoisonError::into_inner))
}
