//! `TaskSubscriber`: the fast front end, around any subscriber.
//!
//! It answers tokio's task spans and waker events itself and forwards all else. The id of such
//! a span is the key of its record, so `enter` and `exit` need no map.
//!
//! Where the wrapped subscriber wants tokio's spans too (console-subscriber does), it has an id
//! of its own for each, which tokio never sees: a map leads from the key to it. A task is over
//! when tokio lets go of its span, whoever keeps the wrapped subscriber's: a `Registry` does as
//! long as a span is open that was made in the task. The detector's own tasks are forwarded to
//! nobody, and of tasks that are not recorded tokio gets the wrapped subscriber's id.

use std::any::TypeId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dashmap::DashMap;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_core::span::Current;

use crate::key::Key;
use crate::polls::{self, Owner};
use crate::record::Exited;
use crate::recorder::Recorder;
use crate::tokio_trace::{Callsite, WakerEvent};

/// A subscriber that records tokio's tasks and forwards everything else to `S`.
///
/// Made by [`Builder::wrap`](crate::Builder::wrap). What `S` does with the spans and events of
/// your program is not changed: its filters, its current span, `downcast_ref`, and reloading
/// work as before. tokio's own task spans and waker events (targets `tokio::task…`) reach `S`
/// only where its filters enable them; that costs both their price.
///
/// # Limits
///
/// The maximum level of `tracing` is TRACE while it is installed, because tokio's spans are of
/// that level. Callsites that `S` has no interest in stay off, at their usual cost: one load.
/// `S` is held to the level that it hints at, even if it would take more.
pub struct TaskSubscriber<S> {
    inner: S,
    recorder: Arc<Recorder>,
    inner_ids: InnerIds,
    /// `S` may want tokio's task spans; asked for each span.
    wants_spans: AtomicBool,
    /// `S` may want tokio's waker events; asked for each event.
    wants_wakers: AtomicBool,
    /// Called on each thread that polls a task.
    entered: Option<fn()>,
}

impl<S: Subscriber> TaskSubscriber<S> {
    pub(crate) fn new(inner: S, recorder: Arc<Recorder>) -> Self {
        TaskSubscriber {
            inner,
            recorder,
            inner_ids: InnerIds::default(),
            wants_spans: AtomicBool::new(false),
            wants_wakers: AtomicBool::new(false),
            entered: None,
        }
    }

    /// Has a function called at each poll of a task.
    #[cfg(feature = "test")]
    pub(crate) fn entered_by(self, entered: fn()) -> Self {
        TaskSubscriber {
            entered: Some(entered),
            ..self
        }
    }

    fn inner_allows(&self, metadata: &Metadata<'_>) -> bool {
        let hint = self.inner.max_level_hint();
        hint.is_none_or(|most| *metadata.level() <= most)
    }

    fn inner_interest(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = self.inner.register_callsite(metadata);
        if self.inner_allows(metadata) {
            interest
        } else {
            Interest::never()
        }
    }

    fn inner_enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner_allows(metadata) && self.inner.enabled(metadata)
    }

    fn spawn(&self, attributes: &Attributes<'_>) -> Id {
        let key = self.recorder.spawn(attributes);
        let id = Id::from_u64(key.span_id());
        if is_detectors(key)
            || !self.wants_spans.load(Ordering::Relaxed)
            || !self.inner_enabled(attributes.metadata())
        {
            return id;
        }
        let inner_id = self.inner.new_span(attributes);
        if key == Key::UNRECORDED {
            return inner_id;
        }
        self.inner_ids.insert(key, inner_id);
        id
    }

    fn waker(&self, event: &Event<'_>) {
        let waker = WakerEvent::of(event);
        let key = Key::from_span_id(waker.span_id);
        if let Some(key) = key {
            self.recorder.waker(waker, key);
            if is_detectors(key) {
                return;
            }
        }
        if !self.wants_wakers.load(Ordering::Relaxed) || !self.inner_enabled(event.metadata()) {
            return;
        }
        match key.and_then(|key| self.inner_ids.get(key)) {
            Some(inner_id) => waker.with_span(event, &inner_id, |event| self.forward(event)),
            None => self.forward(event),
        }
    }

    fn forward(&self, event: &Event<'_>) {
        if self.inner.event_enabled(event) {
            self.inner.event(event);
        }
    }

    /// The key in the id of a span that is ours.
    fn key(&self, id: &Id) -> Option<Key> {
        Key::from_span_id(id.into_u64()).filter(|key| self.recorder.owns(*key))
    }

    /// What the wrapped subscriber calls a span; `None` if it does not know it.
    fn inner_id(&self, id: &Id) -> Option<Id> {
        match self.key(id) {
            Some(key) => self.inner_ids.get(key),
            None => Some(id.clone()),
        }
    }
}

/// A task of the detector's own, which is for nobody else to see either.
fn is_detectors(key: Key) -> bool {
    key == Key::UNRECORDED && polls::owner() == Owner::Detector
}

