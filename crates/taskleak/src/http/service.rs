//! What answers a request: the paths, and the thread that renders each answer.

use std::convert::Infallible;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER,
};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use super::body::{Body, RenderError};
use super::limits::Limits;
use super::places::Places;
use super::route::{self, Answer, Refused, Route};
use crate::Detector;
use crate::detector::Shared;
use crate::polls;

/// The debug endpoint as a service, for those who mount it in a server of their own.
///
/// It is a `tower_service::Service` and a `hyper::service::Service` of any request body, and
/// answers the paths below `/debug/`, be that prefix still there or taken off by the server
/// that nests it. In axum:
///
/// ```ignore
/// Router::new().nest_service("/debug", detector.service())
/// Router::new().nest_service("/internal", detector.service()) // /internal/debug/tasks
/// ```
///
/// Rendering runs on threads of the detector's own.
///
/// # Limits
///
/// It checks neither `Host` nor a token: put it behind your server's own authentication, on
/// an address that only operators reach. It answers only while your server's runtime does.
#[derive(Clone)]
pub struct DebugService {
    shared: Arc<Shared>,
    places: Arc<Places>,
}

impl DebugService {
    pub(super) fn new(detector: &Detector, limits: Limits) -> DebugService {
        DebugService {
            shared: Arc::clone(&detector.shared),
            places: Places::new(limits),
        }
    }

    pub(super) async fn answer(&self, request: Request<()>) -> Response<Body> {
        let uri = request.uri();
        let answer = match route::find(request.method(), uri.path(), uri.query()) {
            Ok(Route::Answer(answer)) => answer,
            Ok(Route::Redirect(to)) => return redirect(to),
            Err(refused) => return refusal(&refused),
        };
        let (shared, job) = (Arc::clone(&self.shared), answer.clone());
        let response = self.respond(&answer, move |to| job.write(&shared, to));
        match *request.method() {
            Method::HEAD => without_body(response.await),
            _ => response.await,
        }
    }

    async fn respond<J: Job>(&self, answer: &Answer, job: J) -> Response<Body> {
        match self.render(job).await {
            Ok(body) => headed(answer, body),
            Err(error) => failure(&error),
        }
    }

    /// Renders on a thread of its own: a snapshot blocks, and a panic in it is an answer.
    async fn render<J: Job>(&self, job: J) -> Result<Body, RenderError> {
        let place = self.places.take().ok_or(RenderError::Busy)?;
        let (mut writer, reader) = Body::streamed(place);
        let run = move || {
            polls::belong_to_detector();
            match catch_unwind(AssertUnwindSafe(|| job(&mut writer))) {
                Ok(Ok(())) => writer.finish(),
                Ok(Err(error)) => writer.fail(error),
                Err(_panic) => writer.fail(RenderError::Panicked),
            }
        };
        thread::Builder::new()
            .name("taskleak-render".into())
            .spawn(run)
            .map_err(RenderError::NoThread)?;
        reader.start().await
    }
}

impl std::fmt::Debug for DebugService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DebugService").finish_non_exhaustive()
    }
}

impl<B: Send + 'static> tower_service::Service<Request<B>> for DebugService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        hyper::service::Service::call(self, request)
    }
}

impl<B: Send + 'static> hyper::service::Service<Request<B>> for DebugService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request.map(drop)).await) })
    }
}

/// What writes an answer.
trait Job: FnOnce(&mut dyn Write) -> Result<(), RenderError> + Send + 'static {}

impl<J> Job for J where J: FnOnce(&mut dyn Write) -> Result<(), RenderError> + Send + 'static {}

