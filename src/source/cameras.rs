//! Cameras at this machine, as `GStreamer`'s device monitor lists them.

use gstreamer as gst;
use gstreamer::prelude::*;

/// A camera.
#[derive(Debug)]
pub struct Camera {
    /// What makes its element.
    pub device: gst::Device,
    /// As its maker calls it.
    pub name: String,
    /// Its node, e.g. `/dev/video0`, where it has one.
    pub node: Option<String>,
    /// What it offers, best first.
    pub modes: Vec<Mode>,
}

/// A size that a camera offers in a format, with its frame rates.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mode {
    /// Largest first.
    pub size: (u32, u32),
    /// `MJPEG`, `H264`, or a raw format such as `YUY2`.
    pub format: String,
    /// Frames a second, fastest first.
    pub rates: Vec<u32>,
}

/// The cameras, in the order of `camera:N`.
#[must_use]
pub fn cameras() -> Vec<Camera> {
    let monitor = gst::DeviceMonitor::new();
    monitor.add_filter(Some("Video/Source"), None);
    if monitor.start().is_err() {
        return Vec::new();
    }
    let devices = monitor.devices();
    monitor.stop();
    devices.into_iter().map(describe).collect()
}

fn describe(device: gst::Device) -> Camera {
    let properties = device.properties();
    let text = |key: &str| properties.as_ref().and_then(|p| p.get::<String>(key).ok());
    let modes = device.caps().map(|caps| modes(&caps)).unwrap_or_default();
    Camera {
        name: device.display_name().into(),
        node: text("device.path").or_else(|| text("api.v4l2.path")),
        modes,
        device,
    }
}

/// What `caps` offer; sizes that are ranges are left out, but for their largest.
fn modes(caps: &gst::CapsRef) -> Vec<Mode> {
    let mut modes: Vec<Mode> = Vec::new();
    for structure in caps.iter() {
        let side = |field: &str| {
            let value = structure.value(field).ok()?;
            let range = || value.get::<gst::IntRange<i32>>().ok().map(|range| range.max());
            value.get::<i32>().ok().or_else(range).and_then(|n| u32::try_from(n).ok())
        };
        let Some(size) = side("width").zip(side("height")) else { continue };
        let rates = rates(structure);
        for format in formats(structure) {
            match modes.iter_mut().find(|mode| mode.size == size && mode.format == format) {
                Some(mode) => mode.rates.extend(&rates),
                None => modes.push(Mode { size, format, rates: rates.clone() }),
            }
        }
    }
    for mode in &mut modes {
        mode.rates.sort_unstable_by(|a, b| b.cmp(a));
        mode.rates.dedup();
    }
    modes.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.format.cmp(&b.format)));
    modes
}

fn formats(structure: &gst::StructureRef) -> Vec<String> {
    match structure.name().as_str() {
        "image/jpeg" => vec!["MJPEG".into()],
        "video/x-raw" => strings(structure, "format"),
        other => vec![other.trim_start_matches("video/x-").to_ascii_uppercase()],
    }
}

/// One text or a list of them.
fn strings(structure: &gst::StructureRef, field: &str) -> Vec<String> {
    if let Ok(one) = structure.get::<String>(field) {
        return vec![one];
    }
    let list = structure.get::<gst::List>(field).ok();
    list.map(|list| list.iter().filter_map(|value| value.get::<String>().ok()).collect()).unwrap_or_default()
}

/// Whole frames a second.
fn rates(structure: &gst::StructureRef) -> Vec<u32> {
    let whole = |rate: gst::Fraction| u32::try_from((rate.numer() + rate.denom() / 2) / rate.denom().max(1)).ok();
    if let Ok(one) = structure.get::<gst::Fraction>("framerate") {
        return whole(one).into_iter().collect();
    }
    if let Ok(range) = structure.get::<gst::FractionRange>("framerate") {
        return whole(range.max()).into_iter().collect();
    }
    let list = structure.get::<gst::List>("framerate").ok();
    let rates = |list: gst::List| list.iter().filter_map(|v| v.get::<gst::Fraction>().ok().and_then(whole)).collect();
    list.map(rates).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn a_camera_s_modes_are_gathered() {
        gst::init().expect("GStreamer");
        let caps = gst::Caps::from_str(
            "video/x-raw, format=YUY2, width=640, height=480, framerate={ (fraction)30/1, (fraction)15/1 }; \
             image/jpeg, width=1920, height=1080, framerate=30/1; \
             image/jpeg, width=1920, height=1080, framerate=60000/1001; \
             video/x-h264, width=1280, height=720, framerate=[ 1/1, 25/1 ]; \
             video/x-raw, format={ NV12, I420 }, width=[ 16, 320 ], height=[ 16, 240 ]",
        )
        .expect("caps");
        let mode = |size, format: &str, rates: &[u32]| Mode { size, format: format.into(), rates: rates.to_vec() };
        assert_eq!(
            modes(&caps),
            [
                mode((1920, 1080), "MJPEG", &[60, 30]),
                mode((1280, 720), "H264", &[25]),
                mode((640, 480), "YUY2", &[30, 15]),
                mode((320, 240), "I420", &[]),
                mode((320, 240), "NV12", &[]),
            ]
        );
    }
}
