//! Secrets never reach a log, a file, a metric or a panic: what holds one does not show it, and addresses are shown without.

use std::hint::black_box;
use std::net::Ipv4Addr;

use sha2::{Digest, Sha256};

/// Bytes that nobody guesses.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // With this size and without flags it fails on no kernel since 3.17.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes
}

/// Options whose values are secrets.
const SECRET_OPTIONS: [&str; 2] = ["--password", "--token"];

/// Query keys whose values are secrets.
const SECRET_KEYS: [&str; 12] = [
    "password",
    "passwd",
    "pwd",
    "pass",
    "token",
    "access_token",
    "passphrase",
    "secret",
    "key",
    "apikey",
    "api_key",
    "streamkey",
];

/// What stands between the parts of an address, and what may follow one in a sentence.
const BETWEEN: [char; 5] = ['/', '?', '&', ';', '#'];
const AFTER: [char; 8] = [';', ':', ',', ')', '}', '"', '.', '\''];

/// Keys of queries that sign an address.
const SIGNED: [&str; 14] = [
    "sig",
    "signature",
    "sign",
    "auth_key",
    "hdnts",
    "hdnea",
    "policy",
    "key-pair-id",
    "awsaccesskeyid",
    "googleaccessid",
    "wssecret",
    "txsecret",
    "expires",
    "se",
];

/// What stands between words.
const SPACES: [char; 4] = [' ', '\n', '\r', '\t'];

/// Text that is not shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether `text` is the same; how long that takes tells nothing of it.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let (own, other) = (Sha256::digest(self.0.as_bytes()), Sha256::digest(text));
        own.iter().zip(other.iter()).fold(0, |differs, (a, b)| black_box(differs | (a ^ b))) == 0
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

/// Who one is to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Name.
    pub user: Secret,
    /// Password.
    pub password: Secret,
}

/// What follows `SCHEME://`, as user info and the rest.
#[must_use]
pub fn split_user_info(rest: &str) -> (Option<&str>, &str) {
    let (at, end) = user_info_end(rest);
    // Where the path holds the only '@' and the host a port, as in rtsp://host:554/cam@1, there is no user.
    let at = at.filter(|at| *at < end || !is_port(&rest[..end]));
    at.map_or((None, rest), |at| (Some(&rest[..at]), &rest[at + 1..]))
}

/// Where user info may end, and where the authority does.
fn user_info_end(rest: &str) -> (Option<usize>, usize) {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may hold '/', which ends the authority for a strict reader: the last '@' before the path decides.
    (rest[..end].rfind('@').or_else(|| rest.find('@').filter(|_| rest[..end].contains(':'))), end)
}

/// What follows an '@' behind the authority of `USER:PASSWORD@HOST/…`: where the password holds both an '@' and a '/' as they are, that is
/// the host, and what looks like one is a part of the password.
fn after_another_at(rest: &str) -> Option<&str> {
    let (at, end) = user_info_end(rest);
    at.filter(|at| *at < end && rest[..*at].contains(':'))?;
    let path = rest[end..].starts_with('/');
    // In a query, it is a value's.
    let end_of_path = rest[end..].find(['?', '#']).filter(|_| path).map_or(rest.len(), |query| end + query);
    rest[end..end_of_path].rfind('@').map(|at| &rest[end + at + 1..])
}

/// Whether two hosts stand in what follows `SCHEME://`: user info may end before either.
#[must_use]
pub fn has_two_hosts(rest: &str) -> bool {
    after_another_at(rest).is_some_and(|after| {
        let place = &after[..after.find(['/', '?', '#']).unwrap_or(after.len())];
        let is_v4 = place.parse::<Ipv4Addr>().is_ok();
        // A name may be that of a file.
        is_v4 || is_port(place) || place.starts_with('[') || place.contains('.') && place.len() < after.len()
    })
}

/// Whether `HOST:DIGITS` stands there.
fn is_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether the value of a query's key is not shown.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    SECRET_KEYS.contains(&key.to_ascii_lowercase().as_str())
}

/// Whether a command line's argument holds a secret: the option for one, or a URL with one.
#[must_use]
pub fn shows_password(argument: &str) -> bool {
    if SECRET_OPTIONS.contains(&argument.split('=').next().unwrap_or_default()) {
        return true;
    }
    let Some((_, rest)) = argument.split_once("://") else { return false };
    let is_secret = |piece: &str| piece.split_once('=').is_some_and(|(key, _)| is_secret_key(key));
    user_info_end(rest).0.is_some_and(|at| rest[..at].contains(':')) || rest.split(BETWEEN).any(is_secret)
}

