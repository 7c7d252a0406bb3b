//! A hyper server that says hello, and one that has a task say it.

use std::convert::Infallible;
use std::net::SocketAddr;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, server::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::contestant::instrument::Instrument;
use crate::error::Error;

type Answer = Result<Response<Full<Bytes>>, Infallible>;

/// Starts it. Returns where it listens.
pub(super) fn serve<I: Instrument>(runtime: &Runtime, spawns: bool) -> Result<SocketAddr, Error> {
    let bind = TcpListener::bind(("127.0.0.1", 0));
    let listener = runtime.block_on(bind).map_err(Error::Server)?;
    let address = listener.local_addr().map_err(Error::Server)?;
    let _entered = runtime.enter();
    I::spawn("accept", accept::<I>(listener, spawns));
    Ok(address)
}

async fn accept<I: Instrument>(listener: TcpListener, spawns: bool) {
    while let Ok((stream, _)) = I::leaf("accept", listener.accept()).await {
        I::spawn("connection", connection::<I>(stream, spawns));
    }
}

async fn connection<I: Instrument>(stream: TcpStream, spawns: bool) {
    let io = TokioIo::new(stream);
    let http = http1::Builder::new();
    let _client_is_gone = if spawns {
        let served = http.serve_connection(io, service_fn(by_task::<I>));
        I::leaf("http1", served).await
    } else {
        let served = http.serve_connection(io, service_fn(at_once::<I>));
        I::leaf("http1", served).await
    };
}

async fn at_once<I: Instrument>(_request: Request<Incoming>) -> Answer {
    I::call("hello", hello()).await
}

async fn by_task<I: Instrument>(_request: Request<Incoming>) -> Answer {
    let task = I::spawn("hello", hello());
    I::leaf("JoinHandle", task).await.expect("no task panics")
}

async fn hello() -> Answer {
    Ok(Response::new(Full::new(Bytes::from_static(
        b"Hello, world!",
    ))))
}
