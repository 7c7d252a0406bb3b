//! `TaskLayer`: the front end for those who compose a `Registry` themselves.

use std::cell::Cell;
use std::sync::Arc;

use dashmap::DashMap;
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, Filtered};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::key::Key;
use crate::record::Exited;
use crate::recorder::Recorder;
use crate::tokio_trace::{Callsite, WakerEvent};

/// A layer that records tokio's tasks.
///
/// Made by [`Builder::layer`](crate::Builder::layer), which gives it with a filter of its own,
/// so that it takes nothing but tokio's task spans and waker events.
///
/// # Limits
///
/// A registry keeps a span open as long as one that was made in it, and tells no layer when tokio
/// lets go of it. That a task has ended is seen by its future's drop, which leaves no waker
/// behind; one that keeps a waker (in a channel whose other end lives on) is listed until the
/// spans that were made in it are closed. [`Builder::wrap`](crate::Builder::wrap) is told.
///
/// A filter that stands in the stack as a layer (`.with(EnvFilter::…)`) holds for this layer
/// too: give such filters to the layers they are meant for (`Layer::with_filter`). A registry
/// costs more for each spawn and poll than [`TaskSubscriber`](crate::TaskSubscriber) does.
pub struct TaskLayer {
    recorder: Arc<Recorder>,
    /// From the registry's ids to records. Its locks are held for one look-up in memory.
    keys: DashMap<u64, Key>,
}

/// What this thread looked up in [`TaskLayer::keys`]: a look there takes two locked instructions.
///
/// As long as the task of a key lives, its span is open, and so the registry's id is no other's.
struct Known {
    recorder: Cell<u32>,
    id: Cell<u64>,
    key: Cell<Key>,
}

const KNOWN: usize = 64;

thread_local! {
    static LOOKED_UP: [Known; KNOWN] = const {
        [const {
            Known {
                recorder: Cell::new(0),
                id: Cell::new(0),
                key: Cell::new(Key::UNRECORDED),
            }
        }; KNOWN]
    };
}

/// A [`TaskLayer`] that is given nothing but what tokio says of its tasks.
pub type FilteredTaskLayer<S> = Filtered<TaskLayer, FilterFn, S>;

impl TaskLayer {
    pub(crate) fn filtered<S>(recorder: Arc<Recorder>) -> FilteredTaskLayer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let layer = TaskLayer {
            recorder,
            keys: DashMap::new(),
        };
        layer.with_filter(FilterFn::new(is_tokios as fn(&Metadata<'_>) -> bool))
    }

    fn key(&self, id: u64) -> Option<Key> {
        LOOKED_UP.with(|known| {
            // The registry counts from 0 on each thread, whose number stands in higher bits.
            let known = &known[(id ^ id >> 38) as usize % KNOWN];
            if known.id.get() == id && known.recorder.get() == self.recorder.id() {
                let key = known.key.get();
                if self.recorder.is_alive(key) {
                    return Some(key);
                }
            }
            let key = self.keys.get(&id).map(|key| *key)?;
            known.recorder.set(self.recorder.id());
            known.id.set(id);
            known.key.set(key);
            Some(key)
        })
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }
}

impl<S> Layer<S> for TaskLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        if Callsite::of(attributes.metadata()) == Some(Callsite::Spawn) {
            self.keys
                .insert(id.into_u64(), self.recorder.spawn(attributes));
        }
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        if let Some(key) = self.key(id.into_u64()) {
            self.recorder.enter_span(key);
        }
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        // The registry closes the span once every span that was made in it is closed, and that
        // may be long after the task has ended.
        if let Some(key) = self.key(id.into_u64())
            && self.recorder.exit_span(key) == Exited::Dropped
        {
            self.recorder.end(key);
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if Callsite::of(event.metadata()) == Some(Callsite::Waker) {
            let waker = WakerEvent::of(event);
            if let Some(key) = self.key(waker.span_id) {
                self.recorder.waker(waker, key);
            }
        }
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        if let Some((_, key)) = self.keys.remove(&id.into_u64()) {
            self.recorder.end(key);
        }
    }
}

impl std::fmt::Debug for TaskLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskLayer").finish_non_exhaustive()
    }
}

fn is_tokios(metadata: &Metadata<'_>) -> bool {
    Callsite::of(metadata).is_some()
}

#[cfg(all(test, not(taskleak_loom)))]
mod tests {
    use std::thread;

    use taskleak_profile::snapshot::{Kind, State};
    use tracing::{Instrument, Span};
    use tracing_subscriber::layer::SubscriberExt;

    use crate::Detector;

    /// How many spawned tasks wait for what.
    fn waits(detector: &Detector) -> Vec<String> {
        let groups = detector.snapshot().groups;
        let of_tasks = groups.into_iter().filter(|group| group.kind == Kind::Task);
        let mut waits: Vec<String> = of_tasks
            .map(|group| {
                assert_eq!(group.state, State::Waiting);
                assert_eq!(group.wakers_without_stack, 0);
                assert_eq!(group.waits_guessed, 0);
                format!("{} {:?}", group.count, group.wait)
            })
            .collect();
        waits.sort();
        waits
    }

    /// The polls of one are within those of the other.
    #[test]
    fn detectors_that_meet_see_the_same() {
        let (layer, inner) = Detector::builder().layer();
        let registry = tracing_subscriber::registry().with(layer);
        let (subscriber, outer) = Detector::builder().wrap(registry);
        tracing::subscriber::with_default(subscriber, || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            let (to_task, from_test) = tokio::sync::oneshot::channel::<()>();
            let task = runtime.spawn(async { tokio::spawn(from_test).await });
            runtime.block_on(async {
                for _ in 0..5 {
                    tokio::task::yield_now().await;
                }
                for detector in [&outer, &inner] {
                    assert_eq!(waits(detector), ["1 [ChanReceive]", "1 [Join]"]);
                }
                to_task.send(()).unwrap();
                task.await.unwrap().unwrap().unwrap();
                for detector in [&outer, &inner] {
                    assert!(waits(detector).is_empty());
                }
            });
        });
    }

    /// The span of a task is `Span::current()` in its poll, and user code enters it where it
    /// likes: around a part of the task, in a task that it spawns, on another thread.
    #[test]
    fn a_task_outlives_those_who_enter_its_span() {
        let (layer, detector) = Detector::builder().layer();
        let registry = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(registry, || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            let (to_task, from_test) = tokio::sync::oneshot::channel::<()>();
            let task = async move {
                async { Span::current().in_scope(|| ()) }
                    .in_current_span()
                    .await;
                let child = tokio::spawn(tokio::task::yield_now().in_current_span());
                child.await.unwrap();
                let span = Span::current();
                thread::spawn(move || span.in_scope(|| ())).join().unwrap();
                tokio::spawn(from_test.in_current_span()).await.unwrap()
            };
            runtime.block_on(async {
                let task = tokio::spawn(task.in_current_span());
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(waits(&detector), ["1 [ChanReceive]", "1 [Join]"]);
                to_task.send(()).unwrap();
                task.await.unwrap().unwrap();
                assert!(waits(&detector).is_empty());
            });
        });
    }
}
