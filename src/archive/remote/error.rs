//! What goes wrong with what lies elsewhere, by who can do something about it.

use std::error::Error;
use std::io::{self, ErrorKind};

use object_store::Error as StoreError;

use crate::text::megabytes;

/// Why a file was not fetched, or its outputs not sent. Nothing in it is an address: the file is named beside it.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// There is none, for whoever asks.
    #[error(
        "no such object ({0})\n  check its name; one that ends with / stands for all below it, and is given to `streamdet work add`"
    )]
    Missing(String),
    /// These credentials may not.
    #[error("refused ({0})\n  the workers' credentials may not read it")]
    Refused(String),
    /// It fits into no cache of this size.
    #[error("{} do not fit into the cache of {}\n  give a larger --cache-size", megabytes(*.size), megabytes(*.cache))]
    TooLarge {
        /// The file's, bytes.
        size: u64,
        /// The cache's.
        cache: u64,
    },
    /// It is another one each time.
    #[error("it is changed again and again while it is fetched\n  add it when it is whole")]
    Changing,
    /// A web server that says too little.
    #[error("the server does not say how long it is\n  copy it to where it does")]
    NoLength,
    /// Somebody else's object has an output's name.
    #[error("{0} exists already\n  give --overwrite, or another name")]
    Exists(String),
    /// A store without conditional writes.
    #[error(
        "the store does not know conditional writes (If-None-Match), without which an object of somebody else might be replaced\n  give --overwrite"
    )]
    Unconditional,
    /// Nothing here can be fetched or sent, as this machine is set up.
    #[error("{0}")]
    Settings(String),
    /// The store is not reached, or does not answer.
    #[error("the store does not answer: {0}\n  is it there, and are AWS_ENDPOINT_URL and AWS_REGION right?")]
    Away(String),
    /// This machine's disk.
    #[error("the cache: {0}\n  choose a folder that can be written, or has room, with --cache")]
    Disk(#[from] io::Error),
    /// Told to stop.
    #[error("stopped")]
    Stopped,
}

impl RemoteError {
    /// Whether no machine can do anything about it.
    #[must_use]
    pub fn is_of_the_file(&self) -> bool {
        match self {
            Self::Missing(_)
            | Self::Refused(_)
            | Self::TooLarge { .. }
            | Self::Changing
            | Self::NoLength
            | Self::Exists(_) => true,
            Self::Unconditional | Self::Settings(_) | Self::Away(_) | Self::Disk(_) | Self::Stopped => false,
        }
    }

    /// Whether another worker is at the same file.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Disk(error) if error.kind() == ErrorKind::ResourceBusy)
    }
}

/// Codes of S3 that say that nothing can be done with these credentials or from this machine, though each request is answered.
const SETTINGS: [(&str, &str); 13] = [
    ("InvalidAccessKeyId", CREDENTIALS),
    ("SignatureDoesNotMatch", CREDENTIALS),
    ("InvalidToken", CREDENTIALS),
    ("ExpiredToken", CREDENTIALS),
    ("ExpiredTokenException", CREDENTIALS),
    ("TokenRefreshRequired", CREDENTIALS),
    ("InvalidClientTokenId", CREDENTIALS),
    ("AccountProblem", CREDENTIALS),
    ("RequestTimeTooSkewed", "set this machine's clock"),
    ("AuthorizationHeaderMalformed", REGION),
    ("PermanentRedirect", REGION),
    ("IllegalLocationConstraintException", REGION),
    ("NoSuchBucket", "check the bucket's name, AWS_ENDPOINT_URL and AWS_REGION"),
];
const CREDENTIALS: &str =
    "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN in this worker's environment";
const REGION: &str = "set AWS_REGION to the bucket's";

impl From<StoreError> for RemoteError {
    fn from(error: StoreError) -> Self {
        let text = chain(&error);
        let code = code(&text);
        if let Some((code, remedy)) = SETTINGS.iter().find(|(known, _)| code == Some(known)) {
            return Self::Settings(format!("{code}\n  {remedy}"));
        }
        let status = status(&text);
        let said = match (status, code) {
            (Some(status), Some(code)) => format!("{status} {code}"),
            (Some(status), None) => status.to_string(),
            (None, _) => String::new(),
        };
        match (&error, status) {
            (StoreError::NotFound { .. }, _) | (_, Some(410)) => Self::Missing(or(said, "404")),
            (StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }, _) => {
                Self::Refused(or(said, "403"))
            }
            (StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }, _) => Self::Exists(String::new()),
            (_, Some(501)) => Self::Unconditional,
            _ if text.contains("Received redirect without LOCATION") || matches!(status, Some(301 | 307)) => {
                Self::Settings(format!("redirected\n  {REGION}, or AWS_ENDPOINT_URL"))
            }
            _ if text.contains("Content-Length Header missing") => Self::NoLength,
            (_, Some(status)) if (400..500).contains(&status) && status != 429 && status != 408 => Self::Refused(said),
            (_, Some(_)) => Self::Away(said),
            // Of the environment, not of an answer.
            _ if text.contains("Missing SecretAccessKey") || text.contains("Missing AccessKeyId") => Self::Settings(
                format!("AWS_ACCESS_KEY_ID without AWS_SECRET_ACCESS_KEY, or the other way round\n  {CREDENTIALS}"),
            ),
            _ if text.contains("169.254.") => Self::Settings(format!(
                "no credentials in the environment, and none of this machine's (instance or container role)\n  {CREDENTIALS}, or \
                 AWS_SKIP_SIGNATURE=true for a public bucket"
            )),
            _ => Self::Away(innermost(&error)),
        }
    }
}

fn or(said: String, else_said: &str) -> String {
    if said.is_empty() { else_said.to_owned() } else { said }
}

/// What an error and its reasons say: never shown, since it has addresses and what a server answers.
fn chain(error: &dyn Error) -> String {
    let (mut text, mut reason) = (error.to_string(), error.source());
    while let Some(inner) = reason {
        text = format!("{text}: {inner}");
        reason = inner.source();
    }
    text
}

/// The last reason, which is the system's or TLS's.
fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(inner) = last.source() {
        last = inner;
    }
    crate::secrets::redact(&last.to_string())
}

/// The code of S3's answer.
fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    (code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(code)
}

/// HTTP's.
fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("non-2xx status code: ")?;
    rest.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> RemoteError {
        StoreError::Generic { store: "S3", source: text.to_owned().into() }.into()
    }

    #[test]
    fn it_is_known_who_is_at_fault() {
        let answer = |status: u16, code: &str| {
            of(&format!(
                "Server returned non-2xx status code: {status} X: <Error><Code>{code}</Code><Key>geheim</Key></Error>"
            ))
        };
        assert!(matches!(answer(400, "ExpiredToken"), RemoteError::Settings(_)));
        assert!(matches!(answer(403, "RequestTimeTooSkewed"), RemoteError::Settings(text) if text.contains("clock")));
        assert!(matches!(answer(503, "SlowDown"), RemoteError::Away(text) if text == "503 SlowDown"));
        assert!(
            matches!(answer(405, "MethodNotAllowed"), RemoteError::Refused(text) if text == "405 MethodNotAllowed")
        );
        assert!(matches!(answer(501, "NotImplemented"), RemoteError::Unconditional));
        assert!(matches!(of("connection refused"), RemoteError::Away(_)));
        let denied = StoreError::PermissionDenied { path: "x".into(), source: "<Code>AccessDenied</Code>".into() };
        assert!(matches!(denied.into(), RemoteError::Refused(_)));
        assert!(!answer(403, "<b>").to_string().contains("geheim"));
    }
}
