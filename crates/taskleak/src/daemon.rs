//! Tasks that are meant to run as long as the process.

use crate::polls::{self, Owner};

/// Marks every task that `spawn` spawns on this thread as a daemon: meant to wait for as long as
/// the process runs, so it gets no verdict. The profile shows it as allowed.
///
/// ```
/// # async fn heartbeat() {}
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let heartbeat = taskleak::daemon(|| tokio::spawn(heartbeat()));
/// # heartbeat.await.unwrap();
/// # });
/// ```
///
/// What is spawned within a library's call counts as well: `daemon(|| Client::new())`.
///
/// # Limits
///
/// It sees what is spawned before the closure returns, and nothing that tasks spawn, be they
/// daemons or polled by a `block_on` within the closure. Tasks that an async function spawns later
/// take an allow rule ([`Builder::allow`](crate::Builder::allow)).
pub fn daemon<T>(spawn: impl FnOnce() -> T) -> T {
    let _restored = match polls::owner() {
        Owner::Host | Owner::Daemons { .. } => {
            Some(Restored(polls::set_owner(polls::daemons_here())))
        }
        Owner::Detector => None,
    };
    spawn()
}

/// Gives the thread back to whom it belonged, also when `spawn` panics.
struct Restored(Owner);

impl Drop for Restored {
    fn drop(&mut self) {
        polls::set_owner(self.0);
    }
}

#[cfg(test)]
mod tests {
    use taskleak_profile::snapshot::Snapshot;
    use tokio::runtime::Builder;
    use tracing::subscriber::NoSubscriber;

    use super::*;
    use crate::Detector;

    #[test]
    fn what_tasks_within_it_spawn_is_no_daemon() {
        let (subscriber, detector) = Detector::builder().wrap(NoSubscriber::new());
        let _guard = tracing::subscriber::set_default(subscriber);
        let runtime = Builder::new_current_thread().build().unwrap();
        let spawn = || runtime.spawn(std::future::pending::<()>());
        let allowed = |snapshot: Snapshot| -> Vec<bool> {
            let groups = snapshot.groups.iter();
            groups.map(|group| group.allowed.is_some()).collect()
        };
        daemon(|| {
            runtime.block_on(async {
                tokio::spawn(std::future::pending::<()>());
            });
        });
        assert_eq!(allowed(detector.snapshot()), [false]);
        daemon(spawn);
        let mut all = allowed(detector.snapshot());
        all.sort_unstable();
        assert_eq!(all, [false, true]);
    }

    #[test]
    fn the_thread_is_given_back_also_after_a_panic() {
        daemon(|| {
            assert!(polls::spawns_daemons());
            daemon(|| assert!(polls::spawns_daemons()));
            assert!(polls::spawns_daemons());
        });
        assert_eq!(polls::owner(), Owner::Host);
        let panicked = std::panic::catch_unwind(|| daemon(|| panic!("the user's mistake")));
        assert!(panicked.is_err());
        assert_eq!(polls::owner(), Owner::Host);
    }
}
