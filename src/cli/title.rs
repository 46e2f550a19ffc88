//! What other users of the machine see of the command line: without its secrets.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::secrets::redact;

/// Where the arguments begin, in proc(5)'s fields of `stat` after the name.
const ARG_START: usize = 45;

/// Overwrites secrets in the arguments that `ps` shows, where the system allows it. Whoever reads the arguments from then on
/// reads them so.
pub(super) fn hide_secrets() {
    let Ok(shown) = std::fs::read("/proc/self/cmdline") else { return };
    let Some(hidden) = hidden(&shown) else { return };
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let start = after.split_whitespace().nth(ARG_START).and_then(|field| field.parse().ok());
    if let Some((start, memory)) = start.zip(File::options().write(true).open("/proc/self/mem").ok()) {
        let _ = memory.write_all_at(&hidden, start);
    }
}

/// The arguments, each ended by a zero, without secrets and as long as before; `None` where there is none.
fn hidden(shown: &[u8]) -> Option<Vec<u8>> {
    let mut hidden = Vec::with_capacity(shown.len());
    let mut is_password = false;
    for argument in shown.split_inclusive(|byte| *byte == 0) {
        let text = String::from_utf8_lossy(argument.strip_suffix(&[0]).unwrap_or(argument));
        let instead = if is_password { "***".to_owned() } else { redact(&text) };
        is_password = text == "--password";
        if instead == text {
            hidden.extend(argument);
        } else {
            let mut bytes = instead.into_bytes();
            if bytes.len() >= argument.len() {
                bytes = vec![b'*'; argument.len().saturating_sub(1)];
            }
            bytes.resize(argument.len(), 0);
            hidden.extend(bytes);
        }
    }
    (hidden != shown).then_some(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_overwritten_and_nothing_moves() {
        let shown = b"streamdet\0detect\0rtsp://pilot:hunter2@cam/x\0--password\0hunter2\0rtsp://u@h\0-v\0";
        let hidden = hidden(shown).expect("there are secrets");
        assert_eq!(hidden.len(), shown.len());
        let text = String::from_utf8(hidden).expect("text");
        assert!(text.starts_with("streamdet\0detect\0rtsp://***@cam/x\0"), "{text:?}");
        assert!(text.ends_with("\0**********\0-v\0"), "{text:?}");
        assert!(!text.contains("hunter2") && !text.contains("pilot"), "{text:?}");
        assert_eq!(super::hidden(b"streamdet\0detect\0clip.mp4\0"), None);
    }
}