impl<S: Subscriber> Subscriber for TaskSubscriber<S> {
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        self.inner.on_register_dispatch(dispatch);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = self.inner_interest(metadata);
        let wanted = !interest.is_never();
        match Callsite::of(metadata) {
            Some(Callsite::Spawn) => self.wants_spans.fetch_or(wanted, Ordering::Relaxed),
            Some(Callsite::Waker) => self.wants_wakers.fetch_or(wanted, Ordering::Relaxed),
            None => return interest,
        };
        Interest::always()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Callsite::of(metadata).is_some() || self.inner_enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        match Callsite::of(attributes.metadata()) {
            Some(Callsite::Spawn) => self.spawn(attributes),
            _ => self.inner.new_span(attributes),
        }
    }

    fn event_enabled(&self, event: &Event<'_>) -> bool {
        Callsite::of(event.metadata()).is_some() || self.inner.event_enabled(event)
    }

    fn event(&self, event: &Event<'_>) {
        match Callsite::of(event.metadata()) {
            Some(Callsite::Waker) => self.waker(event),
            _ => self.inner.event(event),
        }
    }

    fn enter(&self, id: &Id) {
        match Key::from_span_id(id.into_u64()) {
            Some(key) if self.recorder.enter(key) => {
                if let Some(entered) = self.entered {
                    entered();
                }
                if let Some(inner_id) = self.inner_ids.get(key) {
                    self.inner.enter(&inner_id);
                }
            }
            _ => self.inner.enter(id),
        }
    }

    fn exit(&self, id: &Id) {
        match Key::from_span_id(id.into_u64()) {
            Some(key) if self.recorder.exit(key) != Exited::NotOurs => {
                if let Some(inner_id) = self.inner_ids.get(key) {
                    self.inner.exit(&inner_id);
                }
            }
            _ => self.inner.exit(id),
        }
    }

    fn clone_span(&self, id: &Id) -> Id {
        match self.key(id) {
            Some(key) => {
                self.recorder.clone_span(key);
                id.clone()
            }
            None => self.inner.clone_span(id),
        }
    }

    fn try_close(&self, id: Id) -> bool {
        let Some(key) = self.key(&id) else {
            return self.inner.try_close(id);
        };
        let is_over = self.recorder.drop_span(key);
        if is_over && let Some(inner_id) = self.inner_ids.remove(key) {
            self.inner.try_close(inner_id);
        }
        is_over
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        if let Some(inner_id) = self.inner_id(id) {
            self.inner.record(&inner_id, values);
        }
    }

    fn record_follows_from(&self, id: &Id, follows: &Id) {
        if let (Some(inner_id), Some(follows)) = (self.inner_id(id), self.inner_id(follows)) {
            self.inner.record_follows_from(&inner_id, &follows);
        }
    }

    fn current_span(&self) -> Current {
        self.inner.current_span()
    }

    // The trait's own method is unsafe, so an implementation of it must be: the one place
    // outside taskleak-stack. Without it tracing-opentelemetry and `reload` lose the subscriber.
    #[allow(unsafe_code)]
    unsafe fn downcast_raw(&self, id: TypeId) -> Option<*const ()> {
        if id == TypeId::of::<Self>() {
            return Some(std::ptr::from_ref(self).cast());
        }
        if id == TypeId::of::<Recorder>() {
            return Some(std::ptr::from_ref(&*self.recorder).cast());
        }
        // SAFETY: the caller upholds `downcast_raw`'s contract, which is the same for `inner`;
        // the pointer is into `self`, which outlives the borrow that the caller makes of it.
        unsafe { self.inner.downcast_raw(id) }
    }
}

impl<S> std::fmt::Debug for TaskSubscriber<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskSubscriber").finish_non_exhaustive()
    }
}

/// What the wrapped subscriber calls the spans of tasks that it wants too.
///
/// Its locks are held for one look-up in memory, with nothing of the host's inside.
#[derive(Debug, Default)]
struct InnerIds {
    used: AtomicBool,
    ids: DashMap<Key, Id>,
}

impl InnerIds {
    fn insert(&self, key: Key, inner_id: Id) {
        self.used.store(true, Ordering::Relaxed);
        self.ids.insert(key, inner_id);
    }

    fn get(&self, key: Key) -> Option<Id> {
        if !self.used.load(Ordering::Relaxed) {
            return None;
        }
        self.ids.get(&key).map(|inner_id| inner_id.clone())
    }

    fn remove(&self, key: Key) -> Option<Id> {
        if !self.used.load(Ordering::Relaxed) {
            return None;
        }
        self.ids.remove(&key).map(|(_, inner_id)| inner_id)
    }
}

#[cfg(all(test, not(taskleak_loom)))]
mod tests {
    use std::sync::{Mutex, Once};

    use tracing::subscriber::with_default;
    use tracing_subscriber::filter::{FilterFn, Targets};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
    use tracing_subscriber::registry::{LookupSpan, Registry};
    use tracing_subscriber::reload;

    use super::*;
    use crate::Detector;

