//! What a label can say, and where it can go around its box.

use super::area::Area;

/// What is to be labelled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    /// Its box as it is drawn.
    pub area: Area,
    pub class: u16,
    pub track: Option<u32>,
    pub confidence: f32,
    /// The size of text that befits its box, between steps.
    pub step: f32,
}

impl Subject {
    /// Whether its label can say that.
    pub fn has(&self, form: Form) -> bool {
        match form {
            Form::Full | Form::Initial => true,
            Form::Name => self.track.is_none(),
            Form::Id => self.track.is_some(),
        }
    }
}

/// What a label says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Id, class and confidence.
    Full,
    /// The class alone, of what is not tracked.
    Name,
    /// The id alone: where there is one, it is what one looks for.
    Id,
    /// The class's initial.
    Initial,
}

/// What is tried in turn, and whether in the smallest text, whatever befits the box.
pub(super) const FORMS: [(Form, bool); 5] =
    [(Form::Full, false), (Form::Full, true), (Form::Name, true), (Form::Id, true), (Form::Initial, true)];

/// Where it goes, seen from its box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    AboveLeft,
    AboveRight,
    BelowLeft,
    BelowRight,
    InsideTop,
    InsideBottom,
    RightTop,
    RightBottom,
    LeftTop,
    LeftBottom,
}

/// In the order in which they are tried.
pub(super) const SLOTS: [Slot; 10] = [
    Slot::AboveLeft,
    Slot::AboveRight,
    Slot::InsideTop,
    Slot::InsideBottom,
    Slot::BelowLeft,
    Slot::BelowRight,
    Slot::RightTop,
    Slot::LeftTop,
    Slot::RightBottom,
    Slot::LeftBottom,
];

/// A label hides what its own box shows when it is inside and takes more of it than one part in so many.
const HIDES: i64 = 16;
/// One that takes more than one part in so many goes elsewhere.
const FILLS: i64 = 4;

/// Which of [`FORMS`], and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub form: usize,
    pub slot: Slot,
    /// Whether it hides what its own box shows.
    pub hides: bool,
}

impl Choice {
    /// Less is better.
    pub fn rank(self) -> (usize, bool) {
        (self.form, self.hides)
    }
}

impl Slot {
    /// What has to be free for a label to go there, with so much room on every side. Right above another box it would be read
    /// as that one's.
    pub fn room(self, area: Area, slack: i32) -> Area {
        let below = matches!(self, Self::BelowLeft | Self::BelowRight);
        let room = area.grown(slack);
        Area { height: room.height + if below { area.height / 2 } else { 0 }, ..room }
    }

    /// Where a label of this size goes, and whether it hides what the box shows; `None` where it does not fit. It begins on
    /// whole chroma samples, and rather on the line of its own box than apart from it.
    pub fn at(self, own: Area, [width, height]: [i32; 2], frame: [i32; 2]) -> Option<(Area, bool)> {
        let down = |v: i32| v & !1;
        let up = |v: i32| (v + 1) & !1;
        let along = |v: i32, size: i32, limit: i32| down(v.min(limit - size).max(0));
        let across = |v: i32| along(v, width, frame[0]);
        let beside = |v: i32| along(v, height, frame[1]);
        let (left, right, top, bottom) = (own.x, own.right() - width, own.y, own.bottom() - height);
        let (x, y) = match self {
            Self::AboveLeft => (across(left), up(own.y - height)),
            Self::AboveRight => (across(right), up(own.y - height)),
            Self::BelowLeft => (across(left), down(own.bottom())),
            Self::BelowRight => (across(right), down(own.bottom())),
            Self::InsideTop => (up(left), up(top)),
            Self::InsideBottom => (up(left), down(bottom)),
            Self::RightTop => (down(own.right()), beside(top)),
            Self::RightBottom => (down(own.right()), beside(bottom)),
            Self::LeftTop => (up(own.x - width), beside(top)),
            Self::LeftBottom => (up(own.x - width), beside(bottom)),
        };
        let area = Area { x, y, width, height };
        let whole = Area { x: 0, y: 0, width: frame[0], height: frame[1] };
        if !area.within(whole) {
            return None;
        }
        if !matches!(self, Self::InsideTop | Self::InsideBottom) {
            return Some((area, false));
        }
        let (taken, all) = (area.pixels(), own.pixels());
        (area.within(own) && taken * FILLS <= all).then_some((area, taken * HIDES > all))
    }
}
