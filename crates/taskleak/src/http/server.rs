//! The endpoint's own server: a thread with a small runtime, so it answers when the host's
//! runtimes are wedged.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio_io_timeout::TimeoutStream;

use super::body::Body;
use super::guard::Guard;
use super::limits::Limits;
use super::service::DebugService;
use crate::Detector;
use crate::polls;

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

pub(super) fn serve(
    detector: &Detector,
    address: &str,
    limits: Limits,
) -> Result<Server, ServeError> {
    let fail = |cause: ServeCause| ServeError {
        address: address.to_owned(),
        cause,
    };
    start(detector, address, limits).map_err(fail)
}

fn start(detector: &Detector, address: &str, limits: Limits) -> Result<Server, ServeCause> {
    let token = detector.shared.token.as_deref();
    let (listener, guard) = bind(address, token)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel();
    let answers = Guarded {
        service: DebugService::new(detector, limits),
        guard: Arc::new(guard),
    };
    let shared = Arc::downgrade(&detector.shared);
    let run = move || {
        polls::belong_to_detector();
        if let Err(error) = run(listener, answers, limits, stopped)
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

/// Binds the first of the addresses that can be: `localhost` may name one of a protocol that
/// the machine has switched off.
fn bind(address: &str, token: Option<&str>) -> Result<(StdListener, Guard), ServeCause> {
    let mut failed = ServeCause::NoAddress;
    for address in address.to_socket_addrs()? {
        let guard = match (address.ip().is_loopback(), token) {
            (true, _) => Guard::loopback(),
            (false, Some(token)) => Guard::token(token),
            (false, None) => return Err(ServeCause::NotLoopback),
        };
        match StdListener::bind(address) {
            Ok(listener) => return Ok((listener, guard)),
            Err(error) => failed = error.into(),
        }
    }
    Err(failed)
}

/// What answers requests; tests of this module put their own in the place of [`Guarded`].
trait Answers: Clone + Send + 'static {
    fn answer(&self, request: Request<()>) -> impl Future<Output = Response<Body>> + Send;
}

#[derive(Clone)]
struct Guarded {
    service: DebugService,
    guard: Arc<Guard>,
}

impl Answers for Guarded {
    async fn answer(&self, request: Request<()>) -> Response<Body> {
        match self.guard.refuse(&request) {
            Some(refusal) => refusal,
            None => self.service.answer(request).await,
        }
    }
}

fn run<A: Answers>(
    listener: StdListener,
    answers: A,
    limits: Limits,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        tokio::spawn(accept(listener, answers, limits));
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

async fn accept<A: Answers>(listener: TcpListener, answers: A, limits: Limits) {
    let room = Arc::new(Semaphore::new(limits.connections));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = connection(stream, answers.clone(), limits);
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN_AFTER).await,
        }
    }
}

async fn connection<A: Answers>(stream: TcpStream, answers: A, limits: Limits) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write_stalled));
    let answer = service_fn(move |request: Request<Incoming>| {
        let answers = answers.clone();
        async move {
            let (head, body) = request.into_parts();
            discard(body, limits).await;
            let answer = answers.answer(Request::from_parts(head, ())).await;
            Ok::<_, Infallible>(answer)
        }
    });
    // The time for a head runs while a connection is idle too.
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.read_within)
        .max_buf_size(limits.head)
        // `nc` shuts its side down once it has asked, and still reads.
        .half_close(true)
        .serve_connection(TokioIo::new(Box::pin(stream)), answer);
    // A connection that breaks is the client's affair.
    let _broken = served.await;
}

