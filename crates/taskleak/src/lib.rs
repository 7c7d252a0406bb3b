//! Placeholder, replaced by the step that builds this crate.
