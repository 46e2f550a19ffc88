//! The labels of the frame before, and which box had which: what lets a label stay where it is.

use super::area::Area;
use super::candidates::{Choice, Subject};
use super::grid::Grid;

/// Comparisons of boxes in a frame, at most: some 3 ms. Boxes that are left are taken for new ones.
const COMPARISONS: u32 = 250_000;
/// Pixels that every edge of a box may have moved beyond its size: a small one that is fast.
const FAST: i32 = 16;

/// What is remembered of a box.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub area: Area,
    pub class: u16,
    pub track: Option<u32>,
    /// Its label, if it had one.
    pub choice: Option<Choice>,
    /// Size of its text, were it the one that befits the box.
    pub step: usize,
    /// Frames since the label changed.
    pub held: u32,
}

/// The boxes of the frame before.
#[derive(Default)]
pub(super) struct Memory {
    kept: Vec<Kept>,
    /// Ids and their places in `kept`, in order.
    ids: Vec<(u32, usize)>,
    /// By subject of this frame: its place in `kept`.
    matched: Vec<Option<usize>>,
}

impl Memory {
    /// Finds each of the `subjects` that `boxes` holds in the frame before: by its id, else as the nearest box of its class.
    pub fn recall(&mut self, subjects: &[Subject], boxes: &Grid) {
        self.matched.clear();
        self.matched.extend(subjects.iter().map(|subject| {
            let id = subject.track?;
            self.ids.binary_search_by_key(&id, |(id, _)| *id).ok().map(|at| self.ids[at].1)
        }));
        let mut left = COMPARISONS;
        for (place, kept) in self.kept.iter().enumerate().filter(|(_, kept)| kept.track.is_none()) {
            let limit = i64::from(kept.area.width) + i64::from(kept.area.height) + 4 * i64::from(FAST);
            let mut nearest = None;
            boxes.any(kept.area.grown(FAST), |item| {
                left = left.saturating_sub(1);
                let number = item as usize;
                let subject = &subjects[number];
                if subject.class == kept.class && self.matched[number].is_none() {
                    let far = distance(subject.area, kept.area);
                    if far <= limit && nearest.is_none_or(|nearest| (far, number) < nearest) {
                        nearest = Some((far, number));
                    }
                }
                left == 0
            });
            if left == 0 {
                break;
            }
            if let Some((_, number)) = nearest {
                self.matched[number] = Some(place);
            }
        }
    }

    /// What is remembered of a subject.
    pub fn of(&self, subject: usize) -> Option<Kept> {
        self.matched.get(subject).copied().flatten().map(|place| self.kept[place])
    }

    /// Remembers this frame instead, and hands back what it remembered.
    pub fn keep(&mut self, frame: &mut Vec<Kept>) {
        std::mem::swap(&mut self.kept, frame);
        self.ids.clear();
        self.ids.extend(self.kept.iter().enumerate().filter_map(|(place, kept)| Some((kept.track?, place))));
        self.ids.sort_unstable();
    }
}

#[cfg(test)]
impl Memory {
    /// What it holds, in items.
    pub fn memory(&self) -> usize {
        self.kept.capacity() + self.ids.capacity() + self.matched.capacity()
    }
}

/// How far the edges have moved, in sum; 0 for the same box.
fn distance(a: Area, b: Area) -> i64 {
    [(a.x, b.x), (a.y, b.y), (a.right(), b.right()), (a.bottom(), b.bottom())]
        .map(|(a, b)| (i64::from(a) - i64::from(b)).abs())
        .iter()
        .sum()
}