/// `text` as it may be shown: of every address in it what [`shown`] leaves, and nothing of what follows an option for a secret.
#[must_use]
pub fn redact(text: &str) -> String {
    let mut hide = false;
    let word = |piece: &str| {
        let word = piece.trim_end_matches(SPACES);
        let space = &piece[word.len()..];
        let shown = if std::mem::replace(&mut hide, SECRET_OPTIONS.contains(&word)) && !word.is_empty() {
            "***".to_owned()
        } else if word.contains("://") {
            shown(word)
        } else {
            mistyped(word)
        };
        shown + space
    };
    text.split_inclusive(SPACES).map(word).collect()
}

/// A word that is no address, as it may be shown: a setting's value that is a secret, and user info of what was meant to be an
/// address (`rtsp:/user:password@host`), are not.
fn mistyped(word: &str) -> String {
    if let Some((key, _)) = word.split_once('=')
        && is_secret_key(key.trim_start_matches('-'))
    {
        return format!("{key}=***");
    }
    match word.rfind('@') {
        Some(at) if word[..at].contains(':') => format!("***{}", &word[at..]),
        _ => word.to_owned(),
    }
}

/// Arguments of a command line as they may be shown, one line.
#[must_use]
pub fn redact_arguments(arguments: impl Iterator<Item = String>) -> String {
    let mut hide = false;
    let argument = |argument: String| match std::mem::replace(&mut hide, SECRET_OPTIONS.contains(&argument.as_str())) {
        true => "***".to_owned(),
        // A password may hold spaces.
        false if argument.contains("://") => shown(&argument),
        false => redact(&argument),
    };
    arguments.map(argument).collect::<Vec<_>>().join(" ")
}

/// An address as it may be shown: its scheme, host and port; its path but for what may be a key in it; of its query that there is
/// one. Of where a stream is pushed to, the application alone, and nothing of a signed URL's path. A word that is no address stays
/// as it is. Whatever stands before it, and what ends a sentence, stays.
#[must_use]
pub fn shown(word: &str) -> String {
    let Some((before, rest)) = word.split_once("://") else { return word.to_owned() };
    let at = before
        .rfind(|c: char| !(c.is_ascii_alphanumeric() || "+.-".contains(c)))
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let scheme = before[at..].to_ascii_lowercase();
    let (lead, named) = (&before[..at], &before[at..]);
    let (user, rest) = match user_info_end(rest) {
        // A user with a password, or a host and its port, with the '@' in the path: either may be a secret.
        (Some(at), end) if at > end && is_port(&rest[..end]) => return format!("{lead}{named}://***"),
        _ if after_another_at(rest).is_some() => return format!("{lead}{named}://***"),
        (Some(at), _) => ("***@", &rest[at + 1..]),
        (None, _) => ("", rest),
    };
    let (place, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    let end = if query.is_empty() { ending(if path.is_empty() { authority } else { path }) } else { ending(query) };
    let trimmed = |text: &'_ str| text.strip_suffix(end).unwrap_or(text).to_owned();
    let (authority, path, query) = match (path.is_empty(), query.is_empty()) {
        (true, true) => (trimmed(authority), String::new(), String::new()),
        (false, true) => (authority.to_owned(), trimmed(path), String::new()),
        _ => (authority.to_owned(), path.to_owned(), trimmed(query)),
    };
    let is_pushed = ["rtmp", "rtmps", "rtmpt", "rtmpe"].contains(&scheme.as_str());
    let path = if is_signed(&query) { hidden(&path, 0) } else { hidden(&path, if is_pushed { 1 } else { usize::MAX }) };
    // Kafka's clients are given several of a cluster's brokers.
    let is_list = ["kafka", "kafkas"].contains(&scheme.as_str()) && authority.split(',').all(|one| host(one) == one);
    let authority = if is_list { authority } else { host(&authority) };
    format!("{lead}{named}://{user}{authority}{path}{}{end}", shown_query(&query))
}

/// What ends a sentence after an address.
fn ending(text: &str) -> &str {
    &text[text.trim_end_matches(AFTER).len()..]
}

/// A host and a port; what is none may be a part of a password.
fn host(authority: &str) -> String {
    let is_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || "-._{}".contains(c));
    let is_address = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || ":.%".contains(c));
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (authority, None),
    };
    let is_port = |port: &str| port == "PORT" || port.bytes().all(|b| b.is_ascii_digit());
    let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_host = v6.map_or_else(|| is_name(name), is_address);
    if is_host && port.is_none_or(is_port) { authority.to_owned() } else { "***".to_owned() }
}

