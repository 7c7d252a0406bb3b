//! pprof: gzipped profile.proto.
//!
//! The messages are written out here by hand, with the field numbers of `profile.proto` in
//! <https://github.com/google/pprof/tree/main/proto>; fields that are not used are left out.
//!
//! The rules:
//! 1. A sample is a group: `tasks/count` its tasks, `waiting/nanoseconds` how long all of them
//!    together have waited (`waiting/seconds` where nanoseconds would overflow). Its stack is where
//!    they wait, then who created them, so that a flame graph grows out of `main`; a task that
//!    doesn't wait has its state (`[running]`) for a leaf.
//! 2. Concatenated messages merge, and lists are appended: the profile is written as a sequence of
//!    parts, and only the tables of what has a number are held.
//! 3. A mapping says that it has functions as soon as one was found in it; pprof then asks its
//!    binary no more. Where none was found (a stripped binary) `go tool pprof BINARY` resolves.
//! 4. Addresses are those that the symbols of their module use, and a mapping spans the whole
//!    address space: so pprof's own convention says that nothing is to be subtracted. Told where
//!    the code was mapped, readers subtract differently where its segment begins within a page, as
//!    lld's do: `go tool pprof` before Go 1.21 then shows functions from elsewhere
//!    (<https://github.com/golang/go/issues/59466>). Profiles of two runs merge, too.
//! 5. `system_name` stays empty. Set to the name, pprof would take it for C++ and strip what
//!    stands in `<…>`.
//! 6. Frames of a stripped binary can't be hidden here. pprof drops those leafward of tokio's
//!    `clone_waker` once it has found their names, so that a task does not seem to be in this
//!    detector.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::show::{Modules, by_address, whole_stack};
use super::{Options, SampleType};
use crate::snapshot::{Frame, Group, Module, Snapshot};

pub(super) fn write(
    snapshot: &Snapshot,
    options: &Options,
    sink: &mut impl Write,
) -> io::Result<()> {
    let mut writer = Writer::new(snapshot, options, GzEncoder::new(sink, Compression::fast()));
    writer.head()?;
    for group in &snapshot.groups {
        writer.group(group)?;
    }
    writer.mappings()?;
    writer.sink.into_inner()?.finish()?;
    Ok(())
}

/// `tokio::runtime::task::waker::clone_waker`, of which Go's tool knows the last part alone.
const WAKER_CLONE: &str = "(.*::)?clone_waker";

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "7")]
    drop_frames: i64,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    memory_start: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(uint64, tag = "4")]
    file_offset: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(int64, tag = "6")]
    build_id: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
    #[prost(bool, tag = "8")]
    has_filenames: bool,
    #[prost(bool, tag = "9")]
    has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    has_inline_frames: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    /// Innermost first.
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// What symbols were found in a module.
#[derive(Clone, Copy, Default)]
struct Found {
    functions: bool,
    files: bool,
    lines: bool,
}

struct Writer<'a, W: Write> {
    snapshot: &'a Snapshot,
    options: &'a Options,
    modules: Modules<'a>,
    /// The parts are small, and the encoder is slow at small writes.
    sink: BufWriter<GzEncoder<W>>,
    /// What has got a number since the last part was written.
    part: Profile,
    strings: HashMap<Cow<'a, str>, i64>,
    functions: HashMap<(i64, i64), u64>,
    locations: HashMap<(u64, u64, Vec<Line>), u64>,
    /// The id of a module's mapping.
    mapping_ids: Vec<u64>,
    found: Vec<Found>,
    unit: TimeUnit,
}

impl<'a, W: Write> Writer<'a, W> {
    fn new(snapshot: &'a Snapshot, options: &'a Options, sink: GzEncoder<W>) -> Self {
        let modules = Modules::of(snapshot);
        let mut writer = Self {
            snapshot,
            options,
            mapping_ids: mapping_ids(snapshot.modules.len(), modules.executable()),
            modules,
            sink: BufWriter::new(sink),
            part: Profile::default(),
            strings: HashMap::new(),
            functions: HashMap::new(),
            locations: HashMap::new(),
            found: vec![Found::default(); snapshot.modules.len()],
            unit: TimeUnit::of(snapshot),
        };
        // The table begins with the empty one.
        writer.string("");
        writer
    }

