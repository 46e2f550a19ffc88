//! A live source as it was named: its kind, its location and, kept apart, the credentials.

use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;
use percent_encoding::percent_decode_str;

use super::rtp;
use crate::secrets::{Credentials, Secret, has_two_hosts, shown, split_user_info};
use crate::text::nearest;

/// Sites whose pages show a video that `yt-dlp` finds.
const PAGES: [&str; 10] = [
    "youtube.com",
    "youtu.be",
    "vimeo.com",
    "twitch.tv",
    "dailymotion.com",
    "facebook.com",
    "tiktok.com",
    "x.com",
    "twitter.com",
    "bilibili.com",
];

/// Schemes of addresses that sources are read from.
const SCHEMES: [&str; 7] = ["rtsp", "rtsps", "http", "https", "udp", "rtp", "srt"];

/// What is wrong with the address of a live source. Addresses are without secrets.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Its scheme is unknown.
    #[error(
        "{address}: unsupported scheme {scheme}://\n  give one of {}://; the nearest is {nearest}://", SCHEMES.join("://, ")
    )]
    Scheme {
        /// As given.
        address: String,
        /// Before `://`.
        scheme: String,
        /// The most similar one.
        nearest: &'static str,
    },
    /// Its port is not a number from 1 to 65535.
    #[error("{address}: invalid port\n  give {scheme}://HOST:PORT, the port from 1 to 65535")]
    InvalidPort {
        /// As given.
        address: String,
        /// Before `://`.
        scheme: String,
    },
    /// It has no host.
    #[error("{address}: no host\n  give {scheme}://HOST/PATH")]
    NoHost {
        /// As given.
        address: String,
        /// Before `://`.
        scheme: String,
    },
    /// Two hosts stand in it: the password holds an `@` and a `/`.
    #[error(
        "{0}: a name or password with @ and / in it\n  write %40 for @ and %2F for /, or give --user and --password"
    )]
    TwoHosts(String),
    /// It has no port, and its scheme no default one.
    #[error("{address}: no port\n  give {scheme}://HOST:PORT, or {scheme}://:PORT to listen")]
    NoPort {
        /// As given.
        address: String,
        /// Before `://`.
        scheme: String,
    },
    /// A camera without a number.
    #[error("{0}: cameras are numbered\n  give camera:0, camera:1 …")]
    NoCamera(String),
    /// What RTP is said to carry is unknown.
    #[error("{address}: unknown encoding rtp={name}\n  give one of {}; the nearest is rtp={nearest}", rtp::names())]
    Encoding {
        /// As given.
        address: String,
        /// Behind `rtp=`.
        name: String,
        /// The most similar one.
        nearest: &'static str,
    },
    /// There is no such test pattern.
    #[error("test:{pattern}: no such pattern\n  the nearest is test:{nearest}; there are {known}")]
    NoPattern {
        /// As given.
        pattern: String,
        /// The most similar one.
        nearest: String,
        /// All of them.
        known: String,
    },
    /// `GStreamer`'s test source is not installed.
    #[error("test:{pattern}: {source}\n  install gstreamer1.0-plugins-base")]
    NoTestSource {
        /// As given.
        pattern: String,
        /// What `GStreamer` says.
        source: gst::glib::BoolError,
    },
}

/// What a live source is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `rtsp://`, `rtsps://`.
    Rtsp,
    /// `http://`, `https://`: progressive or HLS.
    Http,
    /// `udp://`, `rtp://`: MPEG-TS, or RTP that is recognised.
    Udp,
    /// `udp://…?rtp=NAME`: RTP.
    Rtp,
    /// `NAME.sdp`: RTP as a file describes it.
    Sdp,
    /// `srt://`: MPEG-TS.
    Srt,
    /// `/dev/videoN`.
    Device,
    /// `camera:N`.
    Camera,
    /// `test:PATTERN`.
    Test,
    /// `-`.
    Stdin,
    /// A page whose video `yt-dlp` finds.
    Page,
    /// `pipeline:NAME`, described by the user.
    Own,
}

