//! A plugin that `GStreamer` lacks, and the Debian package that brings it.

use gstreamer as gst;

/// What a `missing-plugin` message says.
pub(super) struct MissingPlugin {
    /// For people: `H.265 (Main Profile) decoder`.
    pub name: String,
    /// For programs: the caps, or the element's name.
    pub detail: String,
}

impl MissingPlugin {
    pub fn from_message(message: &gst::Message) -> Option<Self> {
        let structure = message.structure().filter(|s| s.name() == "missing-plugin")?;
        let name = structure.get::<String>("name").unwrap_or_else(|_| "decoder for this format".into());
        let detail = match structure.get::<gst::Caps>("detail") {
            Ok(caps) => caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default(),
            Err(_) => structure.get::<String>("detail").unwrap_or_default(),
        };
        Some(Self { name, detail })
    }

    /// Whether video cannot be decoded without it: a track's decoder, or the container's demuxer.
    pub fn is_video(&self) -> bool {
        const OTHERS: [&str; 8] = [
            "audio/",
            "text/",
            "subpicture/",
            "closedcaption/",
            "meta/",
            "application/x-subtitle",
            "application/x-teletext",
            "private/",
        ];
        !OTHERS.iter().any(|media| self.detail.starts_with(media))
    }
}

/// The Debian packages that may bring what handles `media_type`.
pub(super) fn package_for(media_type: &str) -> &'static str {
    match media_type {
        "video/x-vp8" | "video/x-vp9" | "video/quicktime" | "video/x-matroska" | "video/webm" | "video/x-msvideo"
        | "image/png" | "image/jpeg" | "video/x-flv" | "video/x-dv" => "gstreamer1.0-plugins-good",
        "video/x-av1" | "video/mpegts" | "image/webp" => "gstreamer1.0-plugins-bad",
        "video/x-theora" | "application/ogg" => "gstreamer1.0-plugins-base",
        "video/x-ms-asf" => "gstreamer1.0-plugins-ugly",
        "video/x-h264" | "video/x-h265" | "video/mpeg" => "gstreamer1.0-libav",
        _ => {
            "gstreamer1.0-libav and gstreamer1.0-plugins-bad; if it is there already, GStreamer cannot read this format: \
              convert it, e.g. `ffmpeg -i FILE -c:v libx264 out.mp4`"
        }
    }
}