/// A path of which the first `most` parts are shown, as far as they look like no key.
fn hidden(path: &str, most: usize) -> String {
    let mut parts = path.split('/');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (number, part) in parts.enumerate() {
        if part.is_empty() {
            text.push('/');
        } else if number >= most {
            text.push_str("/***");
            break;
        } else if let Some((key, _)) = part.split_once('=') {
            // Some cameras take a password in the path: /user=admin&password=…&channel=1.
            let is_name = key.chars().all(|c| c.is_alphanumeric() || "-_".contains(c));
            text.extend(if is_name { ["/", key, "=***"] } else { ["/", "", "***"] });
            // It may hold a slash.
            break;
        } else if is_key(part) {
            text.push_str("/***");
        } else {
            text.push('/');
            text.push_str(part);
        }
    }
    text
}

/// Whether a part of a path looks like a key: long, without what stands between words, or with what stands in no name.
fn is_key(part: &str) -> bool {
    if part.chars().any(|c| !(c.is_alphanumeric() || "-_.~+,{}*()[]'!$%".contains(c))) {
        return true;
    }
    let is_long = |piece: &str| {
        let (letters, digits) =
            (piece.bytes().any(|b| b.is_ascii_alphabetic()), piece.bytes().any(|b| b.is_ascii_digit()));
        piece.is_ascii() && (piece.len() >= 24 || piece.len() >= 12 && letters && digits)
    };
    let is_uuid = part.len() >= 32 && part.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    is_uuid || part.split(['-', '_', '.', '~', '+', ',']).any(is_long)
}

/// Whether a query says that the address is signed: whoever has it has access.
fn is_signed(query: &str) -> bool {
    let keys = query.trim_start_matches('?').split(['&', ';']).filter_map(|pair| pair.split('=').next());
    keys.map(str::to_ascii_lowercase).any(|key| {
        SIGNED.contains(&key.as_str())
            || key.starts_with("x-amz-")
            || key.starts_with("x-goog-")
            || key.starts_with("x-oss-")
    })
}

