//! What `-o`, `--display` and `--segment` ask for, as targets.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::distinct::real;
use super::error::PlanError;
use super::names::stem;
use super::request::OutputRequest;
use crate::pipeline::job::SourceSpec;
use crate::secrets::{Credentials, Secret, redact, split_user_info};
use crate::sink::{Access, PushUrl, RtspServer, Target, TlsFiles, codec_for};

/// Port of a served stream where none is given, without TLS and with it.
const RTSP_PORT: u16 = 8554;
const RTSPS_PORT: u16 = 8322;
/// Length of an HLS segment: a player is a few of them behind.
const HLS_SEGMENT: Duration = Duration::from_secs(4);

/// The outputs that were asked for, read.
pub(super) struct Outputs<'a> {
    request: &'a OutputRequest,
    files: Vec<Option<&'a OsStr>>,
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
    /// Reads what was asked for.
    pub fn read(request: &'a OutputRequest) -> Result<Self, PlanError> {
        let (mut files, mut live, mut servers) = (Vec::new(), Vec::new(), BTreeMap::new());
        for given in &request.outputs {
            if given.is_empty() {
                let (output, problem) = ("\"\"".to_owned(), "names nothing".to_owned());
                return Err(PlanError::Output { output, problem, remedy: "give a file, a folder or none".into() });
            }
            let Some(output) = given.to_str() else {
                let shown = given.to_string_lossy();
                if shown.contains("://") || shown.starts_with("hls:") {
                    return Err(PlanError::NotUtf8 { name: redact(&shown) });
                }
                files.push(Some(given.as_os_str()));
                continue;
            };
            let refused = |problem: String, remedy: &str| PlanError::Output {
                output: redact(output),
                problem,
                remedy: remedy.to_owned(),
            };
            if let Some((scheme @ ("rtsp" | "rtsps" | "rtmp" | "rtmps" | "udp" | "srt"), rest)) =
                output.split_once(":/")
                && !rest.starts_with('/')
            {
                return Err(refused(
                    "is neither a file nor an address".to_owned(),
                    &format!("an address has two slashes behind {scheme}:"),
                ));
            }
            if output == "-" {
                return Err(refused("video is not written to standard output".into(), "-o none writes no video"));
            }
            if is_device(Path::new(output)) {
                return Err(refused("is a device, no file".into(), "-o none writes no video"));
            }
            if let Some(folder) = output.strip_prefix("hls:") {
                if folder.is_empty() || folder.contains("://") {
                    return Err(refused("names no folder".into(), "give one, as hls:live/"));
                }
                live.push(Live::Hls(folder.to_owned()));
                continue;
            }
            let Some((scheme, rest)) = output.split_once("://") else {
                files.push(Some(given.as_os_str()));
                continue;
            };
            live.push(match scheme {
                "rtsp" | "rtsps" => {
                    let has_tls = scheme == "rtsps";
                    let (credentials, place) = viewer(rest).map_err(|problem| refused(problem.into(), VIEWER))?;
                    let (address, name) = served(place, has_tls).map_err(|problem| refused(problem, SERVED))?;
                    let tls = has_tls.then(|| tls_files(request)).transpose().map_err(|e| refused(e.into(), TLS))?;
                    let access = Access { credentials, tls };
                    let server = servers
                        .entry(address)
                        .or_insert_with(|| RtspServer::at(address, &access, request.max_clients));
                    if *server.access() != access {
                        let problem = "another output at this address has another scheme, user or password";
                        return Err(refused(problem.into(), "give all of one address the same, or another port"));
                    }
                    Live::Serve { address, name }
                }
                "rtmp" | "rtmps" | "udp" | "srt" => Live::Push(pushed(output)?),
                _ => {
                    return Err(refused(
                        format!("nothing is sent by {scheme}://"),
                        "rtsp://:PORT/NAME and rtsps:// serve it; rtmp://, udp:// and srt:// send it; hls:FOLDER/ writes a playlist",
                    ));
                }
            });
        }
        let none = Some(OsStr::new("none"));
        let nothing = files == [none];
        if files.len() > 1 && files.contains(&none) {
            return Err(PlanError::NoneAndFile);
        }
        let mut seen = HashSet::new();
        if let Some(twice) = files.iter().flatten().find(|file| !seen.insert(**file)) {
            return Err(PlanError::SameFile { first: "-o", second: "-o", path: PathBuf::from(twice) });
        }
        if nothing || (files.is_empty() && live.is_empty()) {
            // Without any, a file has a name from its source's.
            files = if nothing { Vec::new() } else { vec![None] };
        }
        if let Some(segments) = request.segments {
            if files.is_empty() {
                return Err(PlanError::NothingToSegment);
            }
            if segments.keep.is_some_and(|keep| keep < segments.length) {
                return Err(PlanError::KeepsNothing);
            }
        }
        Ok(Self { request, files, live, servers, mounts: HashSet::new(), folders: HashSet::new() })
    }

    /// Files asked for, as given; `None` is the one under the source's own name.
    pub fn files(&self) -> Vec<Option<&'a OsStr>> {
        self.files.clone()
    }

    /// Images have no time: they are not served.
    pub fn refuse_images(&self, source: &str) -> Result<(), PlanError> {
        let output = match (self.live.is_empty(), self.request.display, self.request.segments) {
            (false, ..) => "a stream",
            (_, true, _) => "--display",
            (.., Some(_)) => "--segment",
            _ => return Ok(()),
        };
        Err(PlanError::Images { source_name: source.to_owned(), output })
    }

    /// Makes `targets`, the files of source `number`, complete, and adds its live outputs.
    pub fn complete(
        &mut self,
        source: &SourceSpec,
        several: bool,
        number: usize,
        targets: &mut Vec<Target>,
    ) -> Result<(), PlanError> {
        for target in targets.iter_mut() {
            if let Target::File(file) = target {
                file.segments = self.request.segments;
                file.overwrite = self.request.overwrite;
                file.gaps = self.request.gaps;
            }
        }
        let name = match source {
            SourceSpec::Live(address) => address.stem(),
            SourceSpec::Video(path) => stem(path).display().to_string(),
            SourceSpec::Images(_) => String::new(),
        };
        let fill = |pattern: &str| pattern.replace("{stem}", &name).replace("{stream}", &number.to_string());
        let one = |output: String| PlanError::OneAddress { output };
        for live in &self.live {
            targets.push(match live {
                Live::Serve { address, name } => {
                    let mount = fill(name);
                    let server = self.servers[address].clone();
                    if !self.mounts.insert((*address, mount.clone())) {
                        return Err(one(server.url(name)));
                    }
                    Target::Serve { server, mount }
                }
                Live::Push(url) => {
                    let filled = PushUrl::new(&fill(url.secret()));
                    if several && filled == *url {
                        return Err(one(url.to_string()));
                    }
                    Target::Push(filled)
                }
                Live::Hls(pattern) => {
                    let folder = PathBuf::from(fill(pattern));
                    if !self.folders.insert(real(&folder)) {
                        return Err(one(format!("hls:{pattern}")));
                    }
                    Target::Hls { folder, segment: HLS_SEGMENT, live: source.is_live() }
                }
            });
        }
        if self.request.display {
            targets.push(Target::Display);
        }
        codec_for(targets)?;
        Ok(())
    }
}

