//! What tokio says through `tracing`, as this crate reads it.
//!
//! None of it is a stable API of tokio (`tokio/src/util/trace.rs`, `runtime/task/waker.rs`), so
//! the detector checks at start that it still sees a task of its own (`health.rs`).
//!
//! | what | metadata | fields |
//! |---|---|---|
//! | a task | span `runtime.spawn`, target `tokio::task` or `tokio::task::blocking` | `kind`, `task.id`, `task.name`, `loc.file`, `loc.line`, `loc.col`, `size.bytes`, `fn` |
//! | a waker | event, target `tokio::task::waker` | `op`, `task.id` (the id of the task's *span*) |

use std::fmt::{self, Debug, Write};

use arrayvec::ArrayString;
use taskleak_stack::Interner;
use tracing::field::{Field, Value, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata};

use taskleak_profile::snapshot::SourceLocation;

use crate::record::TaskKind;

/// The callsites of tokio that the recorder lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callsite {
    Spawn,
    Waker,
}

impl Callsite {
    pub(crate) fn of(metadata: &Metadata<'_>) -> Option<Callsite> {
        if metadata.is_event() {
            return (metadata.target() == "tokio::task::waker").then_some(Callsite::Waker);
        }
        let is_spawn = metadata.name() == "runtime.spawn"
            && matches!(metadata.target(), "tokio::task" | "tokio::task::blocking");
        is_spawn.then_some(Callsite::Spawn)
    }
}

/// What was done to a waker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WakerOp {
    Clone,
    Drop,
    /// The waker was used up.
    Wake,
    WakeByRef,
}

/// An event of a task's waker.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WakerEvent {
    pub(crate) op: Option<WakerOp>,
    /// The id of the task's span.
    pub(crate) span_id: u64,
}

impl WakerEvent {
    pub(crate) fn of(event: &Event<'_>) -> WakerEvent {
        let mut read = WakerEvent::default();
        event.record(&mut read);
        read
    }

    /// Gives `forward` the event as one of the span with this id.
    pub(crate) fn with_span(
        self,
        event: &Event<'_>,
        span_id: &Id,
        forward: impl FnOnce(&Event<'_>),
    ) {
        let fields = event.metadata().fields();
        let (op, task_id) = (fields.field("op"), fields.field("task.id"));
        let (Some(op), Some(task_id), Some(what)) = (op, task_id, self.op) else {
            return forward(event);
        };
        let (what, id) = (what.word(), span_id.into_u64());
        let values: [(&Field, Option<&dyn Value>); 2] = [(&op, Some(&what)), (&task_id, Some(&id))];
        let values = fields.value_set(&values);
        forward(&Event::new(event.metadata(), &values));
    }
}

impl WakerOp {
    /// tokio's word for it.
    fn word(self) -> &'static str {
        match self {
            WakerOp::Clone => "waker.clone",
            WakerOp::Drop => "waker.drop",
            WakerOp::Wake => "waker.wake",
            WakerOp::WakeByRef => "waker.wake_by_ref",
        }
    }
}

impl Visit for WakerEvent {
    fn record_u64(&mut self, _field: &Field, value: u64) {
        self.span_id = value;
    }

    fn record_str(&mut self, _field: &Field, value: &str) {
        self.op = match value {
            "waker.clone" => Some(WakerOp::Clone),
            "waker.drop" => Some(WakerOp::Drop),
            "waker.wake" => Some(WakerOp::Wake),
            "waker.wake_by_ref" => Some(WakerOp::WakeByRef),
            _ => None,
        };
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn Debug) {}
}

/// The fields of a task's span.
#[derive(Debug, Default)]
pub(crate) struct SpawnFields {
    pub(crate) kind: Option<TaskKind>,
    pub(crate) task_id: u64,
    pub(crate) future_bytes: u32,
    /// The id of the name; 0 for none.
    pub(crate) name: u16,
    /// The name found no room in the table.
    pub(crate) name_dropped: bool,
    /// The id of the place of the spawn; 0 for none.
    pub(crate) location: u16,
    /// A worker of a multi-thread runtime, which tokio runs on its blocking pool.
    pub(crate) is_worker: bool,
}

impl SpawnFields {
    pub(crate) fn of(attributes: &Attributes<'_>) -> SpawnFields {
        let mut read = Reader::default();
        attributes.record(&mut read);
        SpawnFields {
            location: read.place.id(attributes),
            ..read.fields
        }
    }
}

/// The name with this id.
pub(crate) fn name(id: u32) -> Option<&'static str> {
    NAMES.get(id)
}

/// The id of a name, of a task or a scope, within 16 bits; 0 if there is no room for it.
pub(crate) fn intern_name(name: &str) -> u32 {
    let hash = name
        .bytes()
        .fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
    let same = |seen: &str| seen == name;
    NAMES.intern(mix(hash), same, || name.into()).unwrap_or(0)
}

