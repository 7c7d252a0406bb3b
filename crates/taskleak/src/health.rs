//! Whether the detector records: it spawns a task and looks whether it saw it.

use std::pin::Pin;
use std::task::{Context, Poll};

use taskleak_stack::DebugInfo;
use tracing::Dispatch;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::subscriber::NoSubscriber;

use crate::error::{NotRecording, Reason};
use crate::recorder::{Recorder, SAW_POLL, SAW_SPAWN, SAW_WAKER};
use crate::{in_force, polls};

/// Spawns a task under the caller's subscriber and says why it was not seen, if it was not.
pub(crate) fn check(recorder: &Recorder) -> Result<(), NotRecording> {
    if !cfg!(tokio_unstable) {
        return Err(Reason::NoTokioUnstable.into());
    }
    if STATIC_MAX_LEVEL < LevelFilter::TRACE {
        return Err(Reason::StaticMaxLevel.into());
    }
    let dispatch = tracing::dispatcher::get_default(Dispatch::clone);
    if !leads_to(&dispatch, recorder) {
        return Err(why_not(&dispatch).into());
    }
    let seen = spawn_and_look(&dispatch).ok_or(Reason::NotChecked)?;
    match seen {
        0 => Err(Reason::NoTokioTracing.into()),
        seen if seen == SAW_SPAWN | SAW_POLL | SAW_WAKER => Ok(()),
        _ => Err(Reason::Filtered.into()),
    }
}

/// What a build with more debug info would add to the stacks of this one.
pub(crate) fn advice(debug_info: DebugInfo) -> Option<&'static str> {
    match debug_info {
        DebugInfo::Full => None,
        DebugInfo::LineTables => Some(
            "stacks name inlined functions without their path (built with `debug = \
             \"line-tables-only\"`); `debug = \"limited\"` in the profile gives it",
        ),
        DebugInfo::SymbolsOnly => Some(
            "stacks have no inlined functions, files and lines (built without debug info); \
             `debug = \"limited\"` in the profile gives them, \
             `-C symbol-mangling-version=v0` gives some of the names",
        ),
        DebugInfo::Stripped => Some(
            "stacks are addresses and build ids (the binary is stripped): `go tool pprof \
             -symbolize=demangle=full UNSTRIPPED_BINARY` names them in a profile, if it is the \
             file that this one was stripped from; `strip = false` in the profile of the build \
             keeps the symbols",
        ),
        _ => None,
    }
}

/// Whether a subscriber hands tokio's tasks to this recorder.
pub(crate) fn leads_to(dispatch: &Dispatch, recorder: &Recorder) -> bool {
    in_force::recorder_of(dispatch).is_some_and(|found| std::ptr::eq(found, recorder))
}

fn why_not(dispatch: &Dispatch) -> Reason {
    if dispatch.is::<NoSubscriber>() {
        Reason::NotInstalled
    } else {
        Reason::OtherSubscriber
    }
}

/// What the detector saw of a task, as bits; `None` if none could be spawned.
fn spawn_and_look(dispatch: &Dispatch) -> Option<u8> {
    std::thread::scope(|scope| {
        let check = || {
            polls::belong_to_detector();
            let _as_the_caller = tracing::dispatcher::set_default(dispatch);
            let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
            runtime
                .block_on(async { tokio::spawn(CloneWakerOnce(false)).await })
                .ok()?;
            Some(polls::seen())
        };
        let thread = std::thread::Builder::new().name("taskleak-check".into());
        thread.spawn_scoped(scope, check).ok()?.join().ok()?
    })
}

/// Ready at its second poll, for which it clones and wakes its waker.
struct CloneWakerOnce(bool);

impl Future for CloneWakerOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        let waker = cx.waker().clone();
        waker.wake();
        Poll::Pending
    }
}