/// Whether it is what a file cannot take the place of: `/dev/null`, a terminal, a disk.
fn is_device(path: &Path) -> bool {
    path.metadata().is_ok_and(|there| there.file_type().is_char_device() || there.file_type().is_block_device())
}

/// How who may watch is written.
const VIEWER: &str =
    "give rtsp://USER:PASSWORD@0.0.0.0:8554/NAME, with %40 for @, %2F for / and, in the password, %3A for :";
/// What a certificate is given by.
const TLS: &str = "give --tls-cert FILE and --tls-key FILE, both PEM";

/// Who may watch, and the rest of an address.
fn viewer(rest: &str) -> Result<(Option<Credentials>, &str), &'static str> {
    let (Some(given), rest) = split_user_info(rest) else { return Ok((None, rest)) };
    let (user, password) = given.split_once(':').unwrap_or((given, ""));
    if user.is_empty() || password.is_empty() {
        return Err("a user and a password are needed, or neither");
    }
    let both = decoded(user).zip(decoded(password)).ok_or("the user or the password cannot be sent")?;
    if both.0.contains(':') {
        return Err("a user name with a colon ends at it when it is sent");
    }
    let (user, password) = (Secret::new(both.0), Secret::new(both.1));
    Ok((Some(Credentials { user, password }), rest))
}

