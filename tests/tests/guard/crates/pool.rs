//! A connection pool: bb8.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bb8::{Builder, ManageConnection, Pool};
use tokio::task::JoinSet;

use super::{assert_left, guard};

/// Spawns the reaper, which looks for connections that are too old.
const MAKES: &str = "bb8::inner::PoolInner::new";
const REAPS: &str = "bb8::inner::Reaper::run";
/// Spawns what makes the connections that are missing, and tries again where that fails.
const REPLENISHES: &str = "bb8::inner::PoolInner::spawn_replenishing_approvals";
const TRIES: &str = "bb8::inner::PoolInner::spawn_replenishing_approvals::{async block}";

/// Makes connections while its backend is up.
#[derive(Clone, Default)]
struct Backend {
    is_down: Arc<AtomicBool>,
}

impl ManageConnection for Backend {
    type Connection = ();
    type Error = io::Error;

    async fn connect(&self) -> io::Result<()> {
        match self.is_down.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::ConnectionRefused.into()),
            false => Ok(()),
        }
    }

    async fn is_valid(&self, (): &mut ()) -> io::Result<()> {
        Ok(())
    }

    fn has_broken(&self, (): &mut ()) -> bool {
        false
    }
}

/// Two connections for sixteen tasks; then the pool is dropped.
async fn come_and_go(builder: Builder<Backend>) {
    let pool = builder.max_size(2).build(Backend::default()).await;
    let pool = pool.expect("the backend is up");
    let mut users = JoinSet::new();
    for _ in 0..16 {
        let pool = pool.clone();
        users.spawn(async move {
            for _ in 0..4 {
                let connection = pool.get().await.expect("the backend is up");
                tokio::task::yield_now().await;
                drop(connection);
            }
        });
    }
    users.join_all().await;
}

#[taskleak::test]
async fn a_pool_whose_connections_do_not_age_is_clean() {
    come_and_go(Pool::builder().max_lifetime(None).idle_timeout(None)).await;
}

#[taskleak::test(allow = "function=bb8::inner::Reaper::run")]
async fn a_pool_leaves_its_reaper_behind() {
    let guard = guard();
    come_and_go(Pool::builder()).await;
    // It has no more to do, and learns of that at its next round: half a minute after the pool was
    // made.
    assert_left(&guard.settled().await, &[(1, MAKES, REAPS)]);
}

#[taskleak::test(settle = "30s")]
async fn the_reaper_ends_at_its_next_round() {
    come_and_go(Pool::builder().reaper_rate(Duration::from_millis(50))).await;
}

#[taskleak::test(settle = "30s")]
async fn a_dropped_pool_goes_on_connecting_while_its_backend_is_down() {
    let guard = guard();
    let backend = Backend::default();
    backend.is_down.store(true, Ordering::Relaxed);
    let builder = Pool::builder()
        .min_idle(1)
        .reaper_rate(Duration::from_secs(1));
    drop(builder.build_unchecked(backend.clone()));
    // What tries again owns the pool, so the reaper goes on as well; after half a minute it gives up.
    assert_left(
        &guard.settled().await,
        &[(1, MAKES, REAPS), (1, REPLENISHES, TRIES)],
    );
    backend.is_down.store(false, Ordering::Relaxed);
}
