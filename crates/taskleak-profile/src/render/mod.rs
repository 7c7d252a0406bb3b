//! The renderers: from a [`Snapshot`] to bytes.
//!
//! The rules:
//! 1. They read the snapshot alone: one that was read back from JSON renders the same.
//! 2. They stream: what is held in memory grows with the groups, not with the tasks.
//! 3. Hidden frames are left out, but for `full` and for stacks that have no other.
//! 4. What the program chose (names, paths) can't break a line or forge one.

mod folded;
mod json;
mod leaks;
mod pprof;
#[cfg(test)]
pub(crate) mod sample;
mod show;
mod text;

use std::io::{self, BufWriter, Write};

pub(crate) use self::leaks::{Limit, Page};
pub(crate) use self::show::Time;

use crate::snapshot::Snapshot;

/// The text by groups, as `/debug/tasks` shows it.
impl std::fmt::Display for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = Vec::new();
        render(self, &Options::default(), &mut text).map_err(|_| std::fmt::Error)?;
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// How to render a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Into what.
    pub format: Format,
    /// Text: one entry for each task, not for each group. Other formats don't look at it.
    pub each_task: bool,
    /// Frames of the runtime too.
    pub full: bool,
    /// What pprof calls the count.
    pub sample: SampleType,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            format: Format::Text,
            each_task: false,
            full: false,
            sample: SampleType::Tasks,
        }
    }
}

/// What a snapshot can be rendered into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Go's: the legacy text that pprof reads, or, for each task, as a crash prints it.
    Text,
    /// The snapshot itself, schema 1.
    Json,
    /// Gzipped profile.proto.
    Pprof,
    /// `root;…;leaf;[wait] COUNT`, one line a group.
    Folded,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Text, Self::Json, Self::Pprof, Self::Folded];

    /// The word for it in a query.
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Pprof => "pprof",
            Self::Folded => "folded",
        }
    }

    /// The media type of what is rendered.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text | Self::Folded => "text/plain; charset=utf-8",
            Self::Json => "application/json",
            Self::Pprof => "application/octet-stream",
        }
    }
}

/// What pprof calls the count of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleType {
    /// `tasks/count`, and `waiting/nanoseconds` beside it.
    Tasks,
    /// `goroutine/count` alone, as Go's profile has it: for scrapers that know Go's names only.
    Goroutine,
}

/// Writes `snapshot` to `sink`.
///
/// # Errors
///
/// Those of `sink`.
pub fn render(snapshot: &Snapshot, options: &Options, sink: &mut dyn Write) -> io::Result<()> {
    let mut sink = BufWriter::with_capacity(64 * 1024, sink);
    match (options.format, options.each_task) {
        (Format::Text, false) => text::groups(snapshot, options.full, &mut sink)?,
        (Format::Text, true) => text::tasks(snapshot, options.full, &mut sink)?,
        (Format::Json, _) => json::write(snapshot, options.full, &mut sink)?,
        (Format::Pprof, _) => pprof::write(snapshot, options, &mut sink)?,
        (Format::Folded, _) => folded::write(snapshot, options.full, &mut sink)?,
    }
    sink.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(snapshot: &Snapshot, options: Options) -> Vec<u8> {
        let mut sink = Vec::new();
        render(snapshot, &options, &mut sink).unwrap();
        sink
    }

    #[test]
    fn a_snapshot_read_back_renders_the_same() {
        let snapshot = sample::snapshot();
        let json = serde_json::to_string(&snapshot).unwrap();
        let back: Snapshot = serde_json::from_str(&json).unwrap();
        for format in Format::ALL {
            for (each_task, full) in [(false, false), (true, false), (false, true), (true, true)] {
                let options = Options {
                    format,
                    each_task,
                    full,
                    ..Options::default()
                };
                let same = rendered(&snapshot, options) == rendered(&back, options);
                assert!(same, "{options:?}");
            }
        }
    }

    #[test]
    fn an_empty_snapshot_renders() {
        let mut snapshot = sample::snapshot();
        snapshot.groups.clear();
        snapshot.tasks = Default::default();
        for format in Format::ALL {
            rendered(
                &snapshot,
                Options {
                    format,
                    ..Options::default()
                },
            );
        }
    }

    #[test]
    fn an_error_of_the_sink_is_returned() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::other("no more"))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for format in Format::ALL {
            let options = Options {
                format,
                ..Options::default()
            };
            assert!(
                render(&sample::snapshot(), &options, &mut Full).is_err(),
                "{format:?}"
            );
        }
    }
}
