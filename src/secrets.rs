//! Secrets never reach a log, a file, a metric or a panic: what holds one does not show it, and addresses are shown without.

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
const AFTER: [char; 10] = ['/', '?', '&', ';', '#', ':', ',', ')', '"', '.'];

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

/// Whether `HOST:DIGITS` stands there.
fn is_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether the value of a query's key is not shown.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    SECRET_KEYS.contains(&key.to_ascii_lowercase().as_str())
}

/// Whether a command line's argument holds a password: the option for one, or a URL with one.
#[must_use]
pub fn shows_password(argument: &str) -> bool {
    if argument == "--password" || argument.starts_with("--password=") {
        return true;
    }
    let Some((_, rest)) = argument.split_once("://") else { return false };
    let is_secret = |piece: &str| piece.split_once('=').is_some_and(|(key, _)| is_secret_key(key));
    user_info_end(rest).0.is_some_and(|at| rest[..at].contains(':')) || rest.split(BETWEEN).any(is_secret)
}

/// `text` with user info of URLs, secret query values and what follows `--password` replaced by `***`.
#[must_use]
pub fn redact(text: &str) -> String {
    let mut hide = false;
    let word = |piece: &str| {
        let word = piece.trim_end_matches(SPACES);
        let space = &piece[word.len()..];
        let shown = if std::mem::replace(&mut hide, word == "--password") && !word.is_empty() {
            "***".to_owned()
        } else if word.starts_with("--password=") {
            "--password=***".to_owned()
        } else {
            redact_word(word)
        };
        shown + space
    };
    text.split_inclusive(SPACES).map(word).collect()
}

fn redact_word(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    // Whatever may be a password is taken for one.
    let host = user_info_end(rest).0.map_or_else(|| rest.to_owned(), |at| format!("***@{}", &rest[at + 1..]));
    let mut shown = format!("{scheme}://");
    // Some cameras take a password in the path: /user=admin&password=…&channel=1.
    for piece in host.split_inclusive(BETWEEN) {
        match piece.split_once('=') {
            Some((key, value)) if is_secret_key(key) => {
                let end = &value[value.trim_end_matches(AFTER).len()..];
                shown.extend([key, "=***", end]);
            }
            _ => shown.push_str(piece),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_replaced() {
        for (text, expected) in [
            ("rtsp://user:p@ss@host/x?token=abc&x=1", "rtsp://***@host/x?token=***&x=1"),
            ("rtsp://u:a/b@host:554/x", "rtsp://***@host:554/x"),
            ("clip@home.mp4", "clip@home.mp4"),
            ("srt://h:1?passphrase=s3cret: not there", "srt://h:1?passphrase=***: not there"),
            ("rtsp://u:12/b@host/x", "rtsp://***@host/x"),
            ("rtsp://h/user=admin&password=x&channel=1", "rtsp://h/user=admin&password=***&channel=1"),
            ("detect --password hunter2 x", "detect --password *** x"),
            ("detect --password=hunter2", "detect --password=***"),
            ("rtsp://u:a@h/x\n  rtsp://u:b@h/y", "rtsp://***@h/x\n  rtsp://***@h/y"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn a_password_in_an_argument_is_found() {
        for shown in
            ["--password", "--password=x", "rtsp://user:x@host/a", "rtmp://host/live?token=x", "srt://h:1?passphrase=x"]
        {
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
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let credentials = Credentials { user: Secret::new("pilot"), password: Secret::new("hunter2") };
        let shown = format!("{credentials:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("pilot"), "{shown}");
    }
}
