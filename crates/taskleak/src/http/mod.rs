//! The debug endpoint: paths, guard, own server, and a service to mount elsewhere.
//!
//! Rules: GET and HEAD only; nothing is cached or sniffed; every answer is rendered on a thread
//! of the detector's own and streamed; what a client does to its connection harms no other.

mod body;
mod guard;
mod limits;
mod places;
mod route;
mod server;
mod service;

pub use body::{Body, BodyError};
pub use server::{ServeError, Server};
pub use service::DebugService;

use self::limits::Limits;
use crate::Detector;

impl Detector {
    /// Serves the debug endpoint at `address`, on a thread with a small runtime of its own:
    /// it answers while the program's runtimes are wedged, and its tasks are not in the
    /// profile.
    ///
    /// | path | answer |
    /// |---|---|
    /// | `/debug/tasks` | the tasks in groups; `?debug=2` each task, `?format=json`, `pprof`, `folded` |
    /// | `/debug/tasks/ID` | one task |
    /// | `/debug/leaks` | the tasks with a verdict of the watchdog; as `/debug/tasks` |
    /// | `/debug/pprof/` | the profiles, with a count for each |
    /// | `/debug/pprof/tasks` | the task profile for `go tool pprof`; `?debug=1`, `?debug=2` text |
    /// | `/debug/pprof/taskleaks` | the same of the tasks with a verdict |
    /// | `/debug/pprof/cmdline` | the command line, its arguments apart by NUL bytes |
    ///
    /// Loopback addresses alone are taken, and requests whose `Host` names one, unless
    /// [`Builder::expose_beyond_loopback`](crate::Builder::expose_beyond_loopback) was called.
    /// Port 0 chooses a free port ([`Server::local_addr`]).
    ///
    /// # Errors
    ///
    /// The address is not a loopback address, is in use, or can't be bound.
    pub fn serve(&self, address: &str) -> Result<Server, ServeError> {
        server::serve(self, address, Limits::default())
    }

    /// The debug endpoint as a service for a server of your own.
    pub fn service(&self) -> DebugService {
        DebugService::new(self, Limits::default())
    }
}
