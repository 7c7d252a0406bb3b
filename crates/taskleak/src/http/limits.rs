//! What one client may take of the endpoint, so that the others still get theirs.

use std::time::Duration;

/// The limits; tests of this module choose shorter times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once; more wait for their turn.
    pub(super) connections: usize,
    /// A request's head has to be there within this time after the accept or the last answer,
    /// and its body within the same time again.
    pub(super) read_within: Duration,
    /// Bytes of a request's head.
    pub(super) head: usize,
    /// Bytes of a request's body that are read, to be dropped; longer ones cut the connection.
    pub(super) body: usize,
    /// A connection on which nothing can be written for so long is cut.
    pub(super) write_stalled: Duration,
    /// Answers rendered at once; a further request gets 503.
    pub(super) renders: usize,
    /// A rendering that its reader has held up for so long, all in all, gives its place to a
    /// request that finds no other.
    pub(super) render_held_up: Duration,
    /// A rendering that its reader holds up for so long ends, be its place wanted or not.
    pub(super) render_stalled: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 64,
            read_within: Duration::from_secs(10),
            head: 16 * 1024,
            // `go tool pprof` posts the addresses of a profile without names: 20 bytes for each.
            body: 8 * 1024 * 1024,
            write_stalled: Duration::from_secs(30),
            renders: 4,
            render_held_up: Duration::from_secs(2),
            render_stalled: Duration::from_secs(30),
        }
    }
}
