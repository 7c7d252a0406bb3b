//! How a program is instrumented by hand. The cases are generic over it, so that each variant
//! runs the same program, and the one that is not instrumented has nothing of it.

use tokio::task::JoinHandle;

/// Wraps the futures of a program, and spawns them.
pub(crate) trait Instrument: Send + Sync + 'static {
    /// Spawns a task.
    fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static;

    /// The future of one of the program's own async fns, where it is awaited.
    fn call<F: Future + Send>(
        _name: &'static str,
        future: F,
    ) -> impl Future<Output = F::Output> + Send {
        future
    }

    /// The future of a library, where it is awaited.
    fn leaf<F: Future + Send>(
        _name: &'static str,
        future: F,
    ) -> impl Future<Output = F::Output> + Send {
        future
    }
}

/// Nothing is wrapped.
pub(crate) struct Bare;

impl Instrument for Bare {
    #[inline(always)]
    fn spawn<F>(_name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(future)
    }
}

/// As dial9's README has it: with its own spawn, because of others it has no dumps.
#[cfg(taskleak_dial9)]
pub(crate) struct Dial9;

#[cfg(taskleak_dial9)]
impl Instrument for Dial9 {
    fn spawn<F>(_name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        dial9::spawn(future)
    }
}

/// As await-tree's README has it: each task is registered, each await has a span.
#[cfg(feature = "peers")]
pub(crate) struct AwaitTree;

#[cfg(feature = "peers")]
impl Instrument for AwaitTree {
    #[inline(always)]
    fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let root = await_tree::Registry::current().register_anonymous(name);
        tokio::spawn(root.instrument(future))
    }

    fn call<F: Future + Send>(
        name: &'static str,
        future: F,
    ) -> impl Future<Output = F::Output> + Send {
        await_tree::InstrumentAwait::instrument_await(future, name)
    }

    fn leaf<F: Future + Send>(
        name: &'static str,
        future: F,
    ) -> impl Future<Output = F::Output> + Send {
        await_tree::InstrumentAwait::instrument_await(future, name)
    }
}

/// As async-backtrace's README has it: tasks and the program's own async fns are framed, and
/// libraries, which it has no say in, are not.
#[cfg(feature = "peers")]
pub(crate) struct AsyncBacktrace;

#[cfg(feature = "peers")]
impl Instrument for AsyncBacktrace {
    #[inline(always)]
    fn spawn<F>(_name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(async_backtrace::frame!(future))
    }

    fn call<F: Future + Send>(
        _name: &'static str,
        future: F,
    ) -> impl Future<Output = F::Output> + Send {
        async_backtrace::frame!(future)
    }
}