/// The place in the source with this id.
pub(crate) fn location(id: u32) -> Option<SourceLocation> {
    LOCATIONS.get(id).map(|at| at.location.clone())
}

static NAMES: Interner<str> = Interner::new(MAX_ID);
static LOCATIONS: Interner<Location> = Interner::new(MAX_ID);

/// A record has 16 bits for each.
const MAX_ID: u32 = u16::MAX as u32;

/// Longer names are cut.
const MAX_NAME: usize = 64;

/// A place in the source, and how it is recognized.
struct Location {
    place: Place,
    location: SourceLocation,
}

/// A place in the source, as it is read. A visitor may not keep the file's name: it is known by
/// where it is, its length and its ends. The name is the compiler's own string, so its address
/// tells it from all others, but for those of a library that was unloaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    file: u64,
    line: u32,
    column: u32,
}

impl Place {
    /// Its id; 0 if there is none, or no room for it.
    fn id(self, attributes: &Attributes<'_>) -> u16 {
        if self.file == 0 {
            return 0;
        }
        let hash = mix(self.file ^ u64::from(self.line) << 16 ^ u64::from(self.column));
        let make = || {
            let mut file = File(String::new());
            attributes.record(&mut file);
            let location = SourceLocation {
                file: file.0,
                line: self.line,
                column: self.column,
            };
            Box::new(Location {
                place: self,
                location,
            })
        };
        small(LOCATIONS.intern(hash, |at| at.place == self, make))
    }
}

/// Never 0.
fn mark(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let [head, tail] = [bytes.first_chunk(), bytes.last_chunk()]
        .map(|end| u64::from_ne_bytes(end.copied().unwrap_or_default()));
    mix(mix(bytes.as_ptr() as u64 ^ head) ^ tail ^ bytes.len() as u64) | 1
}

/// Reads the file of a span.
struct File(String);

impl Visit for File {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == LOC_FILE {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn Debug) {}
}

fn small(id: Option<u32>) -> u16 {
    id.and_then(|id| u16::try_from(id).ok()).unwrap_or(0)
}

const LOC_FILE: &str = "loc.file";

#[derive(Default)]
struct Reader {
    fields: SpawnFields,
    place: Place,
}

impl Visit for Reader {
    fn record_u64(&mut self, field: &Field, value: u64) {
        let narrow = u32::try_from(value).unwrap_or(u32::MAX);
        match field.name() {
            "task.id" => self.fields.task_id = value,
            "size.bytes" => self.fields.future_bytes = narrow,
            "loc.line" => self.place.line = narrow,
            "loc.col" => self.place.column = narrow,
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == LOC_FILE {
            self.place.file = mark(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "kind" => self.fields.kind = Kind::of(value),
            "task.name" => {
                let name = text(value);
                if !name.is_empty() {
                    self.fields.name = intern_name(&name) as u16;
                    self.fields.name_dropped = self.fields.name == 0;
                }
            }
            // `tokio::runtime::scheduler::multi_thread::worker::Launch::launch::{{closure}}`
            "fn" => self.fields.is_worker = text(value).starts_with("tokio::runtime::scheduler::"),
            _ => {}
        }
    }
}

/// Reads the kind of a task; tokio writes it in one piece.
struct Kind(Option<TaskKind>);

impl Kind {
    fn of(value: &dyn Debug) -> Option<TaskKind> {
        let mut kind = Kind(None);
        let _always_written = write!(kind, "{value:?}");
        kind.0
    }
}

impl Write for Kind {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = match text {
            "task" => Some(TaskKind::Task),
            "local" => Some(TaskKind::Local),
            "block_on" => Some(TaskKind::BlockOn),
            "blocking" => Some(TaskKind::Blocking),
            _ => None,
        };
        Ok(())
    }
}

fn mix(hash: u64) -> u64 {
    let hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 32
}

/// The text of a value, cut at [`MAX_NAME`] bytes.
fn text(value: &dyn Debug) -> ArrayString<MAX_NAME> {
    struct Cut(ArrayString<MAX_NAME>);
    impl Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            if self.0.try_push_str(text).is_ok() {
                return Ok(());
            }
            let cut = text.floor_char_boundary(self.0.remaining_capacity());
            self.0.try_push_str(&text[..cut]).map_err(|_| fmt::Error)?;
            Err(fmt::Error)
        }
    }
    let mut cut = Cut(ArrayString::new());
    let _was_cut = write!(cut, "{value:?}");
    cut.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_a_character() {
        let long = "ä".repeat(100);
        assert_eq!(text(&format_args!("{long}")).as_str(), "ä".repeat(32));
        assert_eq!(
            text(&format_args!("x{long}")).as_str(),
            format!("x{}", "ä".repeat(31))
        );
        assert_eq!(text(&format_args!("task")).as_str(), "task");
    }
}