/// A live source. Shown without secrets.
#[derive(Clone)]
pub struct Address {
    /// What it is.
    pub kind: Kind,
    shown: String,
    location: Secret,
    host: String,
    port: Option<u16>,
    secure: bool,
    credentials: Option<Credentials>,
    passphrase: Option<Secret>,
    encoding: &'static str,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.kind, self.shown)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Address {
    /// Reads `text`; `None` where it names no live source. `credentials` are those given apart from it, which it overrules.
    ///
    /// # Errors
    /// When it names one that cannot be.
    pub fn parse(text: &str, credentials: Option<&Credentials>) -> Result<Option<Self>, AddressError> {
        let shown = shown(text);
        let bare = |kind, shown: &str, location: &str| Self {
            kind,
            shown: shown.to_owned(),
            location: Secret::new(location),
            host: String::new(),
            port: None,
            secure: false,
            credentials: None,
            passphrase: None,
            encoding: "",
        };
        if text == "-" {
            return Ok(Some(bare(Kind::Stdin, "stdin", "")));
        }
        if text.starts_with("/dev/video") {
            return Ok(Some(bare(Kind::Device, text, text)));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let address = Self::url(&scheme.to_ascii_lowercase(), rest, bare(Kind::Own, &shown, ""))?;
            let credentials = address.credentials.clone().or_else(|| credentials.cloned());
            return Ok(Some(Self { credentials, ..address }));
        }
        match text.split_once(':') {
            Some(("test", pattern)) => {
                check_pattern(pattern)?;
                Ok(Some(bare(Kind::Test, text, pattern)))
            }
            Some(("camera", number)) if number.parse::<u16>().is_ok() => Ok(Some(bare(Kind::Camera, text, number))),
            Some(("camera", _)) => Err(AddressError::NoCamera(text.to_owned())),
            Some(("pipeline", name)) => Ok(Some(bare(Kind::Own, text, name))),
            _ if Path::new(text).extension().is_some_and(|e| e.eq_ignore_ascii_case("sdp")) => {
                Ok(Some(bare(Kind::Sdp, text, text)))
            }
            _ => Ok(None),
        }
    }

    fn url(scheme: &str, rest: &str, bare: Self) -> Result<Self, AddressError> {
        let address = bare.shown.clone();
        let (kind, secure, port) = match scheme {
            "rtsp" => (Kind::Rtsp, false, Some(554)),
            "rtsps" => (Kind::Rtsp, true, Some(322)),
            "http" => (Kind::Http, false, Some(80)),
            "https" => (Kind::Http, true, Some(443)),
            "udp" | "rtp" => (Kind::Udp, false, None),
            "srt" => (Kind::Srt, false, None),
            other => {
                // `rtps` is rather a slip of rtsp.
                let nearest = nearest(other, SCHEMES.into_iter().filter(|s| *s != "rtp")).unwrap_or_default();
                return Err(AddressError::Scheme { address, scheme: other.to_owned(), nearest });
            }
        };
        if has_two_hosts(rest) {
            return Err(AddressError::TwoHosts(address));
        }
        let (user, rest) = split_user_info(rest);
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let Some((host, own_port)) = host_and_port(&rest[..end]) else {
            return Err(AddressError::InvalidPort { address, scheme: scheme.to_owned() });
        };
        let port = own_port.or(port);
        let listens = matches!(kind, Kind::Udp | Kind::Srt);
        if host.is_empty() && !listens {
            return Err(AddressError::NoHost { address, scheme: scheme.to_owned() });
        }
        if port.is_none() {
            return Err(AddressError::NoPort { address, scheme: scheme.to_owned() });
        }
        let page = kind == Kind::Http
            && PAGES.iter().any(|page| host == *page || host.strip_suffix(page).is_some_and(|sub| sub.ends_with('.')));
        let decoded = |text: &str| Secret::new(percent_decode_str(text).decode_utf8_lossy());
        let credentials = user.filter(|user| !user.is_empty()).map(|user| {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            Credentials { user: decoded(user), password: decoded(password) }
        });
        let mut encoding = "";
        if let Some(name) = query(rest).find_map(|pair| pair.strip_prefix("rtp=")).filter(|_| kind == Kind::Udp) {
            encoding = rtp::encoding(name).map_err(|nearest| AddressError::Encoding {
                address,
                name: name.to_owned(),
                nearest,
            })?;
        }
        let (rest, passphrase) = if kind == Kind::Srt { without_passphrase(rest) } else { (rest.to_owned(), None) };
        Ok(Self {
            kind: if page { Kind::Page } else { kind },
            location: Secret::new(format!("{scheme}://{rest}")),
            host,
            port,
            secure,
            credentials,
            passphrase,
            ..bare
        })
        .map(|address| if encoding.is_empty() { address } else { address.carrying(encoding) })
    }

