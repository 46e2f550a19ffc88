//! One list of objects from several views of a frame: the whole and its tiles, which see some objects twice or only half.
//!
//! Boxes from one view are left as that view's own suppression left them. Between views: a box that a tile's edge has cut
//! gives way to one that shows the object whole; cut boxes that meet across a seam become one; and of two boxes of the same
//! object the more certain one stays.

use crate::detection::Detection;
use crate::geometry::{FrameBox, Region, Size, px};

/// `IoU` from which boxes of two views are the same object. Below the usual threshold of one view's suppression: the views
/// see the object at different scales, and so place small ones differently.
const SAME_OBJECT: f32 = 0.5;
/// Share of a cut box that lies inside another view's box of the object it is a part of.
const PART_OF: f32 = 0.6;
/// How much of the shorter one's side along a seam two halves share.
const ALONG_SEAM: f32 = 0.6;
/// A box that ends nearer than this to a tile's edge is cut by it, pixels for a tile of 640 pixels.
const NEAR_EDGE: f32 = 3.0;

/// Rounds of joining: pieces become rows, rows become the object; a round more for what both left over.
const MOST_JOINS: usize = 3;

/// Sides of a box at which its view ends and the frame goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four sides")]
struct Cut {
    left: bool,
    top: bool,
    right: bool,
    bottom: bool,
}

/// A box with what its view could see.
#[derive(Debug, Clone, Copy)]
struct ViewedBox {
    detection: Detection,
    view: usize,
    region: Region,
    cut: Cut,
}

/// Gathers what the views of one frame show. Its buffers are reused from frame to frame.
#[derive(Debug, Default)]
pub struct Merger {
    views: usize,
    viewed: Vec<ViewedBox>,
    kept: Vec<ViewedBox>,
}

impl Merger {
    /// Adds a view: what was detected in `region` of a frame of size `frame`, boxes in pixels of the region.
    pub fn add(&mut self, region: Region, frame: Size, found: &[Detection]) {
        let (width, height) = (px(region.size.width), px(region.size.height));
        let near = NEAR_EDGE * width.max(height) / 640.0;
        let view = self.views;
        self.views += 1;
        self.viewed.extend(found.iter().map(|detection| {
            let b = detection.bbox;
            let cut = Cut {
                left: region.left > 0 && b.x1 < near,
                top: region.top > 0 && b.y1 < near,
                right: region.right() < frame.width && b.x2 > width - near,
                bottom: region.bottom() < frame.height && b.y2 > height - near,
            };
            let bbox = b.moved(px(region.left), px(region.top));
            ViewedBox { detection: Detection { bbox, ..*detection }, view, region, cut }
        }));
    }

    /// Appends the frame's objects to `out`, at most `max_det`, by falling confidence, and forgets the views. `iou` is
    /// the threshold of a single view's suppression.
    pub fn finish(&mut self, iou: f32, max_det: usize, out: &mut Vec<Detection>) {
        self.drop_parts();
        self.join_halves();
        // Whole boxes first, by falling confidence; then cut ones, those that show most first.
        self.viewed.sort_by(|a, b| {
            let rank = |viewed: &ViewedBox| if viewed.is_cut() { viewed.bbox().area() } else { viewed.confidence() };
            a.is_cut().cmp(&b.is_cut()).then(rank(b).total_cmp(&rank(a)))
        });
        self.kept.clear();
        for viewed in &self.viewed {
            let again = |kept: &ViewedBox| {
                kept.rivals(viewed) && kept.bbox().iou(viewed.bbox()) > SAME_OBJECT.min(iou) || viewed.is_part_of(kept)
            };
            if !self.kept.iter().any(again) {
                self.kept.push(*viewed);
            }
        }
        self.kept.sort_by(|a, b| b.confidence().total_cmp(&a.confidence()));
        out.extend(self.kept.iter().take(max_det).map(|kept| kept.detection));
        self.viewed.clear();
        self.views = 0;
    }

    /// Removes cut boxes whose object another view shows whole.
    fn drop_parts(&mut self) {
        self.kept.clear();
        self.kept.extend(self.viewed.iter().filter(|viewed| !viewed.is_cut()));
        let whole = &self.kept;
        self.viewed.retain(|viewed| !whole.iter().any(|other| viewed.is_part_of(other)));
    }

