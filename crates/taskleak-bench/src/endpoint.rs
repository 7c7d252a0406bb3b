//! The debug endpoint of this process, and a client that asks it for every task.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use taskleak::Detector;

use crate::error::Error;
use crate::protocol::{Answer, Reader};
use crate::resident;

/// Lists every task.
const PATH: &str = "/debug/tasks?debug=2";

const BUFFER: usize = 64 * 1024;
/// What a slow reader takes before it sleeps, and for how long it does.
const PORTION: u64 = 1 << 20;
const SLEEP: Duration = Duration::from_millis(10);

const OK: &str = "HTTP/1.1 200 ";
/// What follows the data of a chunked answer. Without it the answer was cut short.
const END: &[u8] = b"\r\n0\r\n\r\n";

pub(crate) struct Endpoint {
    address: SocketAddr,
    /// The resident memory before the first answer. The same for all of them, because what one
    /// frees stays with the allocator and would hide what the next takes.
    before: u64,
}

impl Endpoint {
    pub(crate) fn open(detector: &Detector) -> Result<Endpoint, Error> {
        let server = detector.serve("127.0.0.1:0")?;
        // Reads the debug info, which is kept: no memory of an answer.
        detector.snapshot();
        Ok(Endpoint {
            address: server.local_addr(),
            before: resident::bytes()?,
        })
    }

    /// Gets the list of every task, and keeps nothing of it.
    pub(crate) fn get(&self, reader: Reader) -> Result<Answer, Error> {
        let start = Instant::now();
        let (read, peak) = resident::peak(|| self.read(reader))?;
        let took = start.elapsed();
        let read = read.map_err(|cause| Error::Get { path: PATH, cause })?;
        if !read.is_whole() {
            return Err(Error::Answer {
                path: PATH,
                status: read.status,
            });
        }
        Ok(Answer {
            bytes: read.bytes,
            took,
            peak_growth: peak.saturating_sub(self.before),
        })
    }

    fn read(&self, reader: Reader) -> io::Result<Received> {
        let mut stream = TcpStream::connect(self.address)?;
        let host = self.address;
        write!(
            stream,
            "GET {PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = Received::default();
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Ok(answer);
            }
            let portions = answer.bytes / PORTION;
            answer.take(&buffer[..count]);
            if reader == Reader::Slow && answer.bytes / PORTION > portions {
                thread::sleep(SLEEP);
            }
        }
    }
}

/// What is kept of an answer: how much it was, and its two ends.
#[derive(Debug, Default)]
struct Received {
    bytes: u64,
    status: String,
    end: Vec<u8>,
}

impl Received {
    fn take(&mut self, bytes: &[u8]) {
        if self.bytes == 0 {
            let line = bytes
                .split(|byte| *byte == b'\r')
                .next()
                .unwrap_or_default();
            self.status = String::from_utf8_lossy(line).into_owned();
        }
        self.bytes += bytes.len() as u64;
        let kept = bytes.len().min(END.len());
        self.end.extend_from_slice(&bytes[bytes.len() - kept..]);
        let surplus = self.end.len().saturating_sub(END.len());
        self.end.drain(..surplus);
    }

    fn is_whole(&self) -> bool {
        self.status.starts_with(OK) && self.end == END
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_first_line_and_its_last_chunk() {
        let check = |parts: &[&str], whole| {
            let mut received = Received::default();
            for part in parts {
                received.take(part.as_bytes());
            }
            assert_eq!(received.is_whole(), whole, "{parts:?}");
            let bytes: usize = parts.iter().map(|part| part.len()).sum();
            assert_eq!(received.bytes, bytes as u64);
        };
        check(&["HTTP/1.1 200 OK\r\n\r\n1\r\na\r\n0\r\n\r\n"], true);
        check(
            &["HTTP/1.1 200 OK\r\n\r\n1\r\na\r", "\n0\r", "\n\r\n"],
            true,
        );
        check(&["HTTP/1.1 200 OK\r\n\r\n1\r\na\r\n"], false);
        check(&["HTTP/1.1 503 Busy\r\n\r\n1\r\na\r\n0\r\n\r\n"], false);
        check(&[], false);
    }
}
