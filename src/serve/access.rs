//! Who may ask: addresses, the token, and what browsers say of where a request comes from.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, Version};
use axum::response::{IntoResponse, Response};

use super::error::ServeError;
use super::problem::Problem;
use crate::secrets::Secret;

/// Where to listen, and for whom.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The option that asks for it, for messages.
    pub option: &'static str,
    /// As resolved.
    pub address: SocketAddr,
    /// Whoever asks has to show it, where there is one.
    pub token: Option<Secret>,
}

/// `HOST:PORT`, `:PORT` or `PORT`; loopback unless a host is written.
///
/// # Errors
/// When it is none of them, or the host is unknown.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let whole = match text.strip_prefix(':').unwrap_or(text) {
        port if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    let mut found = whole.to_socket_addrs().map_err(|e| format!("{e}; give HOST:PORT or :PORT"))?;
    found.next().ok_or_else(|| "this host has no address".into())
}

/// A bearer token (RFC 6750). What cannot be sent as one is refused by [`check_token`]: the command line's own parser would show it.
///
/// # Errors
/// None.
#[must_use = "it is what was given"]
pub fn token(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// Whether a header can carry the token (RFC 6750, 2.1).
fn is_sent(token: &Secret) -> bool {
    let is_sent = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    let text = token.expose();
    !text.is_empty() && text.bytes().all(is_sent)
}

/// Checks that nobody but this machine reaches an address without a token.
///
/// # Errors
/// When others do, or the token cannot be sent.
pub fn check_token(listen: &Listen) -> Result<(), ServeError> {
    let Listen { option, address, .. } = *listen;
    match &listen.token {
        Some(token) if !is_sent(token) => Err(ServeError::Token(option)),
        None if !is_loopback(address.ip()) => Err(ServeError::NoToken { option, address }),
        _ => Ok(()),
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// What a request shows of the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shown {
    Nothing,
    Another,
    /// The one that is asked for, if any is.
    Token,
}

impl Shown {
    pub fn by(headers: &HeaderMap, token: Option<&Secret>) -> Self {
        let Some(token) = token else { return Self::Token };
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(header), None) = (given.next(), given.next()) else { return Self::Nothing };
        let scheme = b"Bearer ";
        match header.as_bytes().split_at_checked(scheme.len()) {
            Some((before, value)) if before.eq_ignore_ascii_case(scheme) => {
                if token.matches(value.trim_ascii()) {
                    Self::Token
                } else {
                    Self::Another
                }
            }
            _ => Self::Nothing,
        }
    }

    /// The refusal of who has not shown it.
    pub fn refusal(self) -> Response {
        let problem =
            Problem::new(StatusCode::UNAUTHORIZED, "send the token of this program as Authorization: Bearer TOKEN");
        let mut response = problem.into_response();
        let challenge = match self {
            Self::Another => "Bearer realm=\"streamdet\", error=\"invalid_token\"",
            Self::Nothing | Self::Token => "Bearer realm=\"streamdet\"",
        };
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        response
    }
}

/// Checks that a browser was not led here by another site: by a name that resolves to this machine (DNS rebinding), where this
/// listens on loopback, or by a form or script of another origin.
pub(super) fn check_origin(
    (uri, version, headers): (&Uri, Version, &HeaderMap),
    listening: SocketAddr,
) -> Result<(), Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (uri.authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) => return Err(Problem::bad("one Host header is taken, not several")),
        (Some(authority), ..) => Some(authority.clone()),
        (None, Some(host), None) => match Authority::try_from(host.as_bytes()) {
            Ok(host) => Some(host),
            Err(_) => return Err(Problem::bad("the Host header names no host")),
        },
        (None, None, None) if version == Version::HTTP_10 => None,
        (None, None, None) => return Err(Problem::bad("the Host header is missing")),
    };
    if let Some(host) = &host
        && is_loopback(listening.ip())
        && !is_this_machine(host.host())
    {
        let detail = "this address is for this machine only: ask localhost, 127.0.0.1 or [::1]";
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    for origin in headers.get_all(ORIGIN) {
        let from = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, from)| from);
        let is_own = from.zip(host.as_ref()).is_some_and(|(from, host)| from.eq_ignore_ascii_case(host.as_str()));
        if !is_own {
            return Err(Problem::new(StatusCode::FORBIDDEN, "pages of other origins may not use this server"));
        }
    }
    Ok(())
}

/// Whether a host is a name or an address of loopback.
fn is_this_machine(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_need_a_token() {
        let check = |at: &str, token: Option<&str>| {
            let (address, token) = (at.parse().expect("an address"), token.map(Secret::new));
            check_token(&Listen { option: "--listen", address, token }).is_ok()
        };
        for here in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(check(here, None), "{here}");
        }
        for other in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
            assert!(!check(other, None) && check(other, Some("s3cret")), "{other}");
        }
        for (sent, text) in [(false, ""), (false, "two words"), (false, "é"), (false, "a!"), (true, "a-B_9.~+/=")] {
            assert_eq!(check("127.0.0.1:1", Some(text)), sent, "{text}");
        }
    }

    #[test]
    fn an_address_is_loopback_unless_another_is_written() {
        for (text, expected) in [
            (":9090", "127.0.0.1:9090"),
            ("9090", "127.0.0.1:9090"),
            (":0", "127.0.0.1:0"),
            ("0.0.0.0:9090", "0.0.0.0:9090"),
            ("[::1]:9090", "[::1]:9090"),
        ] {
            assert_eq!(address(text).expect("an address").to_string(), expected);
        }
        for wrong in ["", ":", ":99999", "host", "1.2.3.4", "-1", ":9090/metrics"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_known_however_its_header_is_written() {
        let token = Secret::new("s3cret");
        let shown = |given: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in given {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).expect("a value"));
            }
            Shown::by(&headers, Some(&token))
        };
        for right in ["Bearer s3cret", "bearer  s3cret "] {
            assert_eq!(shown(&[right]), Shown::Token, "{right}");
        }
        for (wrong, expected) in [
            (&[][..], Shown::Nothing),
            (&["Basic s3cret"], Shown::Nothing),
            (&["Bearer s3cret", "Bearer x"], Shown::Nothing),
            (&["Bearers3cret"], Shown::Nothing),
            (&["Bearer s3cre"], Shown::Another),
            (&["Bearer"], Shown::Nothing),
        ] {
            assert_eq!(shown(wrong), expected, "{wrong:?}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        let status = |at: &str, host: &str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_str(host).expect("a host"));
            headers.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))));
            let checked =
                check_origin((&Uri::from_static("/"), Version::HTTP_11, &headers), at.parse().expect("an address"));
            checked.err().map(|problem| problem.status().as_u16())
        };
        for host in ["localhost:8080", "LocalHost", "127.0.0.1:8080", "127.3.2.1", "[::1]:8080"] {
            assert_eq!(status("127.0.0.1:8080", host, None), None, "{host}");
        }
        for host in ["evil.example:8080", "localhost.evil.example", "192.168.0.1", "[fe80::1]:8080"] {
            assert_eq!(status("127.0.0.1:8080", host, None), Some(421), "{host}");
            assert_eq!(status("0.0.0.0:8080", host, None), None, "{host}");
        }
        assert_eq!(status("127.0.0.1:8080", "localhost:8080", Some("http://localhost:8080")), None);
        for origin in ["http://localhost:3000", "http://evil.example", "null", "https://localhost"] {
            assert_eq!(status("127.0.0.1:8080", "localhost:8080", Some(origin)), Some(403), "{origin}");
        }
    }
}
