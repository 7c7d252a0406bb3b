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
    use super::*;

    #[test]
    fn the_thread_is_given_back_also_after_a_panic() {
        daemon(|| {
            assert_eq!(polls::owner(), polls::daemons_here());
            daemon(|| assert_eq!(polls::owner(), polls::daemons_here()));
            assert_eq!(polls::owner(), polls::daemons_here());
        });
        assert_eq!(polls::owner(), Owner::Host);
        let panicked = std::panic::catch_unwind(|| daemon(|| panic!("the user's mistake")));
        assert!(panicked.is_err());
        assert_eq!(polls::owner(), Owner::Host);
    }
}
