//! From symbolized addresses to a stack that people read: names, hidden frames, wait, identity.

use crate::raw::RawFrame;
use crate::snapshot::{Stack, Wait};

/// A stack whose frames have names, with what follows from them alone.
#[derive(Debug, Clone)]
pub struct ResolvedStack {
    /// Every frame, leaf first; frames of the runtime are marked as hidden.
    pub frames: Stack,
    /// What a task waits for whose waker was cloned at this stack's leaf.
    pub wait: Wait,
    /// The primitive behind `wait`: `tokio::sync::mpsc`, `flume`; empty if it is not known.
    pub primitive: String,
    /// Equal for stacks whose visible frames are equal, in every run of the same binary.
    pub identity: u64,
}

impl ResolvedStack {
    /// Names, hides and classifies the frames of a stack, leaf first.
    pub fn new(_frames: &[RawFrame]) -> Self {
        unimplemented!("the names and waits step writes this")
    }
}
