//! The default tracker beside other trackers, on identical detections: PETS09-S2L1 whole, with parts missing, and with a
//! camera that pans. Prints a table.
//!
//!     cargo bench --bench tracking -- target/demo/vtest.avi
//!
//! Needs the tracking data in `STREAMDET_TEST_DATA` (default `../shared`), and ffmpeg for the clip (`make demo` fetches it).
//! Without a clip, boxes are all that is known, and the camera is taken to stand still.

#[path = "../tests/tracking/cuts.rs"]
mod cuts;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cuts::{Clip, Cut, DETECTIONS, Outcome, Pair};
use streamdet::geometry::Size;

/// Makes the clip that belongs to the panned detections, 960 pixels across.
const PAN: &str = "pad=1152:576:192:0,crop=960:576:'192-2*floor(95.492966*(1-cos(2*PI*n/100))/2+0.5)':0";

fn main() {
    let data = std::env::var_os("STREAMDET_TEST_DATA").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let mot = data.join("data/mot");
    let folder = mot.join("PETS09-S2L1");
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return;
    }
    let clip = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).map(PathBuf::from);
    let decoded = |filter: &str, width| {
        clip.as_deref().map(|clip| Clip { size: Size { width, height: 576 }, data: decode(clip, filter) })
    };
    println!("{}", if clip.is_some() { "boxes and frames" } else { "boxes only" });
    println!("{:14} {:11} {:>24} {:>24} {:>17}", "detections", "frames", "HOTA", "IDF1", "best peers");
    for detections in DETECTIONS {
        let peers = cuts::peers(&mot, detections);
        let whole = decoded("null", 768);
        let many = cuts::many(&folder, detections, whole.as_ref());
        drop(whole);
        let panned = panned(&folder, detections, decoded(PAN, 960).as_ref());
        for (condition, outcome) in many.iter().chain(&panned) {
            row(detections, condition, outcome, peers.get(condition).copied().unwrap_or_default());
        }
    }
}

/// The default tracker on the clip whose camera pans, all its frames and every fourth.
fn panned(folder: &Path, detections: &str, clip: Option<&Clip>) -> BTreeMap<String, Outcome> {
    let rows = cuts::rows(&folder.join(format!("{detections}_pan.txt")));
    let cut = |condition: &str, step: u32| Cut {
        condition: condition.to_owned(),
        frames: (1..=cuts::FRAMES).filter(|frame| (frame - 1).is_multiple_of(step)).collect(),
        without: HashSet::new(),
    };
    let of = [cut("pan", 1), cut("pan_every4", 4)].into_iter().map(|cut| {
        let pair = cuts::figures(&folder.join("gt_pan.txt"), &rows, &cut, clip);
        (cut.condition, cuts::outcome(&[pair]))
    });
    of.collect()
}

fn row(detections: &str, condition: &str, outcome: &Outcome, peers: Pair) {
    let of = |at: usize| {
        let difference = outcome.mean[at] - peers[at];
        format!("{:.3} ± {:.3} ({difference:+.3})", outcome.mean[at], outcome.deviation[at])
    };
    println!("{detections:14} {condition:11} {:>24} {:>24} {:>8.3} {:>8.3}", of(0), of(1), peers[0], peers[1]);
}

fn decode(clip: &Path, filter: &str) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(clip)
        .args(["-vf", filter, "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"])
        .output()
        .expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
