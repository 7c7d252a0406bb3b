//! Leaks that users of tokio projects met, each from the public thread that its source names.

use crate::program::Pattern;

mod abandoned_reader;
mod child_needs_permit;
mod dead_waiter;
mod feeds_itself;
mod first_waker;
mod full_both_ways;
mod lost_slot;
mod missed_stop;
mod queued_behind_itself;
mod read_to_write;
mod recursive_read;
mod retained_receiver;
mod session_cycle;
mod swallowed_item;
mod undriven_login;
mod unheard_resolver;
mod unpolled_lock;
mod unseen_value;
mod wrong_notification;

pub(crate) const ALL: &[Pattern] = &[
    abandoned_reader::PATTERN,
    session_cycle::PATTERN,
    unseen_value::PATTERN,
    undriven_login::PATTERN,
    queued_behind_itself::PATTERN,
    full_both_ways::PATTERN,
    full_both_ways::WORKER,
    feeds_itself::PATTERN,
    retained_receiver::PATTERN,
    unpolled_lock::PATTERN,
    recursive_read::PATTERN,
    recursive_read::WRITER,
    read_to_write::PATTERN,
    lost_slot::PATTERN,
    child_needs_permit::PATTERN,
    child_needs_permit::CHILD,
    dead_waiter::PATTERN,
    wrong_notification::PATTERN,
    missed_stop::PATTERN,
    first_waker::PATTERN,
    swallowed_item::PATTERN,
    unheard_resolver::PATTERN,
];