    /// The same port, where RTP of this encoding arrives.
    #[must_use]
    pub(super) fn carrying(&self, encoding: &'static str) -> Self {
        Self { kind: Kind::Rtp, encoding, ..self.clone() }
    }

    /// What RTP carries, as RTP names it.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        self.encoding
    }

    /// Section of `pipelines/source.toml` that reads it.
    #[must_use]
    pub fn section(&self) -> &str {
        match self.kind {
            Kind::Rtsp => "rtsp",
            Kind::Http | Kind::Page => "http",
            Kind::Udp => "udp",
            Kind::Rtp => "udp-rtp",
            Kind::Sdp => "sdp",
            Kind::Srt => "srt",
            Kind::Device | Kind::Camera => "device",
            Kind::Test => "test",
            Kind::Stdin => "stdin",
            Kind::Own => self.location.expose(),
        }
    }

    /// Where it is: a URL without user info, a device, a pattern, a number.
    #[must_use]
    pub fn location(&self) -> &str {
        self.location.expose()
    }

    /// Host, where it has one.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        Some(self.host.as_str()).filter(|host| !host.is_empty())
    }

    /// Port, where it has one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether the connection is by TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// User name and password, where it has them.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// SRT's passphrase.
    #[must_use]
    pub fn passphrase(&self) -> Option<&Secret> {
        self.passphrase.as_ref()
    }

    /// The same source, found at another place, which name and password were not given for.
    #[must_use]
    pub fn found_at(&self, kind: Kind, location: &str) -> Self {
        Self { kind, location: Secret::new(location), credentials: None, ..self.clone() }
    }

    /// A short name for files: the last part of its path, else its host.
    #[must_use]
    pub fn stem(&self) -> String {
        let path = self.shown.split(['?', '#']).next().unwrap_or_default();
        let last = path
            .rsplit('/')
            .find(|part| !part.is_empty() && !part.contains('@') && !part.contains("***"))
            .unwrap_or("stream");
        // What follows the last dot of an IP address is no extension.
        let is_ip = last.split(':').next().is_some_and(|host| host.parse::<std::net::Ipv4Addr>().is_ok());
        let stem = Path::new(last).file_stem().filter(|_| !is_ip).map_or(last.into(), |stem| stem.to_string_lossy());
        stem.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect()
    }
}

/// `HOST`, `HOST:PORT`, `[V6]:PORT` or `:PORT`; `None` where the port is not one.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    if let Some((host, rest)) = authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
        return match rest.strip_prefix(':') {
            Some(port) => Some((host.to_owned(), Some(port.parse().ok().filter(|p| *p > 0)?))),
            None => Some((host.to_owned(), None)),
        };
    }
    match authority.rsplit_once(':') {
        Some((host, port)) => Some((host.to_owned(), Some(port.parse().ok().filter(|p| *p > 0)?))),
        None => Some((authority.to_owned(), None)),
    }
}

/// The parameters of what follows `://`.
fn query(rest: &str) -> impl Iterator<Item = &str> {
    rest.split_once('?').map_or("", |(_, query)| query).split('&')
}

/// What follows `srt://`, its passphrase taken out.
fn without_passphrase(rest: &str) -> (String, Option<Secret>) {
    let Some((before, query)) = rest.split_once('?') else { return (rest.to_owned(), None) };
    let secret = query.split('&').find_map(|pair| pair.strip_prefix("passphrase="));
    let others: Vec<_> = query.split('&').filter(|pair| !pair.starts_with("passphrase=")).collect();
    let secret = secret.map(|text| Secret::new(percent_decode_str(text).decode_utf8_lossy()));
    (if others.is_empty() { before.to_owned() } else { format!("{before}?{}", others.join("&")) }, secret)
}

