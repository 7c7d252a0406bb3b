//! The body of an answer: whole, or streamed from the thread that renders it.

use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::places::Place;

/// Bytes of one chunk.
const CHUNK: usize = 64 * 1024;
/// Chunks that wait for a slow reader; more hold the rendering up.
const CHUNKS_AHEAD: usize = 4;
/// How often a held-up rendering looks for room. Nobody notifies it: the reader may be on any
/// runtime, or gone.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The body of a [`DebugService`](super::DebugService) answer.
#[derive(Debug)]
pub struct Body(Inner);

#[derive(Debug)]
enum Inner {
    Whole(Full<Bytes>),
    Streamed {
        first: Option<Bytes>,
        /// `None` once the answer's end was there. The end of the channel alone is none: a
        /// rendering that was given up must not look like a whole one.
        rest: Option<mpsc::Receiver<Chunk>>,
    },
}

#[derive(Debug)]
enum Chunk {
    Some(Bytes),
    Last(Bytes),
    Failed(RenderError),
}

/// The rendering of an answer ended before its end, so the connection is cut.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BodyError(#[from] pub(super) RenderError);

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenderError {
    #[error("there is no task {0}; it may have ended")]
    NoTask(u64),
    #[error("too many answers at once")]
    Busy,
    #[error("cannot start a thread to render on: {0}")]
    NoThread(io::Error),
    #[error("cannot render the answer: {0}")]
    Io(#[from] io::Error),
    #[error("cannot render the answer: the renderer panicked; the detector goes on")]
    Panicked,
    #[error("cannot render the answer: it was given up, its reader held it up for too long")]
    GivenUp,
}

impl RenderError {
    /// The status of the answer, if its head was not sent yet.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            RenderError::NoTask(_) => StatusCode::NOT_FOUND,
            RenderError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            RenderError::NoThread(_)
            | RenderError::Io(_)
            | RenderError::Panicked
            | RenderError::GivenUp => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Body {
    pub(super) fn empty() -> Body {
        Body::whole(Bytes::new())
    }

    pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
        Body(Inner::Whole(Full::new(bytes.into())))
    }

    /// The two ends of a body that is written as it is read.
    pub(super) fn streamed(place: Place) -> (ChunkWriter, ChunkReader) {
        let (to, from) = mpsc::channel(CHUNKS_AHEAD);
        let buffer = Vec::new();
        (ChunkWriter { buffer, to, place }, ChunkReader { from })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Inner::Whole(full) => Pin::new(full)
                .poll_frame(cx)
                .map_err(|never: Infallible| match never {}),
            Inner::Streamed { first, rest } => {
                if let Some(first) = first.take() {
                    return Poll::Ready(Some(Ok(Frame::data(first))));
                }
                let Some(from) = rest else {
                    return Poll::Ready(None);
                };
                let chunk = ready!(from.poll_recv(cx));
                if !matches!(chunk, Some(Chunk::Some(_))) {
                    *rest = None;
                }
                Poll::Ready(Some(match chunk {
                    Some(Chunk::Some(bytes) | Chunk::Last(bytes)) => Ok(Frame::data(bytes)),
                    Some(Chunk::Failed(error)) => Err(error.into()),
                    None => Err(RenderError::GivenUp.into()),
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Inner::Whole(full) if full.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(full) => full.size_hint(),
            Inner::Streamed { .. } => SizeHint::default(),
        }
    }
}

/// Where the answer's head waits for the first chunk, so that a rendering that fails at once
/// is still a 500.
#[derive(Debug)]
pub(super) struct ChunkReader {
    from: mpsc::Receiver<Chunk>,
}

impl ChunkReader {
    /// The body, once the first chunk is there.
    pub(super) async fn start(mut self) -> Result<Body, RenderError> {
        match self.from.recv().await {
            Some(Chunk::Last(all)) => Ok(Body::whole(all)),
            Some(Chunk::Some(first)) => Ok(Body(Inner::Streamed {
                first: Some(first),
                rest: Some(self.from),
            })),
            Some(Chunk::Failed(error)) => Err(error),
            None => Err(RenderError::GivenUp),
        }
    }
}

/// Cuts what is written into chunks, and holds the writer up while the reader is slow.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    buffer: Vec<u8>,
    to: mpsc::Sender<Chunk>,
    place: Place,
}

impl ChunkWriter {
    /// Sends what is left.
    pub(super) fn finish(mut self) {
        let rest = Bytes::from(std::mem::take(&mut self.buffer));
        self.end(Chunk::Last(rest));
    }

    /// Ends the answer with an error instead.
    pub(super) fn fail(self, error: RenderError) {
        self.end(Chunk::Failed(error));
    }

    fn end(self, chunk: Chunk) {
        let ChunkWriter { to, place, .. } = self;
        if let Ok(room) = room(&to, &place) {
            // Who reads the end may ask again at once: the place is free by then.
            drop(place);
            room.send(chunk);
        }
        // Else the end of the channel tells that it was given up.
    }

    fn send_buffer(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        room(&self.to, &self.place)?.send(Chunk::Some(chunk));
        Ok(())
    }
}

/// Waits until the reader has room for a chunk.
fn room<'a>(to: &'a mpsc::Sender<Chunk>, place: &Place) -> io::Result<mpsc::Permit<'a, Chunk>> {
    loop {
        match to.try_reserve() {
            Ok(room) => {
                place.goes_on()?;
                return Ok(room);
            }
            Err(TrySendError::Closed(())) => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(TrySendError::Full(())) => place.held_up()?,
        }
        thread::sleep(LOOK_EVERY);
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.send_buffer()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_buffer()
    }
}
