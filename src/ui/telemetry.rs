//! Tables of `streamdet telemetry`.

use std::path::Path;

use crate::telemetry::survey::{Kind, Survey};
use crate::telemetry::{Datum, Known, Origin, rfc3339};
use crate::text::append;

/// What a file has of every kind, and its first and last values.
pub(crate) fn table(file: &Path, survey: &Survey) -> String {
    let mut text = format!("{}\n", file.display());
    for (origin, kind) in survey.kinds() {
        append(&mut text, format_args!("\n  {}\n", title(origin)));
        row(&mut text, "packets", &packets(kind), "");
        if let Some((first, last)) = kind.span_ns {
            let s = |ns: u64| std::time::Duration::from_nanos(ns).as_secs_f64();
            let rate = kind.rate().map_or_else(String::new, |rate| format!(", {rate:.4} a second"));
            row(&mut text, "time", &format!("{:.3} s to {:.3} s{}", s(first), s(last), trimmed(&rate)), "");
            let (gaps, longest) = kind.gaps();
            let said = if gaps == 0 { "none".to_owned() } else { format!("{gaps}, the longest {:.3} s", s(longest)) };
            row(&mut text, "gaps", &said, "");
        }
        if let Some((first, last)) = &kind.ends {
            append(&mut text, format_args!("\n    {:<14}{:<30}{}\n", "", "first", "last"));
            for (name, of) in VALUES {
                if let Some(first) = of(first) {
                    row(&mut text, name, &first, &of(last).unwrap_or_default());
                }
            }
        }
    }
    text
}

fn title(origin: Origin) -> &'static str {
    match origin {
        Origin::Misb0601 => "MISB ST 0601 (KLV)",
        Origin::DjiSrt => "DJI subtitles",
        Origin::Gpmf => "GoPro GPMF",
    }
}

fn packets(kind: &Kind) -> String {
    let bad =
        if kind.bad_checksum > 0 { format!(", {} with a wrong checksum", kind.bad_checksum) } else { String::new() };
    format!("{}, {} with a position{bad}", kind.packets, kind.positions)
}

/// Without zeros at the end of its number.
fn trimmed(rate: &str) -> String {
    rate.replace(".0000 ", " ")
}

fn row(text: &mut String, name: &str, first: &str, last: &str) {
    let line = format!("    {name:<14}{first:<30}{last}");
    append(text, format_args!("{}\n", line.trim_end()));
}

type Value = (&'static str, fn(&Known) -> Option<String>);

const VALUES: [Value; 9] = [
    ("UTC", |known| known.time_us.and_then(rfc3339)),
    ("position", |known| known.lat.zip(known.lon).map(|(lat, lon)| format!("{lat:.6}, {lon:.6}"))),
    ("altitude", |known| {
        let of = match known.datum {
            Datum::Msl => " above sea level",
            Datum::Ellipsoid => " above the ellipsoid",
            Datum::Unstated => "",
        };
        known.alt_m.map(|alt| format!("{alt:.1} m{of}"))
    }),
    ("height", |known| known.height_m.map(|height| format!("{height:.1} m above take-off"))),
    ("heading", |known| known.attitude.map(|a| format!("{:.1}°", a.heading_deg))),
    ("pitch, roll", |known| known.attitude.map(|a| format!("{:.1}°, {:.1}°", a.pitch_deg, a.roll_deg))),
    ("camera yaw", |known| {
        known.gimbal.map(|gimbal| {
            let from = if gimbal.is_relative { "from the nose" } else { "from north" };
            format!("{:.1}° {from}", gimbal.azimuth_deg)
        })
    }),
    ("camera pitch", |known| known.gimbal.map(|gimbal| format!("{:.1}°", gimbal.elevation_deg))),
    ("field of view", |known| {
        let degrees =
            known.hfov_deg.map(|h| known.vfov_deg.map_or(format!("{h:.1}°"), |v| format!("{h:.1}° × {v:.1}°")));
        degrees.or(known.focal_35mm.map(|mm| format!("{mm:.0} mm (35 mm film)")))
    }),
];