    /// What a sample's values are, and what holds for all of them.
    fn head(&mut self) -> io::Result<()> {
        let (name, with_time) = match self.options.sample {
            SampleType::Tasks => ("tasks", true),
            SampleType::Goroutine => ("goroutine", false),
        };
        let count = ValueType {
            r#type: self.string(name),
            unit: self.string("count"),
        };
        self.part.sample_type.push(count);
        if with_time {
            let (r#type, unit) = (self.string("waiting"), self.string(self.unit.word()));
            self.part.sample_type.push(ValueType { r#type, unit });
        }
        self.part.period_type = Some(count);
        self.part.period = 1;
        self.part.default_sample_type = count.r#type;
        if !self.options.full {
            self.part.drop_frames = self.string(WAKER_CLONE);
        }
        self.part.time_nanos = since_epoch(self.snapshot.taken_at);
        for problem in &self.snapshot.health.problems {
            let comment = self.string(problem.as_str());
            self.part.comment.push(comment);
        }
        self.end_part()
    }

    fn group(&mut self, group: &'a Group) -> io::Result<()> {
        let frames = whole_stack(group, self.options.full);
        let mut location_id = Vec::new();
        if group.waiting_at.is_empty() {
            location_id.push(self.what_it_does(group));
        }
        location_id.extend(by_address(&frames).map(|call| self.location(call)));
        let mut value = vec![i64::try_from(group.count).unwrap_or(i64::MAX)];
        if self.options.sample == SampleType::Tasks {
            value.push(self.unit.count(group.blocked_total_ms));
        }
        let label = self.labels(group);
        self.part.sample.push(Sample {
            location_id,
            value,
            label,
        });
        self.end_part()
    }

    fn labels(&mut self, group: &'a Group) -> Vec<Label> {
        let knows_wait = !group.wait.is_empty() || group.wakers_without_stack > 0;
        let wait = if knows_wait {
            group.doing().to_string()
        } else {
            String::new()
        };
        let spawned_at = group.spawned_at.as_ref();
        let spawned_at = spawned_at.map(|at| format!("{}:{}:{}", at.file, at.line, at.column));
        let labels: [(&str, Cow<'a, str>); 8] = [
            ("state", group.state.word().into()),
            ("wait", wait.into()),
            ("kind", group.kind.word().into()),
            ("name", group.name.as_str().into()),
            ("runtime", group.runtime.as_str().into()),
            ("scope", group.scope.as_str().into()),
            ("spawned_at", spawned_at.unwrap_or_default().into()),
            ("group", group.id.to_string().into()),
        ];
        let known = labels.into_iter().filter(|(_, value)| !value.is_empty());
        known
            .map(|(key, value)| Label {
                key: self.string(key),
                str: self.string(value),
            })
            .collect()
    }

    /// A leaf for tasks that have no await stack.
    fn what_it_does(&mut self, group: &'a Group) -> u64 {
        let function_id = self.function(format!("[{}]", group.doing()), "");
        self.located(
            0,
            0,
            vec![Line {
                function_id,
                line: 0,
            }],
        )
    }

    /// The functions at one address.
    fn location(&mut self, call: &[&'a Frame]) -> u64 {
        let address = call[0].address;
        let place = self.modules.place(address);
        let bias = place.map_or(0, |place| self.snapshot.modules[place].bias);
        let mut lines = Vec::new();
        for frame in call.iter().filter(|frame| !frame.function.is_empty()) {
            let function_id =
                self.function(frame.function.as_str(), frame.file.as_deref().unwrap_or(""));
            lines.push(Line {
                function_id,
                line: frame.line.unwrap_or(0).into(),
            });
            if let Some(place) = place {
                self.found[place].add(frame);
            }
        }
        self.located(
            address.wrapping_sub(bias),
            place.map_or(0, |place| self.mapping_ids[place]),
            lines,
        )
    }

    fn located(&mut self, address: u64, mapping_id: u64, line: Vec<Line>) -> u64 {
        let next = self.locations.len() as u64 + 1;
        *self
            .locations
            .entry((mapping_id, address, line))
            .or_insert_with_key(|(_, _, line)| {
                let line = line.clone();
                self.part.location.push(Location {
                    id: next,
                    mapping_id,
                    address,
                    line,
                });
                next
            })
    }

    fn function(&mut self, name: impl Into<Cow<'a, str>>, filename: &'a str) -> u64 {
        let (name, filename) = (self.string(name), self.string(filename));
        let next = self.functions.len() as u64 + 1;
        *self.functions.entry((name, filename)).or_insert_with(|| {
            self.part.function.push(Function {
                id: next,
                name,
                filename,
            });
            next
        })
    }

    fn string(&mut self, text: impl Into<Cow<'a, str>>) -> i64 {
        let next = self.strings.len() as i64;
        *self.strings.entry(text.into()).or_insert_with_key(|text| {
            self.part.string_table.push(text.clone().into_owned());
            next
        })
    }

    /// Last, when it is known what was found in which.
    fn mappings(&mut self) -> io::Result<()> {
        let found = std::mem::take(&mut self.found);
        let modules = self.snapshot.modules.iter().zip(found).enumerate();
        let mut mappings: Vec<_> = modules
            .map(|(place, (module, found))| self.mapping(self.mapping_ids[place], module, found))
            .collect();
        mappings.sort_by_key(|mapping| mapping.id);
        self.part.mapping = mappings;
        self.end_part()
    }

    fn mapping(&mut self, id: u64, module: &'a Module, found: Found) -> Mapping {
        Mapping {
            id,
            memory_start: 0,
            memory_limit: u64::MAX,
            file_offset: 0,
            filename: self.string(module.path.as_str()),
            build_id: self.string(module.build_id.as_str()),
            has_functions: found.functions,
            has_filenames: found.files,
            has_line_numbers: found.lines,
            // What gives lines gives the inlined functions too.
            has_inline_frames: found.lines,
        }
    }

    fn end_part(&mut self) -> io::Result<()> {
        let part = std::mem::take(&mut self.part);
        self.sink.write_all(&part.encode_to_vec())
    }
}

/// In what the waits are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeUnit {
    /// The rule.
    Nanoseconds,
    /// Where nanoseconds would overflow pprof's sums: all tasks together have waited for 292
    /// years, as 10,000 tasks have after 11 days.
    Seconds,
}

impl TimeUnit {
    fn of(snapshot: &Snapshot) -> Self {
        let each = snapshot.groups.iter().map(|group| group.blocked_total_ms);
        let fits = each.fold(0, u64::saturating_add) <= i64::MAX as u64 / 1_000_000;
        if fits {
            Self::Nanoseconds
        } else {
            Self::Seconds
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Nanoseconds => "nanoseconds",
            Self::Seconds => "seconds",
        }
    }

    fn count(self, ms: u64) -> i64 {
        match self {
            Self::Nanoseconds => ms as i64 * 1_000_000,
            Self::Seconds => (ms / 1000) as i64,
        }
    }
}

impl Found {
    fn add(&mut self, frame: &Frame) {
        self.functions = true;
        self.files |= frame.file.is_some();
        self.lines |= frame.line.is_some();
    }
}

/// The first mapping is the executable: pprof takes it for that.
fn mapping_ids(modules: usize, executable: usize) -> Vec<u64> {
    (0..modules)
        .map(|place| match place.cmp(&executable) {
            std::cmp::Ordering::Less => place as u64 + 2,
            std::cmp::Ordering::Equal => 1,
            std::cmp::Ordering::Greater => place as u64 + 1,
        })
        .collect()
}

fn since_epoch(at: SystemTime) -> i64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::Read;

    use super::super::sample;
    use super::*;

    fn profile(snapshot: &Snapshot, options: Options) -> Profile {
        let mut gzipped = Vec::new();
        write(snapshot, &options, &mut gzipped).unwrap();
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(gzipped.as_slice())
            .read_to_end(&mut bytes)
            .unwrap();
        Profile::decode(bytes.as_slice()).unwrap()
    }

    /// Something like `go tool pprof -raw`.
    fn raw(profile: &Profile) -> String {
        let text = |index: i64| profile.string_table[index as usize].as_str();
        let mut raw = String::new();
        for comment in &profile.comment {
            writeln!(raw, "comment {}", text(*comment)).unwrap();
        }
        writeln!(raw, "drop {}", text(profile.drop_frames)).unwrap();
        for kind in &profile.sample_type {
            write!(raw, "{}/{} ", text(kind.r#type), text(kind.unit)).unwrap();
        }
        writeln!(raw, "default {}", text(profile.default_sample_type)).unwrap();
        for sample in &profile.sample {
            writeln!(raw, "{:?}: {:?}", sample.value, sample.location_id).unwrap();
            for label in &sample.label {
                writeln!(raw, "    {}={:?}", text(label.key), text(label.str)).unwrap();
            }
        }
        for location in &profile.location {
            let (id, mapping) = (location.id, location.mapping_id);
            writeln!(raw, "{id}: {:#x} M={mapping}", location.address).unwrap();
            for line in &location.line {
                let function = &profile.function[line.function_id as usize - 1];
                let (name, file) = (text(function.name), text(function.filename));
                writeln!(raw, "    {name} {file}:{}", line.line).unwrap();
            }
        }
        for mapping in &profile.mapping {
            writeln!(
                raw,
                "M={} {:#x}-{:#x} @{:#x} {} {} [{}{}{}{}]",
                mapping.id,
                mapping.memory_start,
                mapping.memory_limit,
                mapping.file_offset,
                text(mapping.filename),
                text(mapping.build_id),
                if mapping.has_functions { "FN" } else { "" },
                if mapping.has_filenames { " FL" } else { "" },
                if mapping.has_line_numbers { " LN" } else { "" },
                if mapping.has_inline_frames { " IN" } else { "" },
            )
            .unwrap();
        }
        raw
    }

    #[test]
    fn pprof_of_the_sample() {
        insta::assert_snapshot!(raw(&profile(&sample::snapshot(), Options::default())));
    }

    #[test]
    fn numbers_refer_to_what_is_there() {
        for full in [false, true] {
            let profile = profile(
                &sample::snapshot(),
                Options {
                    full,
                    ..Options::default()
                },
            );
            assert_eq!(profile.string_table[0], "");
            let ids: Vec<u64> = profile
                .location
                .iter()
                .map(|location| location.id)
                .collect();
            assert!(ids.iter().copied().eq(1..=ids.len() as u64));
            let ids: Vec<u64> = profile.mapping.iter().map(|mapping| mapping.id).collect();
            assert!(ids.iter().copied().eq(1..=ids.len() as u64));
            assert!(
                profile
                    .sample
                    .iter()
                    .all(|sample| !sample.location_id.is_empty())
            );
        }
    }

    #[test]
    fn one_address_in_two_modules_is_two_locations() {
        let mut snapshot = sample::snapshot();
        let frames = [1, 0].map(|module| {
            let address = snapshot.modules[module].bias + 0x1010;
            sample::frame("", address).0
        });
        snapshot.groups[0].waiting_at = vec![frames.into()];
        let profile = profile(&snapshot, Options::default());
        let waiting_at = profile.sample[0].location_id[..2].iter();
        let found = waiting_at.map(|id| &profile.location[*id as usize - 1]);
        let found: Vec<_> = found.map(|at| (at.mapping_id, at.address)).collect();
        assert_eq!(found, [(1, 0x1010), (2, 0x1010)]);
    }

    #[test]
    fn as_goroutines_there_is_one_value() {
        let options = Options {
            sample: SampleType::Goroutine,
            ..Options::default()
        };
        let profile = profile(&sample::snapshot(), options);
        assert_eq!(profile.sample_type.len(), 1);
        let name = profile.sample_type[0].r#type as usize;
        assert_eq!(profile.string_table[name], "goroutine");
        assert!(profile.sample.iter().all(|sample| sample.value.len() == 1));
    }

    #[test]
    fn the_sum_of_all_waits_does_not_overflow() {
        let mut snapshot = sample::snapshot();
        for group in &mut snapshot.groups {
            group.blocked_total_ms = 1 << 42;
        }
        let profile = profile(&snapshot, Options::default());
        assert_eq!(
            profile.string_table[profile.sample_type[1].unit as usize],
            "seconds"
        );
        assert!(
            profile
                .sample
                .iter()
                .all(|sample| sample.value[1] == (1 << 42) / 1000)
        );
    }
}
