//! The figures of a sequence, or of several together, by TrackEval's names.

use super::clear::{self, Clear};
use super::hota::{self, Hota, mean};
use super::identity::{self, Identity};
use super::overlap::Overlaps;
use super::scene::Scene;
use crate::shutdown::Shutdown;

/// Names and meaning are TrackEval's: shares from 0 to 1 (MOTA can be less), counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
#[expect(missing_docs, reason = "the field's names")]
#[serde(rename_all = "UPPERCASE")]
pub struct Figures {
    pub hota: f64,
    #[serde(rename = "DetA")]
    pub det_a: f64,
    #[serde(rename = "AssA")]
    pub ass_a: f64,
    #[serde(rename = "DetRe")]
    pub det_re: f64,
    #[serde(rename = "DetPr")]
    pub det_pr: f64,
    #[serde(rename = "AssRe")]
    pub ass_re: f64,
    #[serde(rename = "AssPr")]
    pub ass_pr: f64,
    #[serde(rename = "LocA")]
    pub loc_a: f64,
    pub mota: f64,
    pub motp: f64,
    pub idf1: f64,
    pub idp: f64,
    pub idr: f64,
    pub idsw: usize,
    pub tp: usize,
    pub fp: usize,
    #[serde(rename = "FN")]
    pub fn_: usize,
    #[serde(rename = "Frag")]
    pub frag: usize,
    pub mt: usize,
    pub pt: usize,
    pub ml: usize,
    pub idtp: usize,
    pub idfp: usize,
    pub idfn: usize,
    /// Frames that count.
    #[serde(rename = "frames")]
    pub frames: u64,
    /// Boxes and tracks of ground truth that count.
    #[serde(rename = "gt_boxes")]
    pub gt_boxes: usize,
    #[serde(rename = "gt_tracks")]
    pub gt_tracks: usize,
    /// Boxes and tracks of the result that count.
    #[serde(rename = "boxes")]
    pub boxes: usize,
    #[serde(rename = "tracks")]
    pub tracks: usize,
}

/// What several sequences, or classes, are summed up from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    clear: Clear,
    identity: Identity,
    hota: Hota,
    frames: u64,
    gt_boxes: usize,
    gt_tracks: usize,
    boxes: usize,
    tracks: usize,
}

/// Why a sequence was not scored.
#[derive(Debug)]
pub(super) enum Unscored {
    /// The user asked to stop.
    Stopped,
    /// So many tracks of ground truth and result overlap one another.
    TooMany(usize, usize),
}

impl Counts {
    /// Of a sequence with so many frames.
    pub(super) fn of(scene: &Scene, frames: u64, stopping: &Shutdown) -> Result<Self, Unscored> {
        let mut clear = clear::Counter::new(scene);
        let mut identity = identity::Counter::default();
        let mut alignment = hota::Alignment::new(scene);
        let go_on = || if stopping.is_requested() { Err(Unscored::Stopped) } else { Ok(()) };
        for frame in &scene.frames {
            go_on()?;
            let overlaps = Overlaps::within(frame);
            clear.add(frame, &overlaps);
            identity.add(frame, &overlaps);
            alignment.add(frame, &overlaps);
        }
        let mut hota = hota::Counter::new(alignment);
        for frame in &scene.frames {
            go_on()?;
            hota.add(frame, &Overlaps::within(frame));
        }
        Ok(Self {
            clear: clear.finish(scene),
            identity: identity.finish(scene).map_err(|(gt, result)| Unscored::TooMany(gt, result))?,
            hota: hota.finish(scene),
            frames,
            gt_boxes: scene.gt_boxes,
            gt_tracks: scene.gt_tracks,
            boxes: scene.result_boxes,
            tracks: scene.result_tracks,
        })
    }

    /// Of several, which add up.
    pub(super) fn sum(all: &[Self]) -> Self {
        let count = |of: fn(&Self) -> usize| all.iter().map(of).sum();
        Self {
            clear: Clear::sum(all.iter().map(|one| &one.clear)),
            identity: Identity::sum(all.iter().map(|one| &one.identity)),
            hota: Hota::sum(&all.iter().map(|one| &one.hota).collect::<Vec<_>>()),
            frames: all.iter().map(|one| one.frames).sum(),
            gt_boxes: count(|one| one.gt_boxes),
            gt_tracks: count(|one| one.gt_tracks),
            boxes: count(|one| one.boxes),
            tracks: count(|one| one.tracks),
        }
    }

    /// Of classes, whose frames are the same.
    pub(super) fn with_frames(self, frames: u64) -> Self {
        Self { frames, ..self }
    }

    /// Of one sequence: without ground truth its MOTA is 0, as TrackEval has it; among several its boxes count.
    pub(super) fn alone(&self) -> Figures {
        let figures = self.together();
        if self.gt_boxes == 0 { Figures { mota: 0.0, ..figures } } else { figures }
    }

    /// Of what was summed up.
    pub(super) fn together(&self) -> Figures {
        let Self { clear, identity, hota, .. } = self;
        Figures {
            hota: mean(&hota.hota()),
            det_a: mean(&hota.det_a()),
            ass_a: mean(&hota.ass_a),
            det_re: mean(&hota.det_re()),
            det_pr: mean(&hota.det_pr()),
            ass_re: mean(&hota.ass_re),
            ass_pr: mean(&hota.ass_pr),
            loc_a: mean(&hota.loc_a),
            mota: clear.mota(),
            motp: clear.motp(),
            idf1: identity.f1(),
            idp: identity.precision(),
            idr: identity.recall(),
            idsw: clear.idsw,
            tp: clear.tp,
            fp: clear.fp,
            fn_: clear.fn_,
            frag: clear.frag,
            mt: clear.mt,
            pt: clear.pt,
            ml: clear.ml,
            idtp: identity.tp,
            idfp: identity.fp,
            idfn: identity.fn_,
            frames: self.frames,
            gt_boxes: self.gt_boxes,
            gt_tracks: self.gt_tracks,
            boxes: self.boxes,
            tracks: self.tracks,
        }
    }
}
