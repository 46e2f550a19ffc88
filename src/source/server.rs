//! What the server of a live source says on the streaming threads while a connection is made.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::audio::Place;

/// What the server has said so far.
#[derive(Debug, Default)]
pub(super) struct ServerState {
    announced: AtomicU64,
    /// The announced audio tracks, by their number among all tracks.
    audio: Mutex<BTreeSet<u32>>,
    certificate: Mutex<Option<&'static str>>,
}

impl ServerState {
    /// Video and audio tracks that the server has announced, where it does.
    pub fn announced_tracks(&self) -> u64 {
        self.announced.load(Ordering::SeqCst)
    }

    /// Audio tracks among them.
    pub fn announced_audio(&self) -> usize {
        self.audio.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The place of the track of this number among the announced audio tracks, where it is one of them.
    pub fn audio_place(&self, number: u32) -> Option<Place> {
        let audio = self.audio.lock().unwrap_or_else(PoisonError::into_inner);
        audio.contains(&number).then(|| Place { index: audio.range(..number).count(), of: audio.len() })
    }

    /// What is wrong with the server's certificate.
    pub fn certificate_fault(&self) -> Option<&'static str> {
        *self.certificate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to `rtspsrc`; of its tracks only video and audio are asked for: cameras also offer metadata.
    pub fn listen(self: &Arc<Self>, rtspsrc: &gst::Element) {
        let this = self.clone();
        rtspsrc.connect("accept-certificate", false, move |values| {
            let flags = values.get(3).and_then(|value| value.get::<gio::TlsCertificateFlags>().ok());
            let fault = flags.map_or("invalid certificate", certificate_fault);
            *this.certificate.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
            Some(false.to_value())
        });
        let this = self.clone();
        rtspsrc.connect("select-stream", false, move |values| {
            let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
            let media = caps.as_ref().and_then(|caps| caps.structure(0)?.get::<String>("media").ok());
            let number = values.get(1).and_then(|value| value.get::<u32>().ok());
            if let Some(number) = number.filter(|_| media.as_deref() == Some("audio")) {
                this.audio.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
            }
            let is_wanted = media.is_none_or(|media| media == "video" || media == "audio");
            this.announced.fetch_add(u64::from(is_wanted), Ordering::SeqCst);
            Some(is_wanted.to_value())
        });
    }
}

fn certificate_fault(flags: gio::TlsCertificateFlags) -> &'static str {
    for (flag, fault) in [
        (gio::TlsCertificateFlags::EXPIRED, "certificate has expired"),
        (gio::TlsCertificateFlags::NOT_ACTIVATED, "certificate is not yet valid"),
        (gio::TlsCertificateFlags::REVOKED, "certificate has been revoked"),
        (gio::TlsCertificateFlags::BAD_IDENTITY, "certificate is for another host name"),
        (gio::TlsCertificateFlags::UNKNOWN_CA, "certificate signed by an unknown authority"),
        (gio::TlsCertificateFlags::INSECURE, "certificate uses an insecure algorithm"),
    ] {
        if flags.contains(flag) {
            return fault;
        }
    }
    "invalid certificate"
}