    /// Joins boxes that neighbouring tiles' edges have cut and that cover the seam between them from both sides.
    fn join_halves(&mut self) {
        for _ in 0..MOST_JOINS {
            let before = self.viewed.len();
            let mut first = 0;
            while first < self.viewed.len() {
                let one = self.viewed[first];
                let other = (first + 1..self.viewed.len()).find_map(|at| Some((at, one.joined(&self.viewed[at])?)));
                match other {
                    Some((at, joined)) => {
                        self.viewed.swap_remove(at);
                        self.viewed[first] = joined;
                    }
                    None => first += 1,
                }
            }
            if self.viewed.len() == before {
                break;
            }
        }
    }
}

impl ViewedBox {
    fn bbox(&self) -> &FrameBox {
        &self.detection.bbox
    }

    fn confidence(&self) -> f32 {
        self.detection.confidence
    }

    fn is_cut(&self) -> bool {
        let Cut { left, top, right, bottom } = self.cut;
        left || top || right || bottom
    }

    /// Whether both could be one object: of one class, viewed by different views.
    fn rivals(&self, other: &Self) -> bool {
        self.view != other.view && self.detection.class_id == other.detection.class_id
    }

    fn is_part_of(&self, other: &Self) -> bool {
        self.is_cut()
            && self.rivals(other)
            && self.bbox().intersection(other.bbox()) > PART_OF * self.bbox().area().max(f32::MIN_POSITIVE)
    }

    /// The object of which both are a half.
    fn joined(&self, other: &Self) -> Option<Self> {
        if !self.rivals(other) || !self.is_cut() || !other.is_cut() {
            return None;
        }
        let cut = if self.is_left_of(other) {
            Cut { left: self.cut.left, right: other.cut.right, ..self.outer(other) }
        } else if other.is_left_of(self) {
            Cut { left: other.cut.left, right: self.cut.right, ..self.outer(other) }
        } else if self.is_above(other) {
            Cut { top: self.cut.top, bottom: other.cut.bottom, ..self.outer(other) }
        } else if other.is_above(self) {
            Cut { top: other.cut.top, bottom: self.cut.bottom, ..self.outer(other) }
        } else {
            return None;
        };
        let detection = Detection {
            bbox: self.bbox().hull(other.bbox()),
            confidence: self.confidence().max(other.confidence()),
            ..self.detection
        };
        Some(Self { detection, view: self.view, region: self.region.hull(&other.region), cut })
    }

    /// Sides at which either is cut.
    fn outer(&self, other: &Self) -> Cut {
        let (a, b) = (self.cut, other.cut);
        Cut { left: a.left || b.left, top: a.top || b.top, right: a.right || b.right, bottom: a.bottom || b.bottom }
    }

    /// Whether both show one object, this one its left part and `other` its right: either reaches over all of the overlap.
    fn is_left_of(&self, other: &Self) -> bool {
        let (a, b) = (self.region, other.region);
        let (p, q) = (self.bbox(), other.bbox());
        self.cut.right
            && other.cut.left
            && (a.top, a.bottom()) == (b.top, b.bottom())
            && (a.left..=a.right()).contains(&b.left)
            && p.x1 <= px(b.left)
            && q.x2 >= px(a.right())
            && agree((p.y1, p.y2), (q.y1, q.y2))
    }

    fn is_above(&self, other: &Self) -> bool {
        let (a, b) = (self.region, other.region);
        let (p, q) = (self.bbox(), other.bbox());
        self.cut.bottom
            && other.cut.top
            && (a.left, a.right()) == (b.left, b.right())
            && (a.top..=a.bottom()).contains(&b.top)
            && p.y1 <= px(b.top)
            && q.y2 >= px(a.bottom())
            && agree((p.x1, p.x2), (q.x1, q.x2))
    }
}