/// What stands for the text in an address; `None` where no client could send it.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok().filter(|text| !text.contains(['"', '\0']))
}

/// The certificate of a server, and its key.
fn tls_files(request: &OutputRequest) -> Result<TlsFiles, &'static str> {
    match (&request.tls_cert, &request.tls_key) {
        (Some(certificate), Some(key)) => Ok(TlsFiles { certificate: certificate.clone(), key: key.clone() }),
        (None, None) => Err("TLS needs a certificate and its private key"),
        (None, _) => Err("TLS needs a certificate beside its private key"),
        (_, None) => Err("TLS needs the certificate's private key as well"),
    }
}

/// How an address to serve at is written.
const SERVED: &str = "give rtsp://:8554/NAME, or rtsp://0.0.0.0:8554/NAME for other machines";

/// `[ADDRESS][:PORT]/NAME` of an address that is served: loopback unless another is written; else what is wrong with it.
fn served(rest: &str, has_tls: bool) -> Result<(SocketAddr, String), String> {
    let (place, name) = rest.split_once('/').unwrap_or((rest, ""));
    if name.trim_matches('/').is_empty() || name.contains(['?', '#', ' ']) {
        return Err("the stream needs a name".into());
    }
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| format!("{port} is no port"))?),
        _ => (place, if has_tls { RTSPS_PORT } else { RTSP_PORT }),
    };
    let host = host.trim_matches(['[', ']']);
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let mut found = (host, port).to_socket_addrs().map_err(|e| format!("{host}: {e}"))?;
    let address = found.next().ok_or_else(|| format!("{host} has no address"))?;
    Ok((address, format!("/{}", name.trim_matches('/'))))
}

/// A URL to push to.
fn pushed(url: &str) -> Result<PushUrl, PlanError> {
    let push = PushUrl::new(url);
    if push.host_and_port().is_some() {
        return Ok(push);
    }
    Err(PlanError::Output {
        output: push.to_string(),
        problem: "host and port are missing".into(),
        remedy: format!("give {}://HOST:PORT", push.scheme()),
    })
}

/// Checks that the host of a URL to push to has an address.
pub(super) fn check_host(url: &PushUrl) -> Result<(), PlanError> {
    let Some((host, port)) = url.host_and_port() else { return Ok(()) };
    if url.scheme() == "srt" && host.is_empty() {
        // A listener.
        return Ok(());
    }
    match (host.as_str(), port).to_socket_addrs() {
        Ok(_) => Ok(()),
        Err(e) => Err(PlanError::Output {
            output: url.to_string(),
            problem: e.to_string(),
            remedy: "check the host's name".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_loopback_unless_another_is_written() {
        let read = |rest: &str| served(rest, false).map(|(address, name)| format!("{address}{name}"));
        assert_eq!(read(":8554/cam").as_deref(), Ok("127.0.0.1:8554/cam"));
        assert_eq!(read("0.0.0.0:9000/a/b/").as_deref(), Ok("0.0.0.0:9000/a/b"));
        assert_eq!(read("/cam").as_deref(), Ok("127.0.0.1:8554/cam"));
        assert_eq!(read("[::1]:8554/cam").as_deref(), Ok("[::1]:8554/cam"));
        assert_eq!(read("[::1]/cam").as_deref(), Ok("[::1]:8554/cam"));
        for wrong in [":8554", ":8554/", ":99999/x", "geheim@:8554/x", ":geheim@:8554/x", "a:g%22eheim@:1/x"] {
            let request = OutputRequest { outputs: vec![format!("rtsp://{wrong}").into()], ..OutputRequest::default() };
            let said = Outputs::read(&request).map(|_| ()).expect_err("it is refused").to_string();
            assert!(said.contains("give rtsp://") && !said.contains("geheim"), "{said}");
        }
    }
}