/// `GStreamer`'s test patterns by name.
fn check_pattern(pattern: &str) -> Result<(), AddressError> {
    let missing = |source| AddressError::NoTestSource { pattern: pattern.to_owned(), source };
    let element = gst::ElementFactory::make("videotestsrc").build().map_err(missing)?;
    let class = element.find_property("pattern").and_then(|spec| gst::glib::EnumClass::with_type(spec.value_type()));
    let Some(class) = class else { return Ok(()) };
    if class.value_by_nick(pattern).is_some() {
        return Ok(());
    }
    let names: Vec<&str> = class.values().iter().map(gst::glib::EnumValue::nick).collect();
    Err(AddressError::NoPattern {
        pattern: pattern.to_owned(),
        nearest: nearest(pattern, names.iter().copied()).unwrap_or_default().to_owned(),
        known: names.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Address {
        Address::parse(text, None).expect("it is fine").expect("a live source")
    }

    #[test]
    fn secrets_stand_apart() {
        let address = parsed("rtsp://pilot:p%40ss@cam:8554/main?token=abc");
        assert_eq!(address.location(), "rtsp://cam:8554/main?token=abc");
        assert_eq!((address.host(), address.port()), (Some("cam"), Some(8554)));
        let credentials = address.credentials().expect("a user");
        assert_eq!((credentials.user.expose(), credentials.password.expose()), ("pilot", "p@ss"));
        assert_eq!(address.to_string(), "rtsp://***@cam:8554/main?***");
        assert!(!format!("{address:?}").contains("abc"));
        let srt = parsed("srt://host:9000?mode=caller&passphrase=hunter2hunter2");
        assert_eq!(srt.location(), "srt://host:9000?mode=caller");
        assert_eq!(srt.passphrase().map(Secret::expose), Some("hunter2hunter2"));
        let given = Credentials { user: Secret::new("a"), password: Secret::new("b") };
        let bare = Address::parse("rtsp://cam/1", Some(&given)).expect("fine").expect("live");
        assert_eq!(bare.credentials(), Some(&given));
        assert_eq!(bare.port(), Some(554));
    }

    #[test]
    fn kinds_are_told_apart() {
        gst::init().expect("GStreamer");
        for (text, kind) in [
            ("rtsps://h/x", Kind::Rtsp),
            ("https://h/x.m3u8", Kind::Http),
            ("https://www.youtube.com/watch?v=1", Kind::Page),
            ("https://notyoutube.com/x", Kind::Http),
            ("udp://:5000", Kind::Udp),
            ("udp://[::1]:5000", Kind::Udp),
            ("rtp://:5000", Kind::Udp),
            ("udp://:5000?rtp=H264", Kind::Rtp),
            ("drone.sdp", Kind::Sdp),
            ("/dev/video0", Kind::Device),
            ("camera:1", Kind::Camera),
            ("test:ball", Kind::Test),
            ("-", Kind::Stdin),
            ("pipeline:mine", Kind::Own),
        ] {
            assert_eq!(parsed(text).kind, kind, "{text}");
        }
        assert!(Address::parse("clip.mp4", None).expect("fine").is_none());
        for (wrong, says) in [
            ("udp://:5000?rtp=h246", "the nearest is rtp=h264"),
            ("rtps://h/x", "the nearest is rtsp://"),
            ("rtsp:///x", "no host"),
            ("rtsp://h:99999/x", "invalid port"),
            ("udp://host", "no port"),
            ("test:bal", "test:ball"),
            ("camera:x", "camera:0"),
        ] {
            let said = Address::parse(wrong, None).expect_err(wrong).to_string();
            assert!(said.contains(says) && said.contains("\n  "), "{said}");
        }
    }

    #[test]
    fn names_for_files() {
        for (text, stem) in [
            ("rtsp://u:p@h/live/cam.1", "cam"),
            ("udp://:5000", "-5000"),
            ("rtsp://h", "h"),
            ("test:ball", "test-ball"),
        ] {
            gst::init().expect("GStreamer");
            assert_eq!(parsed(text).stem(), stem);
        }
    }
}
