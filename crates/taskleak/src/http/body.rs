//! The body of an answer: whole, or streamed from the thread that renders it.

use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Bytes of one chunk.
const CHUNK: usize = 64 * 1024;
/// Chunks that wait for a slow reader; more hold the rendering up.
const CHUNKS_AHEAD: usize = 4;
/// A reader that takes nothing for so long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(30);
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
        rest: mpsc::Receiver<Chunk>,
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
    #[error("cannot render the answer: {0}")]
    Io(#[from] io::Error),
    #[error("cannot render the answer: the renderer panicked; the detector goes on")]
    Panicked,
}

impl RenderError {
    /// The status of the answer, if its head was not sent yet.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            RenderError::NoTask(_) => StatusCode::NOT_FOUND,
            RenderError::Io(_) | RenderError::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
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
    pub(super) fn streamed() -> (ChunkWriter, ChunkReader) {
        let (to, from) = mpsc::channel(CHUNKS_AHEAD);
        (
            ChunkWriter {
                buffer: Vec::new(),
                to,
            },
            ChunkReader { from },
        )
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
                Poll::Ready(match ready!(rest.poll_recv(cx)) {
                    Some(Chunk::Some(bytes)) => Some(Ok(Frame::data(bytes))),
                    Some(Chunk::Last(bytes)) => {
                        rest.close();
                        Some(Ok(Frame::data(bytes)))
                    }
                    Some(Chunk::Failed(error)) => Some(Err(error.into())),
                    None => None,
                })
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
                rest: self.from,
            })),
            Some(Chunk::Failed(error)) => Err(error),
            None => Err(RenderError::Panicked),
        }
    }
}

/// Cuts what is written into chunks, and holds the writer up while the reader is slow.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    buffer: Vec<u8>,
    to: mpsc::Sender<Chunk>,
}

impl ChunkWriter {
    /// Sends what is left.
    pub(super) fn finish(self) {
        let _reader_is_gone = send(&self.to, Chunk::Last(Bytes::from(self.buffer)));
    }

    /// Ends the answer with an error instead.
    pub(super) fn fail(self, error: RenderError) {
        let _reader_is_gone = send(&self.to, Chunk::Failed(error));
    }

    fn send_buffer(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        send(&self.to, Chunk::Some(chunk))
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

fn send(to: &mpsc::Sender<Chunk>, mut chunk: Chunk) -> io::Result<()> {
    let give_up = Instant::now() + STALLED_AFTER;
    loop {
        chunk = match to.try_send(chunk) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(TrySendError::Full(_)) if Instant::now() > give_up => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(TrySendError::Full(chunk)) => chunk,
        };
        thread::sleep(LOOK_EVERY);
    }
}
