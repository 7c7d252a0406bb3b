//! Clean programs: services whose tasks wait long, or in great numbers, and mean it.

use crate::program::Control;

mod actors;
mod backing_off;
mod bursts;
mod daemons;
mod ends_with_peer;
mod heartbeats;
mod idle_sessions;
mod idle_workers;
mod keep_alive;
mod lazy_daemon;
mod lazy_pool;
mod lock_contention;
mod long_sleeps;
mod parked_until_abort;
mod periodic_jobs;
mod shared_receiver;
mod slow_answers;
mod websockets;

pub(crate) const ALL: &[Control] = &[
    idle_workers::CONTROL,
    shared_receiver::CONTROL,
    keep_alive::CONTROL,
    long_sleeps::CONTROL,
    lock_contention::CONTROL,
    slow_answers::CONTROL,
    idle_sessions::CONTROL,
    ends_with_peer::CONTROL,
    daemons::CONTROL,
    lazy_daemon::CONTROL,
    lazy_pool::CONTROL,
    bursts::CONTROL,
    heartbeats::CONTROL,
    periodic_jobs::CONTROL,
    backing_off::CONTROL,
    websockets::CONTROL,
    actors::CONTROL,
    parked_until_abort::CONTROL,
];
