//! Which runtime polls a task: ids and names of every runtime that was seen, watched or not.

use std::hash::{Hash, Hasher};

use taskleak_stack::Interner;
use tokio::runtime::Handle;

/// A runtime, as tokio knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuntimeName {
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
}

impl RuntimeName {
    pub(crate) fn of(handle: &Handle) -> RuntimeName {
        RuntimeName {
            id: number_of(handle.id()),
            name: handle.name().map(str::to_owned),
        }
    }

    /// The name given to the runtime's builder, else `runtime-ID`.
    pub(crate) fn label(&self) -> String {
        self.name
            .clone()
            .unwrap_or_else(|| format!("runtime-{}", self.id))
    }
}

/// tokio gives the id of a runtime that ended to another one, so names are part of the entry.
static SEEN: Interner<RuntimeName> = Interner::new(1 << 16);

/// A small id for the runtime that this thread is in the context of.
pub(crate) fn current() -> Option<u32> {
    intern(&Handle::try_current().ok()?)
}

/// The small id of a runtime; `None` if too many were seen.
pub(crate) fn intern(handle: &Handle) -> Option<u32> {
    let id = number_of(handle.id());
    let same = |seen: &RuntimeName| seen.id == id && seen.name.as_deref() == handle.name();
    SEEN.intern(id, same, || Box::new(RuntimeName::of(handle)))
}

pub(crate) fn get(id: u32) -> Option<&'static RuntimeName> {
    SEEN.get(id)
}

/// The number of a task's or a runtime's id. tokio shows it only through its traits; hashing it is
/// the one without text.
pub(crate) fn number_of(id: impl Hash) -> u64 {
    struct Number(u64);
    impl Hasher for Number {
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = self.0 << 8 | u64::from(*byte);
            }
        }
        fn write_u64(&mut self, number: u64) {
            self.0 = number;
        }
        fn finish(&self) -> u64 {
            self.0
        }
    }
    let mut hasher = Number(0);
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_one_that_tokio_shows() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let id = runtime.handle().id();
        assert_eq!(number_of(id).to_string(), id.to_string());
    }

    #[test]
    fn a_thread_knows_its_runtime() {
        assert_eq!(current(), None);
        let named = |name: &str| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.name(name).build().unwrap()
        };
        let (a, b) = (named("a"), named("b"));
        let name = || get(current().unwrap()).unwrap().label();
        assert_eq!(a.block_on(async { name() }), "a");
        assert_eq!(b.block_on(async { name() }), "b");
        assert_eq!(a.block_on(async { name() }), "a");
    }
}
