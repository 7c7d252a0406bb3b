//! The attribute macros of taskleak. Use them through the crate `taskleak`, which documents
//! what they do; this crate holds the parsing of their arguments and the code they expand to.

mod arguments;
mod main_attribute;
mod test_attribute;

use syn::Error;

/// Runs an async `main` on a watched tokio runtime, under a detector.
///
/// In place of `#[tokio::main]`:
///
/// ```
/// #[taskleak::main(serve = "127.0.0.1:0")]
/// async fn main() {
///     tokio::spawn(async { /* … */ }).await.unwrap();
/// }
/// ```
///
/// | argument | meaning |
/// |---|---|
/// | `serve = "127.0.0.1:6060"` | serves the debug endpoint at this address |
/// | `subscriber = EXPR` | the subscriber to wrap, evaluated before the runtime is built; without it the detector is the only one |
/// | `flavor = "multi_thread"` | or `"current_thread"`; as for `tokio::main` |
/// | `worker_threads = 4` | as for `tokio::main` |
/// | `name = "api"` | the name of the runtime |
///
/// `main` may return what any `main` may. What keeps the detector from recording or serving is
/// told on standard error in one line, and the program runs without it.
///
/// # Limits
///
/// The subscriber is installed before the body runs, so the body must not install a global one
/// of its own: pass it as `subscriber`.
#[proc_macro_attribute]
pub fn main(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    main_attribute::expand(arguments.into(), item.into())
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

/// Runs an async test, and fails it if tasks that it started, or that those started, are still
/// alive after it.
///
/// In place of `#[tokio::test]`:
///
/// ```
/// #[taskleak::test]
/// async fn a_test() {
///     tokio::spawn(async { /* … */ }).await.unwrap();
/// }
/// # fn main() {}
/// ```
///
/// When the body is over, it waits for tasks to end: not at all if none is left, at most a second.
/// If some stay, the test fails with a page that says for each group what it waits for, where, who
/// spawned it (the test's own lines are marked), and what would allow it.
///
/// | argument | meaning |
/// |---|---|
/// | `flavor`, `worker_threads`, `start_paused`, `unhandled_panic`, `crate` | as for `tokio::test` |
/// | `settle = "5s"` | how long tasks may take to end; `"0s"` for those that are ready to |
/// | `timeout = "10s"` | fails if the body has not ended by then, with the profile of its tasks: which waits where, the body included |
/// | `allow = "function=shop::worker"` | allows tasks to stay: a function, a `crate`, a place (`spawned_at=src/pool.rs:52`), a `name`, a `wait`, or several of these joined by commas ([`Allow`]); several rules stand in brackets |
/// | `on_failure` | looks for tasks also where the body failed; a page then goes to standard error, before the body's own failure |
///
/// [`Allow`]: https://docs.rs/taskleak-profile/latest/taskleak_profile/allow/struct.Allow.html
///
/// A test may return `()`, a `Result`, an `ExitCode` or `Infallible`, and no other `Termination`. `#[should_panic]`, `#[ignore]` and others
/// stand beside it; `#[rstest]`, `#[test_log::test(taskleak::test)]` and `#[traced_test]` above
/// it. A test that should panic and leaks tasks does not pass: it then ends without a panic.
///
/// Set the environment variable `TASKLEAK_TEST` to `warn` to have leaks told on standard error, and
/// fail no test for them, for a first rollout; a `timeout` still fails. Tasks that are known to be no leak are allowed: those of
/// [`taskleak::daemon`](https://docs.rs/taskleak/latest/taskleak/fn.daemon.html), and the noise of
/// libraries that `taskleak_profile::noise` lists.
///
/// A process that gets a SIGTERM, as from a test runner that has waited long enough, tells the
/// profile of each test under way on standard error before it ends.
///
/// # Limits
///
/// - A task is a test's if it was spawned by the test's body, by a task of the test, or in its
///   `spawn_blocking`, or runs on the test's runtime. Of one that a thread of the test's own spawns
///   there it is only known that it is alive; on a runtime that such a thread makes it is not seen.
/// - Under a paused clock the timers of the tasks that are left fire as soon as nothing else is to be
///   done: a task that only sleeps has ended then, however long it would have slept.
/// - A subscriber that the body sets for its thread hides what is spawned under it; the test then
///   fails, and says to pass it through `taskleak::recording`. Global ones need nothing.
/// - A test whose thread is blocked can't be ended: with a `timeout` the process is, ten seconds
///   after it, with the page.
/// - A wake by a thread under another subscriber (one of the test's own) is not told of. The task's
///   waits are then a guess, and the page says so.
/// - A `Dispatch` does not forward `downcast_raw`: `Span::context` of tracing-opentelemetry and its
///   like find nothing in a test.
#[proc_macro_attribute]
pub fn test(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    test_attribute::expand(arguments.into(), item.into()).into()
}