/// Whether two intervals are nearly the same, or one holds the other.
fn agree(a: (f32, f32), b: (f32, f32)) -> bool {
    a.1.min(b.1) - a.0.max(b.0) > ALONG_SEAM * (a.1 - a.0).min(b.1 - b.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiling::Grid;
    use proptest::prelude::*;

    const FRAME: Size = Size { width: 1000, height: 800 };

    /// What a perfect model sees of `objects` in `region`: the visible part of each, if there is more than a sliver of it.
    fn view(region: &Region, objects: &[Detection]) -> Vec<Detection> {
        let (width, height) = (px(region.size.width), px(region.size.height));
        let visible = |d: &Detection| {
            let bbox = d.bbox.moved(-px(region.left), -px(region.top)).clipped(width, height);
            (bbox.width() > 12.0 && bbox.height() > 12.0).then_some(Detection { bbox, ..*d })
        };
        objects.iter().filter_map(visible).collect()
    }

    fn merged(grid: &Grid, objects: &[Detection], whole: bool) -> Vec<Detection> {
        let mut merger = Merger::default();
        let mut out = Vec::new();
        if whole {
            merger.add(Region::whole(FRAME), FRAME, objects);
        }
        for tile in grid.tiles(FRAME) {
            merger.add(tile, FRAME, &view(&tile, objects));
        }
        merger.finish(0.7, 300, &mut out);
        out
    }

    fn object(x: f32, y: f32, w: f32, h: f32, confidence: f32) -> Detection {
        Detection { class_id: 1, confidence, bbox: FrameBox::new(x, y, x + w, y + h), track: None }
    }

    fn grid(columns: u32, rows: u32) -> Grid {
        Grid { columns, rows, overlap: 0.2 }
    }

    #[test]
    fn an_object_over_four_tiles_is_one() {
        let objects = [object(200.0, 150.0, 600.0, 500.0, 0.8)];
        assert_eq!(merged(&grid(2, 2), &objects, false), objects);
        assert_eq!(merged(&grid(3, 3), &objects, true), objects);
    }

    #[test]
    fn neighbours_at_a_seam_stay_two() {
        // Tiles of 2x1 overlap at 444..556: one car begins left of it and one ends right of it.
        let objects = [object(400.0, 100.0, 100.0, 60.0, 0.9), object(505.0, 100.0, 100.0, 60.0, 0.8)];
        assert_eq!(merged(&grid(2, 1), &objects, false), objects);
    }

    #[test]
    fn what_one_view_sees_twice_stays_twice() {
        // The model's own suppression let both pass; merging is not to second-guess it.
        let objects = [object(100.0, 100.0, 100.0, 100.0, 0.9), object(120.0, 100.0, 100.0, 100.0, 0.8)];
        let mut merger = Merger::default();
        let mut out = Vec::new();
        merger.add(Region::whole(FRAME), FRAME, &objects);
        merger.finish(0.7, 300, &mut out);
        assert_eq!(out, objects);
    }

    proptest! {
        #[test]
        fn far_objects_come_out_once_and_whole(
            columns in 1u32..=4, rows in 1u32..=4, whole in any::<bool>(),
            cells in proptest::collection::vec((20.0f32..150.0, 20.0f32..150.0, 0.3f32..1.0), 9),
        ) {
            // One object in each cell of 3 x 3, none nearer than 20 pixels to the next.
            let objects: Vec<Detection> = (0u16..9).zip(&cells).map(|(n, (w, h, confidence))| {
                object(f32::from(n % 3) * 330.0 + 40.0, f32::from(n / 3) * 260.0 + 40.0, *w, *h, *confidence)
            }).collect();
            let found = merged(&grid(columns, rows), &objects, whole);
            prop_assert_eq!(found.len(), objects.len());
            for object in &objects {
                let shown = found.iter().filter(|d| d.bbox.iou(&object.bbox) > 0.85 && d.confidence.to_bits() == object.confidence.to_bits());
                prop_assert_eq!(shown.count(), 1, "{:?} in {:?}", object, found);
            }
        }

        #[test]
        fn merging_bounds_and_orders_whatever_comes(
            boxes in proptest::collection::vec((0usize..5, 0u16..2, 0.0f32..1.0, 0.0f32..500.0, 0.0f32..400.0, 0.0f32..500.0, 0.0f32..400.0), 0..80),
        ) {
            let mut merger = Merger::default();
            let regions: Vec<Region> = std::iter::once(Region::whole(FRAME)).chain(grid(2, 2).tiles(FRAME)).collect();
            for (view, region) in regions.iter().enumerate() {
                let found: Vec<Detection> = boxes.iter().filter(|b| b.0 == view)
                    .map(|&(_, class_id, confidence, x, y, w, h)| Detection { class_id, confidence, bbox: FrameBox::new(x, y, x + w, y + h), track: None })
                    .collect();
                merger.add(*region, FRAME, &found);
            }
            let mut out = Vec::new();
            merger.finish(0.7, 50, &mut out);
            prop_assert!(out.len() <= boxes.len().min(50));
            prop_assert!(out.windows(2).all(|pair| pair[0].confidence >= pair[1].confidence));
            let highest = boxes.iter().map(|b| b.2).fold(0.0, f32::max);
            prop_assert!(out.iter().all(|d| d.confidence <= highest));
        }
    }
}
