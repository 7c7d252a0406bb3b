//! Who may ask: loopback clients that mean this host, or those with the token.

use http::header::{AUTHORIZATION, CONNECTION, HOST, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode};
use subtle::ConstantTimeEq;

use super::body::Body;
use super::route::Refused;
use super::service::refusal;

/// The check that each request to the endpoint's own server has to pass.
pub(super) enum Guard {
    /// Bound to loopback: the `Host` has to be one too. A page of another site that a
    /// developer's browser shows can have its own name resolve to 127.0.0.1 (DNS rebinding),
    /// but its requests carry that name.
    Loopback,
    /// Bound beyond loopback: the `Authorization` header has to carry this token.
    Token(String),
}

impl Guard {
    pub(super) fn loopback() -> Guard {
        Guard::Loopback
    }

    pub(super) fn token(token: &str) -> Guard {
        Guard::Token(token.to_owned())
    }

    /// The answer to a request that may not be served. It ends the connection, so that who may
    /// not ask keeps no place among the connections either.
    pub(super) fn refuse<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let mut answer = match self {
            Guard::Loopback if names_loopback(request) => return None,
            Guard::Loopback => refusal(&Refused::new(
                StatusCode::FORBIDDEN,
                "the Host header must be localhost or a loopback address",
            )),
            Guard::Token(token) if carries(request, token) => return None,
            Guard::Token(_) => {
                let why = "the request needs the header `Authorization: Bearer TOKEN`";
                let mut answer = refusal(&Refused::new(StatusCode::UNAUTHORIZED, why));
                let scheme = HeaderValue::from_static("Bearer");
                answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
                answer
            }
        };
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(CONNECTION, close);
        Some(answer)
    }
}

/// One `Host` header, and that of this machine.
fn names_loopback<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(Ok(authority)) = host.to_str().map(str::parse::<Authority>) else {
        return false;
    };
    let name = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let is_loopback = |ip: std::net::IpAddr| ip.is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

fn carries<B>(request: &Request<B>, token: &str) -> bool {
    let given = request.headers().get(AUTHORIZATION);
    let given = given.and_then(|given| given.as_bytes().split_at_checked(BEARER.len()));
    given.is_some_and(|(scheme, given)| {
        scheme.eq_ignore_ascii_case(BEARER) && given.ct_eq(token.as_bytes()).into()
    })
}

/// The name of a scheme is of either case (RFC 9110, 11.1).
const BEARER: &[u8] = b"Bearer ";

#[cfg(test)]
mod tests {
    use super::*;

    fn status(guard: &Guard, name: http::HeaderName, value: &str) -> Option<StatusCode> {
        let request = Request::builder().header(name, value).body(()).unwrap();
        guard.refuse(&request).map(|answer| answer.status())
    }

    #[test]
    fn only_loopback_hosts_pass() {
        for host in [
            "localhost",
            "localhost:6060",
            "127.0.0.1:6060",
            "127.1.2.3",
            "[::1]:80",
        ] {
            assert_eq!(status(&Guard::loopback(), HOST, host), None, "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "localhost.evil",
            "",
        ] {
            let forbidden = Some(StatusCode::FORBIDDEN);
            assert_eq!(status(&Guard::loopback(), HOST, host), forbidden, "{host}");
        }
        let bare = Request::new(());
        assert!(Guard::loopback().refuse(&bare).is_some());
        let two = Request::builder()
            .header(HOST, "localhost")
            .header(HOST, "evil.example");
        let two = two.body(()).unwrap();
        assert!(Guard::loopback().refuse(&two).is_some());
    }

    #[test]
    fn only_the_token_passes() {
        let guard = Guard::token("s3cret");
        for right in ["Bearer s3cret", "bearer s3cret"] {
            assert_eq!(status(&guard, AUTHORIZATION, right), None, "{right}");
        }
        for wrong in [
            "Bearer s3cre",
            "Bearer s3cret2",
            "Bearer S3cret",
            "Bearer ",
            "Basic s3cret",
            "s3cret",
            "",
        ] {
            let unauthorized = Some(StatusCode::UNAUTHORIZED);
            assert_eq!(
                status(&guard, AUTHORIZATION, wrong),
                unauthorized,
                "{wrong}"
            );
        }
    }
}
