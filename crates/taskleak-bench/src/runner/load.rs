//! The load generator: a fixed number of connections, each of which asks again as soon as it has
//! its answer. It is of the runner's process, so that its processor time is not the server's.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::error::Error;
use crate::case::CONNECTIONS;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
const BODY: &[u8] = b"Hello, world!";

pub(crate) struct Load {
    connections: Vec<TcpStream>,
    /// What one takes; all are alike but for the date.
    answer: Vec<u8>,
    answered: u64,
}

impl Load {
    /// Opens the connections, and asks once on each.
    pub(crate) fn connect(server: SocketAddr) -> Result<Load, Error> {
        let connect = || -> io::Result<Load> {
            let mut connections = Vec::new();
            let mut length = 0;
            for _ in 0..CONNECTIONS {
                let mut connection = TcpStream::connect(server)?;
                connection.set_nodelay(true)?;
                connection.write_all(REQUEST)?;
                length = first(&connection)?;
                connections.push(connection);
            }
            Ok(Load {
                connections,
                answer: vec![0; length],
                answered: CONNECTIONS.into(),
            })
        };
        connect().map_err(Error::Load)
    }

    /// The requests that were answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// Asks so often, and times it.
    pub(crate) fn run(&mut self, requests: u32) -> Result<Duration, Error> {
        let start = Instant::now();
        self.ask(requests).map_err(Error::Load)?;
        self.answered += u64::from(requests);
        Ok(start.elapsed())
    }

    fn ask(&mut self, requests: u32) -> io::Result<()> {
        let all = self.connections.len();
        let mut to_send = requests as usize;
        for connection in self.connections.iter_mut().take(requests as usize) {
            connection.write_all(REQUEST)?;
            to_send -= 1;
        }
        for request in 0..requests as usize {
            let connection = &mut self.connections[request % all];
            connection.read_exact(&mut self.answer)?;
            if !self.answer.starts_with(OK) || !self.answer.ends_with(BODY) {
                return Err(ErrorKind::InvalidData.into());
            }
            if to_send > 0 {
                connection.write_all(REQUEST)?;
                to_send -= 1;
            }
        }
        Ok(())
    }
}

/// Reads the first answer. Returns how long it was.
fn first(connection: &TcpStream) -> io::Result<usize> {
    let mut connection = BufReader::new(connection);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if connection.read_until(b'\n', &mut head)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    let mut body = [0; BODY.len()];
    connection.read_exact(&mut body)?;
    Ok(head.len() + body.len())
}
