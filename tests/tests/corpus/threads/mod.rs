//! Leaks that users of tokio projects met, each from the public thread that its source names.

use crate::program::Pattern;

mod abandoned_reader;
mod feeds_itself;
mod full_both_ways;
mod queued_behind_itself;
mod retained_receiver;
mod session_cycle;
mod undriven_login;
mod unseen_value;

pub(crate) const ALL: &[Pattern] = &[
    abandoned_reader::PATTERN,
    session_cycle::PATTERN,
    unseen_value::PATTERN,
    undriven_login::PATTERN,
    queued_behind_itself::PATTERN,
    full_both_ways::PATTERN,
    feeds_itself::PATTERN,
    retained_receiver::PATTERN,
];

/// One request in five takes the way on which the leaky program leaks.
fn is_unlucky(n: u64) -> bool {
    n.is_multiple_of(5)
}
