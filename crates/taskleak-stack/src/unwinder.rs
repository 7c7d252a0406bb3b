//! Which unwinder a build has.

/// What unwinds a stack that was not seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unwinder {
    /// The chain of frame pointers: the build has `-C force-frame-pointers=yes`.
    FramePointers,
    /// framehop, by the unwind tables of the modules.
    Framehop,
    /// The `backtrace` crate, on platforms where neither serves.
    Backtrace,
}

impl Unwinder {
    /// The one of this build.
    pub const BUILT_IN: Unwinder = if cfg!(taskleak_frame_pointers) {
        Unwinder::FramePointers
    } else if cfg!(taskleak_unwind) {
        Unwinder::Framehop
    } else {
        Unwinder::Backtrace
    };
}

impl std::fmt::Display for Unwinder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unwinder::FramePointers => "frame pointers",
            Unwinder::Framehop => "framehop",
            Unwinder::Backtrace => "the backtrace crate",
        })
    }
}
