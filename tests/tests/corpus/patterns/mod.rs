//! The leaks of the design's list, one file for each.

use crate::program::Pattern;

mod unclosed_range;

pub(crate) const ALL: &[Pattern] = &[unclosed_range::PATTERN];
