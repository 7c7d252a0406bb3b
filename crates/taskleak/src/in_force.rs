//! Which detector records what this thread does.

use tracing::Dispatch;

#[cfg(feature = "test")]
use crate::Detector;
use crate::layer::TaskLayer;
use crate::polls;
use crate::recorder::Recorder;
use crate::scopes::{self, ScopeId};

/// The recorder that a subscriber leads to.
pub(crate) fn recorder_of(dispatch: &Dispatch) -> Option<&Recorder> {
    let of_layer = || {
        let layer = dispatch.downcast_ref::<TaskLayer>()?;
        Some(&**layer.recorder())
    };
    dispatch.downcast_ref().or_else(of_layer)
}

/// The detector whose subscriber is this thread's.
#[cfg(feature = "test")]
pub(crate) fn detector() -> Option<Detector> {
    tracing::dispatcher::get_default(|dispatch| recorder_of(dispatch)?.detector())
}

/// The scope that what this thread spawns now belongs to.
pub(crate) fn scope_here() -> Option<ScopeId> {
    tracing::dispatcher::get_default(|dispatch| match recorder_of(dispatch) {
        Some(recorder) => recorder.scope_here(),
        None => polls::scope_here().and_then(scopes::let_through),
    })
}
