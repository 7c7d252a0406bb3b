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
    const ALL: [WakerOp; 4] = [
        WakerOp::Clone,
        WakerOp::Drop,
        WakerOp::Wake,
        WakerOp::WakeByRef,
    ];

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
        self.op = WakerOp::ALL.into_iter().find(|op| op.word() == value);
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
    pub(crate) name: u32,
    /// The name found no room in the table.
    pub(crate) name_dropped: bool,
    /// The id of the place of the spawn; 0 for none.
    pub(crate) location: u32,
    /// A worker of a multi-thread runtime, which tokio runs on its blocking pool.
    pub(crate) is_worker: bool,
}

impl SpawnFields {
    pub(crate) fn of(attributes: &Attributes<'_>) -> SpawnFields {
        let mut read = Reader::default();
        attributes.record(&mut read);
        let location = match read.file {
            0 => 0,
            file => intern_location(file, read.line, read.column),
        };
        SpawnFields {
            location,
            ..read.fields
        }
    }
}

/// The name with this id.
pub(crate) fn name(id: u32) -> Option<&'static str> {
    NAMES.get(id)
}

/// The id of a name, of a task or a scope; 0 if there is no room for it.
pub(crate) fn intern_name(name: &str) -> u32 {
    let hash = name
        .bytes()
        .fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
    intern_text(&NAMES, name, hash)
}

/// The place in the source with this id.
pub(crate) fn location(id: u32) -> Option<SourceLocation> {
    let at = LOCATIONS.get(id)?;
    let file = FILES.get(at.file)?.to_owned();
    Some(SourceLocation {
        file,
        line: at.line,
        column: at.column,
    })
}

static NAMES: Interner<str> = Interner::new(1 << 16);
static FILES: Interner<str> = Interner::new(1 << 16);
static LOCATIONS: Interner<Location> = Interner::new(1 << 16);

/// Longer names are cut.
const MAX_NAME: usize = 64;

#[derive(Debug, PartialEq, Eq)]
struct Location {
    file: u32,
    line: u32,
    column: u32,
}

fn intern_location(file: u32, line: u32, column: u32) -> u32 {
    let location = Location { file, line, column };
    let hash = u64::from(file) << 40 ^ u64::from(line) << 16 ^ u64::from(column);
    LOCATIONS
        .intern(
            mix(hash),
            |seen| *seen == location,
            || Box::new(Location { ..location }),
        )
        .unwrap_or(0)
}

fn intern_text(table: &'static Interner<str>, text: &str, hash: u64) -> u32 {
    table
        .intern(mix(hash), |seen| seen == text, || text.into())
        .unwrap_or(0)
}

#[derive(Default)]
struct Reader {
    fields: SpawnFields,
    file: u32,
    line: u32,
    column: u32,
}

impl Visit for Reader {
    fn record_u64(&mut self, field: &Field, value: u64) {
        let small = u32::try_from(value).unwrap_or(u32::MAX);
        match field.name() {
            "task.id" => self.fields.task_id = value,
            "size.bytes" => self.fields.future_bytes = small,
            "loc.line" => self.line = small,
            "loc.col" => self.column = small,
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "loc.file" {
            // The compiler's own string: the same address each time, so that is its hash.
            self.file = intern_text(&FILES, value, value.as_ptr() as u64 ^ value.len() as u64);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "kind" => {
                self.fields.kind = match text(value).as_str() {
                    "task" => Some(TaskKind::Task),
                    "local" => Some(TaskKind::Local),
                    "block_on" => Some(TaskKind::BlockOn),
                    "blocking" => Some(TaskKind::Blocking),
                    _ => None,
                };
            }
            "task.name" => {
                let name = text(value);
                if !name.is_empty() {
                    self.fields.name = intern_name(&name);
                    self.fields.name_dropped = self.fields.name == 0;
                }
            }
            // `tokio::runtime::scheduler::multi_thread::worker::Launch::launch::{{closure}}`
            "fn" => self.fields.is_worker = text(value).starts_with("tokio::runtime::scheduler::"),
            _ => {}
        }
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
