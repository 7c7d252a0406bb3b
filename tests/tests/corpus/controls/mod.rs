//! Clean programs: services whose tasks wait long, or in great numbers, and mean it.

use crate::program::Control;

pub(crate) const ALL: &[Control] = &[];
