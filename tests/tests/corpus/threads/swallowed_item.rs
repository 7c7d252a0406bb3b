//! A stream takes an item from the one that it is made of, has not enough for an item of its own,
//! and returns `Pending`: nobody has the waker of that poll.
//!
//! github.com/rusoto/rusoto/pull/1790, "Wake immediately before returning Poll::Pending": "the
//! original code returned Poll::Pending without first receiving Poll::Pending from a downstream
//! future or telling the task's waker".

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt};
use taskleak_profile::snapshot::Wait;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::load::{goes_wrong, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "swallowed item",
    source: "github.com/rusoto/rusoto/pull/1790",
    leaky,
    fixed,
    function: "swallowed_item::upload_once_polled",
    waits: &[Wait::Nothing],
};

/// How many bytes are signed and sent at once.
const CHUNK: usize = 64;

fn leaky() -> Program {
    Box::pin(requests(|n| async move { upload_once_polled(body(n)) }))
}

fn fixed() -> Program {
    Box::pin(requests(|n| async move { upload(body(n)) }))
}

fn upload_once_polled(mut chunks: Chunks) {
    chunks.is_polled_once = true;
    tokio::spawn(send(chunks));
}

fn upload(chunks: Chunks) {
    tokio::spawn(send(chunks));
}

async fn send(mut chunks: Chunks) {
    while chunks.next().await.is_some() {}
}

/// A body that comes in a whole chunk, or in halves of one.
fn body(n: u64) -> Chunks {
    let (to_body, parts) = mpsc::unbounded_channel();
    let part = if goes_wrong(n) { CHUNK / 2 } else { CHUNK };
    for _ in 0..CHUNK / part {
        to_body.send(part).ok();
    }
    Chunks {
        parts,
        gathered: 0,
        is_polled_once: false,
    }
}

struct Chunks {
    /// The lengths of the parts.
    parts: UnboundedReceiver<usize>,
    gathered: usize,
    /// It takes one part in a poll, not as many as there are.
    is_polled_once: bool,
}

impl Stream for Chunks {
    type Item = usize;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        while let Some(part) = ready!(self.parts.poll_recv(cx)) {
            self.gathered += part;
            if self.gathered >= CHUNK {
                self.gathered -= CHUNK;
                return Poll::Ready(Some(CHUNK));
            }
            if self.is_polled_once {
                return Poll::Pending;
            }
        }
        Poll::Ready(None)
    }
}
