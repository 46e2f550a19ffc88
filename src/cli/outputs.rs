//! Where annotated video goes: what `-o`, `--display` and `--segment` ask for, checked before any work is done.

use std::collections::{BTreeMap, HashSet};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::jobs::stem;
use crate::pipeline::SourceSpec;
use crate::secrets::redact;
use crate::sink::{PushUrl, RtspServer, Segments, Target, check_display, check_output, codec_for};

/// Port of a served stream where none is given.
const RTSP_PORT: u16 = 8554;
/// Length of an HLS segment: a few of them are what a player is behind.
const HLS_SEGMENT: Duration = Duration::from_secs(4);

/// What the user gave.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    /// `-o`, as often as it was given.
    pub outputs: Vec<String>,
    pub overwrite: bool,
    pub display: bool,
    pub segments: Option<Segments>,
    /// Files are not held back.
    pub full_speed: bool,
}

impl Given {
    /// Nothing is written.
    pub fn none() -> Self {
        Self { outputs: vec!["none".into()], ..Self::default() }
    }
}

/// The same, read; and the servers that were started for it.
pub(super) struct Outputs<'a> {
    given: &'a Given,
    files: Vec<Option<&'a str>>,
    live: Vec<Live>,
    /// By the address asked for.
    servers: BTreeMap<SocketAddr, Arc<RtspServer>>,
    mounts: HashSet<(SocketAddr, String)>,
    folders: HashSet<PathBuf>,
}

/// An output that is no file.
enum Live {
    Serve { address: SocketAddr, name: String },
    Push(PushUrl),
    Hls(String),
}

impl<'a> Outputs<'a> {
    /// Reads what was given. Addresses are listened on from here on.
    pub fn read(given: &'a Given) -> Result<Self, String> {
        let (mut files, mut live, mut servers) = (Vec::new(), Vec::new(), BTreeMap::new());
        for output in &given.outputs {
            if let Some(folder) = output.strip_prefix("hls:") {
                if folder.is_empty() {
                    return Err("-o hls: names no folder\n  give one, as hls:live/".into());
                }
                live.push(Live::Hls(folder.to_owned()));
                continue;
            }
            let Some((scheme, rest)) = output.split_once("://") else {
                files.push(Some(output.as_str()));
                continue;
            };
            live.push(match scheme {
                "rtsp" => {
                    let (address, name) = served(rest).map_err(|problem| format!("-o {}: {problem}", redact(output)))?;
                    if let std::collections::btree_map::Entry::Vacant(free) = servers.entry(address) {
                        free.insert(Arc::new(RtspServer::start(address).map_err(|e| e.to_string())?));
                    }
                    Live::Serve { address, name }
                }
                "rtmp" | "rtmps" | "udp" | "srt" => Live::Push(pushed(output)?),
                _ => {
                    return Err(format!(
                        "-o {}: nothing is sent by {scheme}://\n  \
                         rtsp://:PORT/NAME serves it; rtmp://, udp:// and srt:// send it; hls:FOLDER/ writes a playlist",
                        redact(output)
                    ));
                }
            });
        }
        let nothing = files == [Some("none")];
        if files.len() > 1 && files.contains(&Some("none")) {
            return Err("-o none goes with no other file\n  leave it out".into());
        }
        if nothing || (files.is_empty() && live.is_empty()) {
            // Without any, a file has its own name.
            files = if nothing { Vec::new() } else { vec![None] };
        }
        if let Some(segments) = given.segments {
            if files.is_empty() {
                return Err("--segment: there is no file to cut\n  name one with -o".into());
            }
            if segments.keep.is_some_and(|keep| keep < segments.length) {
                return Err(
                    "--keep is shorter than --segment: nothing would be kept\n  keep at least one segment".into()
                );
            }
        }
        if given.display {
            check_display().map_err(|e| e.to_string())?;
        }
        Ok(Self { given, files, live, servers, mounts: HashSet::new(), folders: HashSet::new() })
    }

    /// Files asked for, as given; `None` is the one under the source's own name.
    pub fn files(&self) -> Vec<Option<&'a str>> {
        self.files.clone()
    }

    /// Pictures have no time: they are not served.
    pub fn refuse_pictures(&self, source: &str) -> Result<(), String> {
        let what = match (self.live.is_empty(), self.given.display, self.given.segments) {
            (false, ..) => "a stream",
            (_, true, _) => "--display",
            (.., Some(_)) => "--segment",
            _ => return Ok(()),
        };
        Err(format!("{source}: pictures cannot go to {what}\n  give video, or write them to a folder with -o"))
    }

    /// Makes `targets`, the files of source `number`, complete, and checks that all of them can be used.
    pub fn complete(
        &mut self,
        source: &SourceSpec,
        several: bool,
        number: usize,
        targets: &mut Vec<Target>,
    ) -> Result<(), String> {
        for target in targets.iter_mut() {
            if let Target::File { path, segments, overwrite } = target {
                (*segments, *overwrite) = (self.given.segments, self.given.overwrite);
                check_file(path, *segments, *overwrite)?;
            }
        }
        let name = match source {
            SourceSpec::Live(address) => address.stem(),
            SourceSpec::Video(path) => stem(path),
            SourceSpec::Pictures(_) => String::new(),
        };
        let fill = |pattern: &str| pattern.replace("{stem}", &name).replace("{stream}", &number.to_string());
        let one = |what: &str| {
            format!("-o {what} names one output for several sources\n  put {{stem}} or {{stream}} into its name")
        };
        for live in &self.live {
            targets.push(match live {
                Live::Serve { address, name } => {
                    let mount = fill(name);
                    let server = self.servers[address].clone();
                    if !self.mounts.insert((*address, mount.clone())) {
                        return Err(one(&server.url(name)));
                    }
                    Target::Serve { server, mount }
                }
                Live::Push(url) => {
                    let filled = PushUrl::new(&fill(url.secret()));
                    if several && filled == *url {
                        return Err(one(&url.to_string()));
                    }
                    Target::Push(filled)
                }
                Live::Hls(pattern) => {
                    let folder = PathBuf::from(fill(pattern));
                    if !self.folders.insert(folder.clone()) {
                        return Err(one(&format!("hls:{pattern}")));
                    }
                    check_output(&folder.join("index.m3u8"), self.given.overwrite).map_err(|e| e.to_string())?;
                    Target::Hls { folder, segment: HLS_SEGMENT, live: source.is_live() }
                }
            });
        }
        if self.given.display {
            targets.push(Target::Display);
        }
        codec_for(targets).map(|_| ()).map_err(|e| e.to_string())
    }
}

