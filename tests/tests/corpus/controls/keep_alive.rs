//! A thousand connections that are kept alive for the next request, which seldom comes; pipes
//! within the process, so that a limit on open files is no matter, and a few sockets.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::interval;

use crate::load::{requests, work};
use crate::program::{Control, Program};

pub(crate) const CONTROL: Control = Control {
    name: "keep-alive connections",
    program,
    suspect: None,
};

const PIPES: usize = 1000;
const SOCKETS: usize = 10;

fn program() -> Program {
    Box::pin(async {
        let (_shutdown, at_shutdown) = watch::channel(());
        let mut clients = Vec::new();
        for _ in 0..PIPES {
            let (client, server) = duplex(64);
            tokio::spawn(serve_connection(server, at_shutdown.clone()));
            clients.push(client);
        }
        let _sockets = connect(&at_shutdown).await.expect("loopback is there");
        tokio::spawn(ask_now_and_then(clients));
        requests(|_| work()).await;
    })
}

async fn connect(at_shutdown: &watch::Receiver<()>) -> std::io::Result<Vec<TcpStream>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut clients = Vec::new();
    for _ in 0..SOCKETS {
        clients.push(TcpStream::connect(address).await?);
        let (server, _) = listener.accept().await?;
        tokio::spawn(serve_connection(server, at_shutdown.clone()));
    }
    Ok(clients)
}

async fn serve_connection(
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
    mut shutdown: watch::Receiver<()>,
) {
    let mut request = [0; 4];
    loop {
        tokio::select! {
            read = connection.read_exact(&mut request) => {
                if read.is_err() || connection.write_all(&request).await.is_err() {
                    return;
                }
            }
            _ = shutdown.changed() => return,
        }
    }
}

/// One request at a time, so each connection waits long for its next.
async fn ask_now_and_then(mut connections: Vec<impl AsyncRead + AsyncWrite + Unpin>) {
    let mut ticks = interval(std::time::Duration::from_millis(50));
    let mut answer = [0; 4];
    for n in 0.. {
        ticks.tick().await;
        let connection = &mut connections[n % PIPES];
        connection.write_all(b"ask ").await.expect("it is served");
        connection
            .read_exact(&mut answer)
            .await
            .expect("it is answered");
    }
}