/// Reads a body that nothing here wants. If bytes of it were left, the end of the connection
/// would reset it, and the client might lose the answer.
async fn discard(mut body: Incoming, limits: Limits) {
    let to_the_end = async {
        let mut left = limits.body;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            left = left.checked_sub(length)?;
        }
        Some(())
    };
    let _cut_off = tokio::time::timeout(limits.read_within, to_the_end).await;
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream as StdStream;
    use std::time::Instant;

    use super::*;

    /// Nothing here takes so long, whatever else the machine does.
    const DEADLINE: Duration = Duration::from_secs(30);
    /// The times of [`short`].
    const LIMIT: Duration = Duration::from_millis(100);

    fn short() -> Limits {
        Limits {
            read_within: LIMIT,
            write_stalled: LIMIT,
            ..Limits::default()
        }
    }

    /// Answers each request with so many bytes: more than the buffers of two sockets hold, or
    /// hardly any.
    #[derive(Clone)]
    struct Filler(usize);

    const LOTS: Filler = Filler(64 * 1024 * 1024);
    const FEW: Filler = Filler(4);

    impl Answers for Filler {
        async fn answer(&self, _: Request<()>) -> Response<Body> {
            Response::new(Body::whole(vec![b'x'; self.0]))
        }
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    /// Has the server answer this client alone. Returns how long the connection lasted and what
    /// the client read.
    fn serve<C>(answers: Filler, limits: Limits, client: C) -> (Duration, String)
    where
        C: FnOnce(&mut StdStream) + Send + 'static,
    {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = thread::spawn(move || {
            let mut stream = StdStream::connect(address).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            client(&mut stream);
            stream
        });
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let start = Instant::now();
        block_on(async {
            let stream = TcpStream::from_std(stream).unwrap();
            let ended = tokio::time::timeout(DEADLINE, connection(stream, answers, limits));
            ended.await.expect("the connection was not cut");
        });
        let lasted = start.elapsed();
        let mut read = Vec::new();
        // It may have been reset.
        let _cut = client.join().unwrap().read_to_end(&mut read);
        (lasted, String::from_utf8(read).unwrap())
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn half_a_head_is_cut_off() {
        let (lasted, read) = serve(FEW, short(), |stream| {
            stream.write_all(&GET[..GET.len() / 2]).unwrap();
        });
        assert!(lasted >= LIMIT, "{lasted:?}");
        assert!(!read.contains("200"), "{read}");
    }

    #[test]
    fn no_head_is_cut_off() {
        let (lasted, read) = serve(FEW, short(), |_| {});
        assert!(lasted >= LIMIT, "{lasted:?}");
        assert_eq!(read, "");
    }

    #[test]
    fn a_head_that_never_ends_is_cut_off() {
        serve(FEW, short(), |stream| {
            let bytes = GET[..GET.len() - 2].iter().chain([b'x'; 1].iter().cycle());
            for byte in bytes {
                if stream.write_all(&[*byte]).is_err() {
                    break;
                }
                thread::sleep(LIMIT / 20);
            }
        });
    }

    #[test]
    fn an_idle_connection_is_closed() {
        let (lasted, read) = serve(FEW, short(), |stream| stream.write_all(GET).unwrap());
        assert!(lasted >= LIMIT, "{lasted:?}");
        assert!(read.ends_with("\r\n\r\nxxxx"), "{read}");
    }

    #[test]
    fn a_client_that_reads_nothing_is_cut_off() {
        let (lasted, read) = serve(LOTS, short(), |stream| stream.write_all(GET).unwrap());
        assert!(lasted >= LIMIT, "{lasted:?}");
        assert!(read.len() < LOTS.0);
    }

    #[test]
    fn a_body_that_never_comes_is_not_waited_for() {
        let (lasted, read) = serve(FEW, short(), |stream| {
            let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1";
            stream.write_all(head).unwrap();
        });
        assert!(lasted >= LIMIT, "{lasted:?}");
        assert!(read.ends_with("\r\n\r\nxxxx"), "{read}");
    }

    #[test]
    fn a_body_too_long_is_not_waited_for() {
        let limits = Limits {
            body: 4,
            ..Limits::default()
        };
        let (_, read) = serve(FEW, limits, |stream| {
            let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n12345";
            stream.write_all(head).unwrap();
        });
        assert!(read.ends_with("\r\n\r\nxxxx"), "{read}");
    }

    #[test]
    fn a_client_that_only_reads_on_gets_its_answers() {
        let (_, read) = serve(FEW, Limits::default(), |stream| {
            stream.write_all(&[GET, GET, GET].concat()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        });
        assert_eq!(read.matches("\r\n\r\nxxxx").count(), 3, "{read}");
    }

    #[test]
    fn connections_past_the_limit_wait_for_their_turn() {
        let limits = Limits {
            connections: 1,
            ..Limits::default()
        };
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = thread::spawn(move || run(listener, FEW, limits, stopped));

        let ask = || {
            let mut stream = StdStream::connect(address).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.write_all(GET).unwrap();
            stream
        };
        let mut answer = [0; 15];
        let mut first = ask();
        first.read_exact(&mut answer).unwrap();
        let mut second = ask();
        second.set_read_timeout(Some(LIMIT)).unwrap();
        assert!(second.read(&mut answer).is_err(), "it got a turn");
        drop(first);
        second.set_read_timeout(Some(DEADLINE)).unwrap();
        second.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");

        stop.send(()).unwrap();
        server.join().unwrap().unwrap();
    }
}