/// `[ADDRESS][:PORT]/NAME` of an address that is served: loopback unless another is written.
fn served(rest: &str) -> Result<(SocketAddr, String), String> {
    let (place, name) = rest.split_once('/').unwrap_or((rest, ""));
    let example = "\n  give rtsp://:8554/NAME, or rtsp://0.0.0.0:8554/NAME for other machines";
    if place.contains('@') {
        return Err(format!("a served stream asks for no password, so it can have none{example}"));
    }
    if name.trim_matches('/').is_empty() || name.contains(['?', '#', ' ']) {
        return Err(format!("the stream needs a name{example}"));
    }
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().map_err(|_| format!("{port} is no port{example}"))?)
        }
        _ => (place, RTSP_PORT),
    };
    let host = host.trim_matches(['[', ']']);
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let mut found = (host, port).to_socket_addrs().map_err(|e| format!("{host}: {e}{example}"))?;
    let address = found.next().ok_or_else(|| format!("{host} has no address{example}"))?;
    Ok((address, format!("/{}", name.trim_matches('/'))))
}

/// A URL to push to, whose host is there.
fn pushed(url: &str) -> Result<PushUrl, String> {
    let push = PushUrl::new(url);
    let refused = |problem: &str, remedy: &str| Err(format!("-o {push}: {problem}\n  {remedy}"));
    let Some((host, port)) = push.host_and_port() else {
        return refused("host and port are missing", &format!("give {}://HOST:PORT", push.scheme()));
    };
    if push.scheme() == "srt" && host.is_empty() {
        // One who listens.
        return Ok(push);
    }
    match (host.as_str(), port).to_socket_addrs() {
        Ok(_) => Ok(push),
        Err(e) => refused(&e.to_string(), "check the host's name"),
    }
}

/// Checks that a file, or its segments, may be written.
fn check_file(path: &Path, segments: Option<Segments>, overwrite: bool) -> Result<(), String> {
    if segments.is_none() {
        return check_output(path, overwrite).map_err(|e| e.to_string());
    }
    let numbered = |number: &str| {
        let ending = path.extension().map_or_else(String::new, |e| format!(".{}", e.to_string_lossy()));
        path.with_file_name(format!("{}-{number}{ending}", stem(path)))
    };
    let pattern = numbered("[0-9][0-9][0-9][0-9]").display().to_string();
    let there = glob::glob(&pattern).ok().and_then(|mut found| found.find_map(Result::ok));
    if let Some(there) = there.filter(|_| !overwrite) {
        return Err(format!(
            "{} exists already\n  give --overwrite to replace it, or another name with -o",
            there.display()
        ));
    }
    check_output(&numbered("0001"), overwrite).map_err(|e| e.to_string())
}

/// A length of time: `30s`, `10m`, `24h`, `7d`; a bare number is seconds.
pub(super) fn length(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("give a length as 30s, 10m, 24h or 7d".into()),
    };
    let length = number.parse::<f64>().ok().and_then(|number| Duration::try_from_secs_f64(number * seconds).ok());
    length
        .filter(|length| *length >= Duration::from_secs(1))
        .ok_or_else(|| "give at least one second, as 30s, 10m or 24h".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_loopback_unless_another_is_written() {
        let read = |rest: &str| served(rest).map(|(address, name)| format!("{address}{name}"));
        assert_eq!(read(":8554/cam").as_deref(), Ok("127.0.0.1:8554/cam"));
        assert_eq!(read("0.0.0.0:9000/a/b/").as_deref(), Ok("0.0.0.0:9000/a/b"));
        assert_eq!(read("/cam").as_deref(), Ok("127.0.0.1:8554/cam"));
        assert_eq!(read("[::1]:8554/cam").as_deref(), Ok("[::1]:8554/cam"));
        assert_eq!(read("[::1]/cam").as_deref(), Ok("[::1]:8554/cam"));
        for wrong in [":8554", ":8554/", ":99999/x", "user:geheim@:8554/x"] {
            let said = read(wrong).expect_err("it is refused");
            assert!(said.contains("give rtsp://") && !said.contains("geheim"), "{said}");
        }
    }

    #[test]
    fn lengths_have_units() {
        let seconds = |text: &str| length(text).map(|length| length.as_secs());
        assert_eq!(["30s", "10m", "24h", "7d", "90"].map(seconds), [30, 600, 86_400, 604_800, 90].map(Ok));
        for wrong in ["", "0", "-5s", "5x", "nans", "infd", "1e300h"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
