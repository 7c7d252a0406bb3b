//! The endpoint's own server: a thread with a small runtime, so it answers when the host's
//! runtimes are wedged.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio_io_timeout::TimeoutStream;

use super::guard::Guard;
use super::service::DebugService;
use crate::Detector;
use crate::polls;

/// Connections at once; more wait for their turn.
const MAX_CONNECTIONS: usize = 64;
/// A request's head has to be there within this time.
const READ_HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;
/// A connection on which nothing can be written for so long is cut.
const WRITE_STALLED_AFTER: Duration = Duration::from_secs(30);
/// After an accept that failed (no file descriptors left, mostly).
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// The debug endpoint could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind the debug endpoint to {address}: {cause}")]
pub struct ServeError {
    address: String,
    cause: ServeCause,
}

#[derive(Debug, thiserror::Error)]
enum ServeCause {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the address names no socket")]
    NoAddress,
    #[error(
        "it is not a loopback address; `Builder::expose_beyond_loopback` allows that, with a token"
    )]
    NotLoopback,
}

/// The running debug endpoint.
///
/// It goes on until [`stop`](Self::stop) or the end of the process; dropping this changes
/// nothing.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    /// The address it listens at; tells the port that was chosen for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops it: closes its socket and cuts its connections. Returns once they are gone.
    pub fn stop(self) {
        let _already_over = self.stop.send(());
        let _panicked = self.thread.join();
    }
}

pub(super) fn serve(detector: &Detector, address: &str) -> Result<Server, ServeError> {
    let fail = |cause: ServeCause| ServeError {
        address: address.to_owned(),
        cause,
    };
    start(detector, address).map_err(fail)
}

fn start(detector: &Detector, address: &str) -> Result<Server, ServeCause> {
    let address = address
        .to_socket_addrs()?
        .next()
        .ok_or(ServeCause::NoAddress)?;
    let guard = match (address.ip().is_loopback(), &detector.shared.token) {
        (true, _) => Guard::loopback(),
        (false, Some(token)) => Guard::token(token),
        (false, None) => return Err(ServeCause::NotLoopback),
    };
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel();
    let service = DebugService::new(detector);
    let shared = Arc::downgrade(&detector.shared);
    let run = move || {
        polls::belong_to_detector();
        if let Err(error) = run(listener, service, guard, stopped)
            && let Some(shared) = shared.upgrade()
        {
            shared.note_fault(format!(
                "cannot serve the debug endpoint at {address}: {error}"
            ));
        }
    };
    let thread = thread::Builder::new()
        .name("taskleak-http".into())
        .spawn(run)?;
    if let Err(error) = detector.verify() {
        tracing::error!(target: "taskleak", "{error}");
    }
    Ok(Server {
        address,
        stop,
        thread,
    })
}

fn run(
    listener: StdListener,
    service: DebugService,
    guard: Guard,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        tokio::spawn(accept(listener, service, Arc::new(guard)));
        // The end of the runtime cuts what is under way.
        stop_wanted(stopped).await;
        Ok(())
    })
}

/// Without a stop the sender may just have been dropped: then there is no stop.
async fn stop_wanted(stopped: oneshot::Receiver<()>) {
    if stopped.await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn accept(listener: TcpListener, service: DebugService, guard: Arc<Guard>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = connection(stream, service.clone(), Arc::clone(&guard));
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN_AFTER).await,
        }
    }
}

async fn connection(stream: TcpStream, service: DebugService, guard: Arc<Guard>) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_STALLED_AFTER));
    let answer = service_fn(move |request| {
        let refused = guard.refuse(&request);
        let service = service.clone();
        async move {
            Ok::<_, std::convert::Infallible>(match refused {
                Some(refusal) => refusal,
                None => service.answer(request.map(drop)).await,
            })
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_HEAD_WITHIN)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), answer);
    // A connection that breaks is the client's affair.
    let _broken = served.await;
}
