//! Secrets in URLs never reach a log, a file, a metric or a panic.

/// Query keys whose values are secrets.
const SECRET_KEYS: [&str; 7] = ["password", "passwd", "pwd", "token", "passphrase", "secret", "key"];

/// `text` with user info of URLs and secret query values replaced by `***`.
#[must_use]
pub fn redact(text: &str) -> String {
    text.split(' ').map(redact_word).collect::<Vec<_>>().join(" ")
}

fn redact_word(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may hold '/', which ends the authority for a strict reader: the last '@' before the path decides.
    let at = rest[..end].rfind('@').or_else(|| rest.find('@').filter(|_| rest[..end].contains(':')));
    let host = at.map_or_else(|| rest.to_owned(), |at| format!("***@{}", &rest[at + 1..]));
    let Some((before, query)) = host.split_once('?') else { return format!("{scheme}://{host}") };
    let query: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((key, _)) if SECRET_KEYS.contains(&key.to_ascii_lowercase().as_str()) => format!("{key}=***"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{scheme}://{before}?{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn secrets_are_replaced() {
        assert_eq!(redact("rtsp://user:p@ss@host/x?token=abc&x=1"), "rtsp://***@host/x?token=***&x=1");
        assert_eq!(redact("rtsp://u:a/b@host:554/x"), "rtsp://***@host:554/x");
        assert_eq!(redact("clip@home.mp4"), "clip@home.mp4");
        assert_eq!(redact("srt://h:1?passphrase=s3cret"), "srt://h:1?passphrase=***");
    }
}
