//! A tiny HTTP/1.1 client over a blocking socket: it sends what it is given, byte for byte, so
//! that it can be as wrong as a test wants.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::DEADLINE;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header; empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The body, if the status is 200.
    #[track_caller]
    pub(crate) fn ok(self) -> Vec<u8> {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.body
    }
}

/// A connection that is kept.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(to: SocketAddr) -> Connection {
        let stream = TcpStream::connect(to).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Connection(BufReader::new(stream))
    }

    /// Sends these bytes, whatever they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.get_mut().write_all(bytes.as_ref())
    }

    /// Reads one answer.
    pub(crate) fn receive(&mut self) -> io::Result<Answer> {
        self.read(true)
    }

    /// Reads one answer to HEAD.
    pub(crate) fn receive_head(&mut self) -> io::Result<Answer> {
        self.read(false)
    }

    /// Waits until the server closes the connection, or resets it.
    pub(crate) fn until_closed(mut self) {
        let ended = io::copy(&mut self.0, &mut io::sink());
        if let Err(error) = ended {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }

    fn read(&mut self, has_body: bool) -> io::Result<Answer> {
        let status_line = self.line()?;
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no status: {status_line:?}")))?;
        let mut answer = Answer {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            answer.headers.push((name.to_owned(), value.to_owned()));
        }
        if has_body {
            answer.body = self.body(&answer)?;
        }
        Ok(answer)
    }

    fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        if let Ok(length) = answer.header("content-length").parse() {
            return self.bytes(length);
        }
        assert_eq!(answer.header("transfer-encoding"), "chunked");
        let mut body = Vec::new();
        loop {
            let length = self.line()?;
            let length = usize::from_str_radix(&length, 16).map_err(io::Error::other)?;
            body.extend(self.bytes(length)?);
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Sends a request on a connection of its own.
pub(crate) fn request(to: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    let mut connection = Connection::open(to);
    connection.send(bytes).expect("the request is taken");
    connection.receive().expect("there is an answer")
}

/// GETs a path and query.
pub(crate) fn get(from: SocketAddr, target: &str) -> Answer {
    request(from, get_request(target))
}

/// The bytes of a GET.
pub(crate) fn get_request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// HEADs a path and query.
pub(crate) fn head(from: SocketAddr, target: &str) -> Answer {
    let mut connection = Connection::open(from);
    let request = format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.send(request).expect("the request is taken");
    let answer = connection.receive_head().expect("there is an answer");
    // Nothing may follow the head.
    assert_eq!(connection.0.read(&mut [0]).unwrap(), 0, "HEAD has a body");
    answer
}