/// That there is a query. What RTP carries on a port is an option of this program.
fn shown_query(query: &str) -> String {
    let is_option =
        |value: &str| value == "NAME" || (value.len() <= 4 && value.starts_with(|c: char| "hmjv".contains(c)));
    match query.chars().next() {
        None => String::new(),
        Some(_) if query.strip_prefix("?rtp=").is_some_and(is_option) => query.to_owned(),
        Some(mark) => format!("{mark}***"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_replaced() {
        for (text, expected) in [
            ("rtsp://user:p@ss@host/x?token=abc&x=1", "rtsp://***@host/x?***"),
            ("rtsp://u:a/b@host:554/x", "rtsp://***@host:554/x"),
            ("clip@home.mp4", "clip@home.mp4"),
            ("srt://h:1?passphrase=s3cret: not there", "srt://h:1?***: not there"),
            ("rtsp://u:12/b@host/x", "rtsp://***"),
            ("rtsp://u:p@ss/@host:554/x", "rtsp://***"),
            ("rtsp://u:p@ss?w@host/x", "rtsp://***"),
            ("rtsp://u:pass@host/x?mail=a@b", "rtsp://***@host/x?***"),
            ("rtsp://h/user=admin&password=x&channel=1", "rtsp://h/user=***"),
            ("detect --password hunter2 x", "detect --password *** x"),
            ("detect --password=hunter2", "detect --password=***"),
            ("detect --token hunter2 --token=hunter2", "detect --token *** --token=***"),
            ("rtsp://u:a@h/x\n  rtsp://u:b@h/y", "rtsp://***@h/x\n  rtsp://***@h/y"),
            ("rtmp://host/live2/STREAMKEY: refused", "rtmp://host/live2/***: refused"),
            ("srt://h:9?streamid=publish:cam:user:PASSWORD", "srt://h:9?***"),
            ("https://b.s3.amazonaws.com/a/b.mp4?X-Amz-Signature=abc", "https://b.s3.amazonaws.com/***?***"),
            ("rtsps://nvr:7441/aBcDeF123456GhIj", "rtsps://nvr:7441/***"),
            ("rtsp://h/Streaming/Channels/101.", "rtsp://h/Streaming/Channels/101."),
            ("http://h/cgi?loginuse=admin&loginpas=geheim", "http://h/cgi?***"),
            ("http://h/proxy?src=rtsp://admin:geheim@10.0.0.2/s", "http://h/proxy?***"),
            ("(rtsp://0.0.0.0:8554/{stem})", "(rtsp://0.0.0.0:8554/{stem})"),
            ("give udp://HOST:PORT?rtp=NAME, one of", "give udp://HOST:PORT?rtp=NAME, one of"),
            ("rtsp://user:geheim", "rtsp://***"),
            ("http://[fe80::1%eth0]:80/x", "http://[fe80::1%eth0]:80/x"),
            ("kafka://me:pw,2@h:1,h2/site: gone", "kafka://***@h:1,h2/site: gone"),
            ("kafka://me:pw,2", "kafka://***"),
            ("kafka://h,h2?sasl=plain", "kafka://h,h2?***"),
            ("mqtt://h:1,h2/site", "mqtt://***/site"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn arguments_hide_passwords_with_spaces() {
        let arguments = ["detect", "rtsp://u:pa ss@h/x", "--password", "a b", "-o", "my clip.mkv"].map(str::to_owned);
        assert_eq!(redact_arguments(arguments.into_iter()), "detect rtsp://***@h/x --password *** -o my clip.mkv");
    }

    proptest::proptest! {
        /// A secret, wherever it stands in whatever kind of address, in a sentence or alone, is not shown.
        #[test]
        fn no_secret_of_any_address_is_shown(
            scheme in proptest::sample::select(vec!["rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp", "http", "https", "ftp", "RTMP"]),
            place in 0..9_usize,
            key in "[a-zA-Z_-]{1,12}",
            secret in "[a-z]{2}[0-9]{2}[A-Za-z0-9]{12,20}",
            symbol in proptest::sample::select(vec!["", "/", "@", ":", "?", "#", "%40", "&", "@/", "/@", "@?", "@x#"]),
        ) {
            let secret = format!("{}{symbol}{}", &secret[..8], &secret[8..]);
            let address = match place {
                0 => format!("{scheme}://me:{secret}@host:1/app/name"),
                // A name alone ends where the host would.
                1 => format!("{scheme}://{}@host/app", secret.replace(['/', '?', '#'], "")),
                2 => format!("{scheme}://host:1/app?{key}={secret}"),
                3 => format!("{scheme}://host:1/app?a=1&{key}={secret}&b=2#x"),
                4 => format!("{scheme}://host:1/app/x#{secret}"),
                5 => format!("{scheme}://host:1?{key}=publish:cam:me:{secret}"),
                6 => format!("rtmp://host/app/{secret}"),
                7 => format!("{scheme}://host/a/{key}={secret}/b"),
                _ => format!("{scheme}://host/a/b.mp4?x=1&X-Amz-Credential={secret}"),
            };
            for text in [address.clone(), format!("{address}: refused"), format!("(see \"{address}\")"), format!("uri={address}, x")] {
                let said = redact(&text);
                for part in [&secret[..8], &secret[secret.len() - 8..]] {
                    proptest::prop_assert!(!said.contains(part), "{said} of {text}");
                }
            }
        }
    }

    #[test]
    fn a_password_in_an_argument_is_found() {
        for shown in [
            "--password",
            "--password=x",
            "--token",
            "--token=x",
            "rtsp://user:x@host/a",
            "rtmp://host/live?token=x",
            "srt://h:1?passphrase=x",
        ] {
            assert!(shows_password(shown), "{shown}");
        }
        for none in ["clip@home.mp4", "rtsp://user@host/a", "rtsp://host:554/a", "https://host/a?x=1", "--user", "-"] {
            assert!(!shows_password(none), "{none}");
        }
    }

    #[test]
    fn user_info_ends_before_the_host() {
        assert_eq!(split_user_info("u:p@ss@host/x"), (Some("u:p@ss"), "host/x"));
        assert_eq!(split_user_info("host:554/cam@1"), (None, "host:554/cam@1"));
        assert_eq!(split_user_info("u:a/b@host"), (Some("u:a/b"), "host"));
        for two in ["u:p@ss/@10.0.0.2/x", "u:p@ss/@host:554/x", "u:p@ss?@cam.local/x", "u:p@ss/@[::1]/x"] {
            assert!(has_two_hosts(two), "{two}");
        }
        for one in
            ["u:p@host/cam@1", "u:p@host/cam@1.sdp", "u@host/x@y:5", "u:p@host/x?m=a@b.c/", "host:554/c@10.0.0.2"]
        {
            assert!(!has_two_hosts(one), "{one}");
        }
    }

    #[test]
    fn a_secret_matches_itself_alone() {
        let secret = Secret::new("s3cret");
        assert!(secret.matches(b"s3cret"));
        assert!([&b""[..], b"s3cre", b"s3cret ", b"S3cret"].iter().all(|other| !secret.matches(other)));
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let credentials = Credentials { user: Secret::new("pilot"), password: Secret::new("hunter2") };
        let shown = format!("{credentials:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("pilot"), "{shown}");
    }
}