/// An answer of one line that says why there is no other.
pub(super) fn refusal(refused: &Refused) -> Response<Body> {
    let mut answer = line(refused.status, &refused.why);
    if let Some(allowed) = refused.allow {
        let allowed = HeaderValue::from_static(allowed);
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
}

fn failure(error: &RenderError) -> Response<Body> {
    let mut answer = line(error.status(), &error.to_string());
    if matches!(error, RenderError::Busy) {
        let a_second = HeaderValue::from_static("1");
        answer.headers_mut().insert(RETRY_AFTER, a_second);
    }
    answer
}

fn redirect(to: &'static str) -> Response<Body> {
    let mut answer = line(StatusCode::PERMANENT_REDIRECT, to);
    answer
        .headers_mut()
        .insert(LOCATION, HeaderValue::from_static(to));
    answer
}

fn line(status: StatusCode, text: &str) -> Response<Body> {
    let mut answer = plain(Body::whole(format!("{text}\n")));
    *answer.status_mut() = status;
    answer
}

/// What HEAD gets. It is rendered all the same: whether a task is there is known only then.
fn without_body(answer: Response<Body>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    if let Some(length) = http_body::Body::size_hint(&body).exact() {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    Response::from_parts(head, Body::empty())
}

fn headed(answer: &Answer, body: Body) -> Response<Body> {
    let mut response = plain(body);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(answer.content_type()),
    );
    if let Some(disposition) = answer.disposition() {
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    }
    response
}

fn plain(body: Body) -> Response<Body> {
    const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use http_body_util::BodyExt;
    use tracing::subscriber::NoSubscriber;

    use super::*;

    /// Nothing here takes so long, whatever else the machine does.
    const DEADLINE: Duration = Duration::from_secs(30);

    fn service(limits: Limits) -> DebugService {
        let (_subscriber, detector) = Detector::builder().wrap(NoSubscriber::new());
        DebugService::new(&detector, limits)
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.build().unwrap().block_on(future)
    }

    /// The status, and the text up to its end or the error that cuts it.
    fn read(answer: Response<Body>) -> (StatusCode, Result<String, String>) {
        let status = answer.status();
        let body = block_on(answer.into_body().collect());
        let text = body.map(|all| String::from_utf8(all.to_bytes().to_vec()).unwrap());
        (status, text.map_err(|error| error.to_string()))
    }

    fn respond<J: Job>(service: &DebugService, job: J) -> Response<Body> {
        block_on(service.respond(&Answer::Cmdline, job))
    }

    fn write_well(to: &mut dyn Write) -> Result<(), RenderError> {
        Ok(write!(to, "well")?)
    }

    fn write_for_ever(to: &mut dyn Write) -> Result<(), RenderError> {
        loop {
            to.write_all(&[b'x'; 64 * 1024])?;
        }
    }

    #[test]
    fn a_panic_is_a_500_and_harms_no_other() {
        let service = service(Limits::default());
        for _ in 0..2 * Limits::default().renders {
            let (status, text) = read(respond(&service, |_| panic!("a renderer's mistake")));
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
            let line = "cannot render the answer: the renderer panicked; the detector goes on\n";
            assert_eq!(text.unwrap(), line);
        }
        let (status, text) = read(respond(&service, write_well));
        assert_eq!((status, text.unwrap().as_str()), (StatusCode::OK, "well"));
    }

    #[test]
    fn a_panic_after_the_head_cuts_the_body() {
        let answer = respond(&service(Limits::default()), |to| {
            to.write_all(&[b'x'; 100_000])?;
            panic!("a renderer's mistake")
        });
        let (status, text) = read(answer);
        assert_eq!(status, StatusCode::OK);
        assert!(text.unwrap_err().contains("panicked"));
    }

    #[test]
    fn an_error_is_told() {
        let service = service(Limits::default());
        let check = |error: RenderError, status: StatusCode, line: &str| {
            let (found, text) = read(respond(&service, |_| Err(error)));
            assert_eq!((found, text.unwrap().as_str()), (status, line));
        };
        check(
            RenderError::NoTask(7),
            StatusCode::NOT_FOUND,
            "there is no task 7; it may have ended\n",
        );
        check(
            io::Error::other("no room").into(),
            StatusCode::INTERNAL_SERVER_ERROR,
            "cannot render the answer: no room\n",
        );
    }

    #[test]
    fn more_at_once_than_there_are_places_get_503() {
        let service = service(Limits {
            renders: 2,
            ..Limits::default()
        });
        let (go_on, wait) = mpsc::channel::<()>();
        let wait = Arc::new(parking_lot::Mutex::new(wait));
        let renders: Vec<_> = (0..2)
            .map(|_| {
                let (service, wait) = (service.clone(), Arc::clone(&wait));
                thread::spawn(move || {
                    let job = move |to: &mut dyn Write| {
                        let _gone = wait.lock().recv();
                        write_well(to)
                    };
                    read(respond(&service, job))
                })
            })
            .collect();
        until(|| service.places.taken() == 2);

        let busy = respond(&service, write_well);
        assert_eq!(busy.headers()[RETRY_AFTER], "1");
        let (status, text) = read(busy);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text.unwrap(), "too many answers at once\n");

        drop(go_on);
        for render in renders {
            assert_eq!(render.join().unwrap().0, StatusCode::OK);
        }
        until(|| service.places.taken() == 0);
    }

    #[test]
    fn readers_that_take_nothing_do_not_keep_the_places() {
        let service = service(Limits {
            renders: 2,
            render_held_up: Duration::from_millis(20),
            ..Limits::default()
        });
        let (gives_up, given_up) = mpsc::channel();
        let unread = [(); 2].map(|()| {
            let gives_up = gives_up.clone();
            respond(&service, move |to| {
                let error = write_for_ever(to);
                // Nobody waits for the other one.
                let _is_waited_for = gives_up.send(());
                error
            })
        });
        until(|| respond(&service, write_well).status() == StatusCode::OK);
        given_up.recv_timeout(DEADLINE).unwrap();

        let cut = unread.into_iter().filter_map(|answer| {
            // The other one goes on for as long as it is read.
            let mut body = answer.into_body();
            let frames = (0..100).map(|_| block_on(body.frame()).expect("an end is no error"));
            frames.map(Result::err).find_map(|error| error)
        });
        let told = cut.map(|error| error.to_string()).collect::<Vec<_>>();
        assert!(
            told.iter().any(|error| error.contains("too long")),
            "{told:?}"
        );
    }

    #[test]
    fn a_reader_that_stalls_ends_the_rendering() {
        let service = service(Limits {
            render_stalled: Duration::from_millis(20),
            ..Limits::default()
        });
        let unread = respond(&service, write_for_ever);
        until(|| service.places.taken() == 0);
        let (_, text) = read(unread);
        assert!(text.unwrap_err().contains("held it up for too long"));
    }

    #[test]
    fn who_reads_on_too_late_is_told_why_there_is_no_more() {
        let service = service(Limits {
            render_stalled: Duration::from_millis(20),
            ..Limits::default()
        });
        let (gives_up, given_up) = mpsc::channel();
        let (reads, read_on) = mpsc::channel::<()>();
        let answer = respond(&service, move |to| {
            // It writes what is left when it is dropped, as that of a renderer does.
            let mut to = io::BufWriter::with_capacity(64 * 1024, to);
            let error = (0_u64..).find_map(|n| to.write_all(&n.to_le_bytes()).err());
            gives_up.send(()).unwrap();
            read_on.recv().unwrap();
            Err(error.unwrap().into())
        });
        given_up.recv_timeout(DEADLINE).unwrap();
        let mut body = answer.into_body();
        let mut read = Vec::new();
        // The first one waits in the body itself.
        for _ in 0..2 {
            let frame = block_on(body.frame()).unwrap();
            read.extend(frame.expect("it was sent before").into_data().unwrap());
        }
        // There is room for more now.
        reads.send(()).unwrap();
        let error = loop {
            match block_on(body.frame()).expect("an end is no error") {
                Ok(frame) => read.extend(frame.into_data().unwrap()),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("held it up for too long"));
        let numbers = read
            .chunks_exact(8)
            .map(|n| u64::from_le_bytes(n.try_into().unwrap()));
        assert!(numbers.eq(0..read.len() as u64 / 8), "some are missing");
    }

    #[test]
    fn a_reader_that_is_gone_ends_the_rendering() {
        let service = service(Limits::default());
        drop(respond(&service, write_for_ever));
        until(|| service.places.taken() == 0);
    }

    fn until(mut holds: impl FnMut() -> bool) {
        let give_up = Instant::now() + DEADLINE;
        while !holds() {
            assert!(Instant::now() < give_up, "it never held");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
