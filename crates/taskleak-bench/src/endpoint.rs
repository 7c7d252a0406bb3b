//! The debug endpoint of this process, and a client that asks it for answers.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use taskleak::{Detector, Server};
use ureq::Agent;

use crate::error::Error;

/// All tasks by groups.
const GROUPED: &str = "/debug/tasks?debug=1";
/// Every task.
const LISTING: &str = "/debug/tasks?debug=2";

const BUFFER: usize = 256 * 1024;
/// What a slow reader takes before it sleeps, and for how long it does.
const PORTION: u64 = 1 << 20;
const SLEEP: Duration = Duration::from_millis(10);

/// How fast the client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    Steady,
    /// Sleeps after each megabyte.
    Slow,
}

/// A server of the detector's own. Dropping it ends its thread.
pub(crate) struct Endpoint {
    address: SocketAddr,
    server: Option<Server>,
}

impl Endpoint {
    /// Nothing is symbolized by this.
    pub(crate) fn open(detector: &Detector) -> Result<Endpoint, Error> {
        let server = detector.serve("127.0.0.1:0")?;
        Ok(Endpoint {
            address: server.local_addr(),
            server: Some(server),
        })
    }

    /// The text of the groups.
    pub(crate) fn grouped(&self) -> Result<String, Error> {
        let mut text = Vec::new();
        let take = |part: &[u8]| text.extend_from_slice(part);
        self.get(GROUPED, Reader::Steady, take)?;
        String::from_utf8(text).map_err(|_| Error::Wrong("the text is no UTF-8".to_owned()))
    }

    /// The list of all tasks, given away as it comes. Returns how many bytes it was.
    pub(crate) fn list(&self, reader: Reader, take: impl FnMut(&[u8])) -> Result<u64, Error> {
        self.get(LISTING, reader, take)
    }

    fn get(
        &self,
        path: &'static str,
        reader: Reader,
        take: impl FnMut(&[u8]),
    ) -> Result<u64, Error> {
        let fail = |cause| Error::Get { path, cause };
        let url = format!("http://{}{path}", self.address);
        // A new connection each time, as of somebody who looks now and then.
        let agent = Agent::config_builder().proxy(None).build().new_agent();
        let answer = agent.get(url).call();
        let body = answer.map_err(|error| fail(error.into_io()))?.into_body();
        read(body.into_reader(), reader, take).map_err(fail)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

/// Reads to the end. One that comes too soon, without the last chunk, is an error of the client.
fn read(mut body: impl Read, reader: Reader, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    loop {
        let count = body.read(&mut buffer)?;
        if count == 0 {
            return Ok(bytes);
        }
        take(&buffer[..count]);
        let portions = bytes / PORTION;
        bytes += count as u64;
        if reader == Reader::Slow && bytes / PORTION > portions {
            thread::sleep(SLEEP);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    /// What a client makes of bytes that a server sends before it hangs up.
    fn answered_with(answer: &'static str) -> Result<String, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint {
            address: listener.local_addr().unwrap(),
            server: None,
        };
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _request = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let answer = endpoint.grouped();
        server.join().unwrap();
        answer
    }

    #[test]
    fn an_answer_that_is_cut_short_is_an_error() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
        const WHOLE: &str =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
        assert_eq!(answered_with(WHOLE).unwrap(), "a");
        assert!(answered_with(HEAD).is_err());
        assert!(answered_with("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").is_err());
        assert!(answered_with("").is_err());
    }
}
