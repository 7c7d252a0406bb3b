//! What answers a request: the paths, and the thread that renders each answer.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION, RETRY_AFTER,
};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use super::body::{Body, RenderError};
use super::route::{self, Answer, Route};
use crate::Detector;
use crate::detector::Shared;
use crate::polls;

/// Answers rendered at once; a further request gets 503.
const MAX_RENDERS: usize = 4;

/// The debug endpoint as a service, for those who mount it in a server of their own.
///
/// It is a `tower_service::Service` and a `hyper::service::Service` of any request body, and
/// answers the paths below `/debug/`. Rendering runs on threads of the detector's own.
///
/// # Limits
///
/// It checks neither `Host` nor a token: put it behind your server's own authentication, on
/// an address that only operators reach. It answers only while your server's runtime does.
#[derive(Clone)]
pub struct DebugService {
    shared: Arc<Shared>,
    renders: Arc<AtomicUsize>,
}

impl DebugService {
    pub(super) fn new(detector: &Detector) -> DebugService {
        DebugService {
            shared: Arc::clone(&detector.shared),
            renders: Arc::new(AtomicUsize::new(0)),
        }
    }

    pub(super) async fn answer(&self, request: Request<()>) -> Response<Body> {
        let uri = request.uri();
        match route::find(request.method(), uri.path(), uri.query()) {
            Ok(Route::Redirect(to)) => redirect(to),
            Ok(Route::Answer(answer)) if request.method() == Method::HEAD => {
                headed(&answer, Body::empty())
            }
            Ok(Route::Answer(answer)) => self.render(answer).await,
            Err(refused) => refusal(refused.status, &refused.why),
        }
    }

    /// Renders on a thread of its own: a snapshot blocks, and a panic in it is an answer.
    async fn render(&self, answer: Answer) -> Response<Body> {
        let Some(turn) = Turn::take(&self.renders) else {
            let mut busy = refusal(StatusCode::SERVICE_UNAVAILABLE, "too many answers at once");
            busy.headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return busy;
        };
        let (mut writer, reader) = Body::streamed();
        let shared = Arc::clone(&self.shared);
        let job = answer.clone();
        let run = move || {
            let _turn = turn;
            polls::belong_to_detector();
            match catch_unwind(AssertUnwindSafe(|| job.write(&shared, &mut writer))) {
                Ok(Ok(())) => writer.finish(),
                Ok(Err(error)) => writer.fail(error),
                Err(_panic) => writer.fail(RenderError::Panicked),
            }
        };
        if let Err(error) = thread::Builder::new()
            .name("taskleak-render".into())
            .spawn(run)
        {
            let why = format!("cannot start a thread to render on: {error}");
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, &why);
        }
        match reader.start().await {
            Ok(body) => headed(&answer, body),
            Err(error) => refusal(error.status(), &error.to_string()),
        }
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

/// One of the [`MAX_RENDERS`] places.
struct Turn(Arc<AtomicUsize>);

impl Turn {
    fn take(renders: &Arc<AtomicUsize>) -> Option<Turn> {
        let one_more = |under_way| (under_way < MAX_RENDERS).then_some(under_way + 1);
        renders
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .ok()?;
        Some(Turn(Arc::clone(renders)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer of one line that says why there is no other.
pub(super) fn refusal(status: StatusCode, why: &str) -> Response<Body> {
    let mut answer = plain(Body::whole(format!("{why}\n")));
    *answer.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    answer
}

fn redirect(to: &'static str) -> Response<Body> {
    let mut answer = refusal(StatusCode::PERMANENT_REDIRECT, to);
    answer
        .headers_mut()
        .insert(LOCATION, HeaderValue::from_static(to));
    answer
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
