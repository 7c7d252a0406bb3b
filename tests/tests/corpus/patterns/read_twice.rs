//! A request reads a document and, with that guard in its hands, reads it again. An edit that
//! asks for the lock in between comes first: it waits for the first guard, the request for it.

use std::sync::Arc;

use taskleak_profile::snapshot::Wait;
use tokio::sync::RwLock;

use crate::load::{goes_wrong, requests, work};
use crate::program::{Pattern, Program};

pub(crate) const READER: Pattern = Pattern {
    name: "read twice: the reader",
    source: "ours",
    leaky,
    fixed,
    function: "read_twice::show_with_two_guards",
    waits: &[Wait::RwLockRead],
};

pub(crate) const WRITER: Pattern = Pattern {
    name: "read twice: the writer between",
    function: "read_twice::edit_what_is_shown_twice",
    waits: &[Wait::RwLockWrite],
    ..READER
};

type Document = Arc<RwLock<u64>>;

fn leaky() -> Program {
    Box::pin(requests(show_with_two_guards))
}

async fn show_with_two_guards(n: u64) -> u64 {
    let document = Document::default();
    let title = document.read().await;
    if goes_wrong(n) {
        tokio::spawn(edit_what_is_shown_twice(Arc::clone(&document)));
    }
    work().await;
    let text = document.read().await;
    *title + *text
}

async fn edit_what_is_shown_twice(document: Document) {
    *document.write().await += 1;
}

fn fixed() -> Program {
    Box::pin(requests(show))
}

async fn show(n: u64) -> u64 {
    let document = Document::default();
    let shown = document.read().await;
    if goes_wrong(n) {
        tokio::spawn(edit(Arc::clone(&document)));
    }
    work().await;
    *shown + *shown
}

async fn edit(document: Document) {
    *document.write().await += 1;
}
