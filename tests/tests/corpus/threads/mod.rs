//! Leaks that users of tokio projects met, each from the public thread that its source names.

use crate::program::Pattern;

pub(crate) const ALL: &[Pattern] = &[];
