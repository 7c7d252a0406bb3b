//! Who may ask: loopback clients that mean this host, or those with the token.

use http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode};
use subtle::ConstantTimeEq;

use super::body::Body;
use super::service::refusal;

/// The check that each request to the endpoint's own server has to pass.
pub(super) enum Guard {
    /// Bound to loopback: the `Host` has to be one too. A page of another site that a
    /// developer's browser shows can have its own name resolve to 127.0.0.1 (DNS rebinding),
    /// but its requests carry that name.
    Loopback,
    /// Bound beyond loopback: the `Authorization` header has to be this one.
    Token { authorization: String },
}

impl Guard {
    pub(super) fn loopback() -> Guard {
        Guard::Loopback
    }

    pub(super) fn token(token: &str) -> Guard {
        Guard::Token {
            authorization: format!("Bearer {token}"),
        }
    }

    /// The answer to a request that may not be served.
    pub(super) fn refuse<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        match self {
            Guard::Loopback if names_loopback(request) => None,
            Guard::Loopback => Some(refusal(
                StatusCode::FORBIDDEN,
                "the Host header must be localhost or a loopback address",
            )),
            Guard::Token { authorization } if carries(request, authorization) => None,
            Guard::Token { .. } => {
                let why = "the request needs the header `Authorization: Bearer TOKEN`";
                let mut answer = refusal(StatusCode::UNAUTHORIZED, why);
                let scheme = HeaderValue::from_static("Bearer");
                answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
                Some(answer)
            }
        }
    }
}

fn names_loopback<B>(request: &Request<B>) -> bool {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let Some(Ok(authority)) = host.map(str::parse::<Authority>) else {
        return false;
    };
    let name = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let is_loopback = |ip: std::net::IpAddr| ip.is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

fn carries<B>(request: &Request<B>, authorization: &str) -> bool {
    let given = request.headers().get(AUTHORIZATION);
    given.is_some_and(|given| given.as_bytes().ct_eq(authorization.as_bytes()).into())
}

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
    }

    #[test]
    fn only_the_token_passes() {
        let guard = Guard::token("s3cret");
        assert_eq!(status(&guard, AUTHORIZATION, "Bearer s3cret"), None);
        for wrong in [
            "Bearer s3cre",
            "Bearer s3cret2",
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