    /// Notes the spans and events that reach it, events with the span that they are in.
    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Notes {
        fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
            let name = attributes.metadata().name();
            self.0.lock().unwrap().push(format!("span {name}"));
        }

        fn on_close(&self, id: Id, context: Context<'_, S>) {
            let name = context.span(&id).map_or("?", |span| span.name());
            self.0.lock().unwrap().push(format!("closed {name}"));
        }

        fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
            let span = context.event_span(event).map(|span| span.name());
            let note = format!("{} in {span:?}", event.metadata().target());
            self.0.lock().unwrap().push(note);
        }
    }

    impl Notes {
        /// A callsite that another thread registers at this moment is not asked about.
        fn once_tokio_is_known() -> Notes {
            static KNOWN: Once = Once::new();
            KNOWN.call_once(spawn_one);
            Notes::default()
        }

        fn count(&self, part: &str) -> usize {
            let notes = self.0.lock().unwrap();
            notes.iter().filter(|note| note.contains(part)).count()
        }
    }

    /// Spawns a task that logs in a span of its own and yields.
    fn spawn_one() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let task = tokio::spawn(async {
                let span = tracing::info_span!("order");
                span.in_scope(|| tracing::info!(target: "shop", "packed"));
                tokio::task::yield_now().await;
                tracing::debug!(target: "shop::quiet", "yielded");
            });
            task.await.unwrap();
        });
    }

    fn spawned(detector: &Detector) -> u64 {
        detector.shared.recorder.copy_tasks(|_| ())
    }

    fn alive(detector: &Detector) -> usize {
        let mut alive = 0;
        detector.shared.recorder.copy_tasks(|_| alive += 1);
        alive
    }

    #[test]
    fn a_task_is_over_though_spans_made_in_it_are_open() {
        let notes = Notes::once_tokio_is_known();
        let registry = Registry::default().with(notes.clone());
        let (subscriber, detector) = Detector::builder().wrap(registry);
        with_default(subscriber, || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            let (child, current) = runtime.block_on(async {
                let task = async { (tracing::info_span!("child"), tracing::Span::current()) };
                tokio::spawn(task).await.unwrap()
            });
            assert_eq!(notes.count("span child"), 1);
            assert_eq!(alive(&detector), 0);
            drop((child, current));
        });
        assert_eq!(notes.count("closed child"), 1);
        assert_eq!(notes.count("closed runtime.spawn"), 2);
    }

    #[test]
    fn what_is_not_tokios_reaches_the_wrapped_subscriber() {
        let notes = Notes::once_tokio_is_known();
        let targets = Targets::new().with_target("shop", tracing::Level::INFO);
        let registry = Registry::default().with(notes.clone().with_filter(targets.clone()));
        let (subscriber, detector) = Detector::builder().wrap(registry);
        with_default(subscriber, spawn_one);
        assert!(spawned(&detector) >= 1);
        assert_eq!(notes.count("shop in None"), 1, "the filter drops `order`");
        assert_eq!(notes.count("shop::quiet"), 0);
        assert_eq!(notes.count("runtime.spawn"), 0);
        assert_eq!(notes.count("tokio::task::waker"), 0);
    }

    #[test]
    fn tokios_own_reach_a_subscriber_that_wants_them() {
        let notes = Notes::once_tokio_is_known();
        let registry = Registry::default().with(notes.clone());
        let (subscriber, detector) = Detector::builder().wrap(registry);
        with_default(subscriber, spawn_one);
        // The task, and the `block_on` around it.
        assert_eq!(spawned(&detector), 2);
        assert_eq!(notes.count("span runtime.spawn"), 2);
        assert!(notes.count("tokio::task::waker in Some(\"runtime.spawn\")") > 0);
        assert_eq!(notes.count("shop in Some(\"order\")"), 1);
        let alive = {
            let mut alive = 0;
            detector.shared.recorder.copy_tasks(|_| alive += 1);
            alive
        };
        assert_eq!(
            alive, 0,
            "tasks end under the ids of the wrapped subscriber too"
        );
    }

    #[test]
    fn the_wrapped_subscriber_is_found_and_reloads() {
        let notes = Notes::once_tokio_is_known();
        let (filter, handle) =
            reload::Layer::new(FilterFn::new((|_| false) as fn(&Metadata<'_>) -> bool));
        let registry = Registry::default().with(notes.clone().with_filter(filter));
        let (subscriber, _detector) = Detector::builder().wrap(registry);
        let dispatch = Dispatch::new(subscriber);
        assert!(dispatch.is::<Registry>() && dispatch.is::<Recorder>());
        tracing::dispatcher::with_default(&dispatch, || {
            spawn_one();
            assert_eq!(notes.count("shop"), 0);
            handle
                .modify(|filter| *filter = FilterFn::new(|at| at.target().starts_with("shop")))
                .unwrap();
            spawn_one();
            assert_eq!(notes.count("shop in None"), 1);
            assert_eq!(tracing::Span::current().id(), None);
            tracing::info_span!(target: "shop", "outer").in_scope(|| {
                assert!(dispatch.current_span().id().is_some());
            });
        });
    }
}
