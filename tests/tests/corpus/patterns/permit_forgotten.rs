//! A permit is forgotten by its task and given back by hand when the task is done, which it is
//! not when its client hangs up: those that come after wait for it.

use std::sync::Arc;

use taskleak_profile::snapshot::Wait;
use tokio::sync::{AcquireError, Semaphore};

use crate::load::{converse, requests};
use crate::program::{Pattern, Program};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "permit forgotten",
    source: "ours",
    leaky,
    fixed,
    function: "permit_forgotten::upload_counting_by_hand",
    waits: &[Wait::Semaphore],
};

/// Each client uploads one part at a time.
const PARTS: u64 = 3;

fn leaky() -> Program {
    Box::pin(requests(|n| async move {
        let uploads = Arc::new(Semaphore::new(1));
        for _ in 0..PARTS {
            tokio::spawn(upload_counting_by_hand(Arc::clone(&uploads), n));
        }
    }))
}

async fn upload_counting_by_hand(uploads: Arc<Semaphore>, n: u64) -> Result<(), AcquireError> {
    uploads.acquire().await?.forget();
    if converse(n).await.is_ok() {
        uploads.add_permits(1);
    }
    Ok(())
}

fn fixed() -> Program {
    Box::pin(requests(|n| async move {
        let uploads = Arc::new(Semaphore::new(1));
        for _ in 0..PARTS {
            tokio::spawn(upload(Arc::clone(&uploads), n));
        }
    }))
}

async fn upload(uploads: Arc<Semaphore>, n: u64) -> Result<(), AcquireError> {
    let _permit = uploads.acquire().await?;
    let _hung_up = converse(n).await;
    Ok(())
}
