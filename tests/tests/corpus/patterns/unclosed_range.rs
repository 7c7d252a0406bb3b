//! A task drains a channel until it is closed, and itself holds a sender: it never is.

use taskleak_profile::snapshot::Wait;
use tokio::sync::mpsc;

use crate::load::requests;
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "unclosed range",
    source: "design",
    leaky,
    fixed,
    function: "unclosed_range::crawl_with_sender",
    waits: &[Wait::ChanReceive],
};

fn leaky() -> Program {
    Box::pin(requests(|n| async move {
        let (links, queue) = mpsc::channel(8);
        links.send(n).await.expect("the crawler receives");
        tokio::spawn(crawl_with_sender(links, queue));
    }))
}

fn fixed() -> Program {
    Box::pin(requests(|n| async move {
        let (links, queue) = mpsc::channel(8);
        links.send(n).await.expect("the crawler receives");
        drop(links);
        tokio::spawn(crawl(queue));
    }))
}

/// A page may have links of its own, which go into the same queue.
async fn crawl_with_sender(links: mpsc::Sender<u64>, mut queue: mpsc::Receiver<u64>) {
    while let Some(page) = queue.recv().await {
        if page % 2 == 1 {
            links.send(page / 2).await.expect("it is received here");
        }
    }
}

async fn crawl(mut queue: mpsc::Receiver<u64>) {
    while queue.recv().await.is_some() {
        tokio::task::yield_now().await;
    }
}
