//! The leaks of the design's list (`leak-patterns.md`), and a few for the waits that it leaves
//! out; one file for each.

use crate::program::Pattern;

mod barrier_short;
mod broadcast_laggard;
mod contract_violation;
mod detached_retry;
mod double_lock;
mod early_return;
mod guard_across_send;
mod join_set_stuck;
mod looping_timer;
mod no_waker_kept;
mod oneshot_kept;
mod pending;
mod permit_forgotten;
mod silent_sender;
mod timeout_receive;
mod timeout_send;
mod tracker_unclosed;
mod unclosed_range;
mod waker_replaced;
mod watch_unchanged;

pub(crate) const ALL: &[Pattern] = &[
    unclosed_range::PATTERN,
    silent_sender::PATTERN,
    timeout_receive::PATTERN,
    timeout_send::PATTERN,
    early_return::PATTERN,
    contract_violation::PATTERN,
    no_waker_kept::PATTERN,
    waker_replaced::PATTERN,
    pending::PATTERN,
    oneshot_kept::PATTERN,
    broadcast_laggard::PATTERN,
    watch_unchanged::PATTERN,
    double_lock::PATTERN,
    guard_across_send::HOLDER,
    guard_across_send::OTHERS,
    join_set_stuck::PATTERN,
    join_set_stuck::MEMBER,
    tracker_unclosed::PATTERN,
    looping_timer::PATTERN,
    detached_retry::PATTERN,
    barrier_short::PATTERN,
    permit_forgotten::PATTERN,
];
