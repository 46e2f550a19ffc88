//! Which sources a client may start: no file, no device, no address where a cloud keeps its machines' credentials.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::str::FromStr;

/// Schemes that clients may use where nothing else is configured.
const SCHEMES: [&str; 8] = ["rtsp", "rtsps", "rtp", "udp", "srt", "http", "https", "test"];

/// A scheme, or a scheme with a host, of sources that clients may start: `rtsp`, `rtsp://cam1.example`, `srt://*.example`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    scheme: String,
    host: Option<String>,
}

/// It is none of that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("give a scheme (rtsp), or one with a host (rtsp://cam1.example, rtsp://*.example)")]
pub struct AllowedError;

impl FromStr for Allowed {
    type Err = AllowedError;

    fn from_str(text: &str) -> Result<Self, AllowedError> {
        let (scheme, host) = text.split_once("://").map_or((text, None), |(scheme, host)| (scheme, Some(host)));
        let is_scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_host = |host: &str| {
            let name = host.strip_prefix("*.").unwrap_or(host).trim_start_matches('[').trim_end_matches(']');
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte))
        };
        if !is_scheme || !host.is_none_or(is_host) {
            return Err(AllowedError);
        }
        Ok(Self { scheme: scheme.to_ascii_lowercase(), host: host.map(str::to_ascii_lowercase) })
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{}://{host}", self.scheme),
            None => f.write_str(&self.scheme),
        }
    }
}

impl Allowed {
    /// What is allowed where nothing else is configured.
    #[must_use]
    pub fn by_default() -> Vec<Self> {
        SCHEMES.map(|scheme| Self { scheme: scheme.into(), host: None }).into()
    }

    fn admits(&self, scheme: &str, host: Option<&str>) -> bool {
        let of_host = |own: &String| {
            host.is_some_and(|host| match own.strip_prefix('*') {
                Some(domain) => host.ends_with(domain),
                None => host == own,
            })
        };
        self.scheme == scheme && self.host.as_ref().is_none_or(of_host)
    }
}

/// Checks that a client may start `source`. Looks its host up: a name that means a link-local address is refused, too.
///
/// # Errors
/// Why it may not. The source is not in it: it may hold a password.
pub fn check(source: &str, allowed: &[Allowed]) -> Result<(), String> {
    if source.chars().any(char::is_control) {
        return Err("the source holds control characters: percent-encode them".into());
    }
    let (scheme, rest) = source.split_once(':').ok_or_else(|| NOT_AN_ADDRESS.to_owned())?;
    let scheme = scheme.to_ascii_lowercase();
    let host = match rest.strip_prefix("//") {
        Some(rest) => Some(host(rest)?),
        None if scheme == "test" => None,
        None => return Err(NOT_AN_ADDRESS.to_owned()),
    };
    if !allowed.iter().any(|allowed| allowed.admits(&scheme, host.as_deref())) {
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        return Err(format!(
            "sources of this kind or host are not started over HTTP; allowed are: {} (--allow)",
            allowed.join(", ")
        ));
    }
    let Some(host) = host else { return Ok(()) };
    // An address that is allowed by its own name is meant.
    if allowed.iter().any(|allowed| allowed.scheme == scheme && allowed.host.as_deref() == Some(&host)) {
        return Ok(());
    }
    let name = host.trim_start_matches('[').trim_end_matches(']');
    // What has no address now cannot be connected to either.
    let addresses = (name, 0).to_socket_addrs().into_iter().flatten();
    if addresses.map(|address| address.ip()).any(is_link_local) {
        return Err(
            "this host is link-local, where clouds keep credentials: allow it by name to use it (--allow)".into()
        );
    }
    Ok(())
}

const NOT_AN_ADDRESS: &str = "over HTTP only network sources are started, as rtsp://HOST/PATH: no files, no devices";

/// The host of what follows `//`, in lower case.
fn host(rest: &str) -> Result<String, String> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    // What parsers read differently is refused.
    if authority.bytes().any(|byte| byte <= b' ' || byte >= 0x7f || byte == b'\\') || authority.matches('@').count() > 1
    {
        return Err("the source's host cannot be read: percent-encode user and password".into());
    }
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let host = if place.starts_with('[') {
        place.split_inclusive(']').next().unwrap_or_default()
    } else {
        place.split(':').next().unwrap_or_default()
    };
    if host.contains('%') { Err("the source's host holds a `%`".into()) } else { Ok(host.to_ascii_lowercase()) }
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        // The second is Alibaba's.
        IpAddr::V4(address) => address.is_link_local() || address == Ipv4Addr::new(100, 100, 100, 200),
        IpAddr::V6(address) => match address.segments() {
            // What a gateway makes of an address of version 4 (RFC 6052).
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                is_link_local(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into())
            }
            // fd00:ec2::254 is Amazon's.
            segments => address.is_unicast_link_local() || segments[..2] == [0xfd00, 0x0ec2],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_start_network_sources_only() {
        let allowed = Allowed::by_default();
        for fine in
            ["rtsp://127.0.0.1:8554/a", "RTSP://u:p@127.0.0.1/a", "test:ball", "srt://127.0.0.1:9000?mode=listener"]
        {
            assert_eq!(check(fine, &allowed), Ok(()), "{fine}");
        }
        for refused in [
            "/etc/passwd",
            "file:///etc/passwd",
            "clip.mp4",
            "-",
            "/dev/video0",
            "camera:0",
            "*.mp4",
            "",
            "http://169.254.169.254/latest/meta-data/",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fd00:ec2::254]/",
            "rtsp://a\\@169.254.169.254/",
            "rtsp://a@b@169.254.169.254/",
            "http://%31/",
            "gopher://a/",
            "http:169.254.169.254",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://100.100.100.200/",
            "rtsp://127.0.0.1/a\rb",
            "rtsp://127.0.0.1/a\nb",
        ] {
            assert!(check(refused, &allowed).is_err(), "{refused}");
        }
        let error = check("rtmp://u:s3cret@127.0.0.1/a", &allowed).expect_err("it is not allowed");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_configuration_allows_hosts() {
        let allowed: Vec<Allowed> = ["rtsp://cam1.example", "http://*.example", "http://169.254.1.1"]
            .map(|text| text.parse().expect("it is one"))
            .into();
        for (source, is_fine) in [
            ("rtsp://cam1.example/a", true),
            ("rtsp://CAM1.example:8554/a", true),
            ("rtsp://cam2.example/a", false),
            ("http://a.b.example/x", true),
            ("http://example/x", false),
            ("http://badexample/x", false),
            ("http://169.254.1.1/x", true),
            ("test:ball", false),
        ] {
            assert_eq!(check(source, &allowed).is_ok(), is_fine, "{source}");
        }
        for wrong in ["", "://", "rtsp://", "rtsp:// ", "rt sp", "rtsp://a/b"] {
            assert!(wrong.parse::<Allowed>().is_err(), "{wrong}");
        }
    }
}
