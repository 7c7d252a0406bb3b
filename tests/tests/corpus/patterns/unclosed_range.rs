//! A crawler takes pages from a queue until it is closed, and keeps a sender of that queue for
//! the links that it finds: it never is.

use taskleak_profile::snapshot::Wait;
use tokio::sync::mpsc;

use crate::load::{goes_wrong, requests, work};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "unclosed range",
    source: "design",
    leaky,
    fixed,
    function: "unclosed_range::crawl_deeply",
    waits: &[Wait::ChanReceive],
};

type Page = u64;

fn leaky() -> Program {
    Box::pin(requests(|n| async move {
        let (links, queue) = mpsc::channel(8);
        links.send(n).await.expect("the queue is open");
        if goes_wrong(n) {
            tokio::spawn(crawl_deeply(links, queue));
        } else {
            drop(links);
            tokio::spawn(crawl(queue));
        }
    }))
}

async fn crawl_deeply(links: mpsc::Sender<Page>, mut queue: mpsc::Receiver<Page>) {
    while let Some(page) = queue.recv().await {
        work().await;
        if page % 2 == 1 {
            links.send(page / 2).await.expect("the queue is open");
        }
    }
}

fn fixed() -> Program {
    Box::pin(requests(|n| async move {
        let (links, queue) = mpsc::channel(8);
        links.send(n).await.expect("the queue is open");
        if goes_wrong(n) {
            tokio::spawn(crawl_to_the_end(links.downgrade(), queue));
        } else {
            tokio::spawn(crawl(queue));
        }
    }))
}

/// What is in the queue when the last strong sender has gone is still received.
async fn crawl_to_the_end(links: mpsc::WeakSender<Page>, mut queue: mpsc::Receiver<Page>) {
    while let Some(page) = queue.recv().await {
        work().await;
        if let (1, Some(links)) = (page % 2, links.upgrade()) {
            links.send(page / 2).await.expect("the queue is open");
        }
    }
}

async fn crawl(mut queue: mpsc::Receiver<Page>) {
    while queue.recv().await.is_some() {
        work().await;
    }
}
