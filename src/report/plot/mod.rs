//! Charts: drawn once as shapes, written as SVG for light and dark screens.

mod svg;

pub use svg::{colours, escaped, standalone, to_svg};

/// Colours by role: `[light, dark]`, as `#rrggbb`.
pub const PAPER: [u32; 2] = [0xff_ff_ff, 0x15_18_1d];
/// Text and axes.
pub const INK: [u32; 2] = [0x1b_1f_24, 0xe6_e9_ed];
/// Text that explains.
pub const MUTED: [u32; 2] = [0x5c_66_70, 0x9a_a4_af];
/// Lines behind the figures.
pub const GRID: [u32; 2] = [0xe3_e7_eb, 0x2b_31_39];
/// What the eye should follow.
pub const ACCENT: [u32; 2] = [0x0b_6b_cb, 0x58_a6_ff];
/// Classes; told apart with most kinds of colour blindness.
pub const SERIES: [[u32; 2]; 10] = [
    [0xc2_41_0c, 0xff_8a_5b],
    [0x0f_76_6e, 0x2d_d4_bf],
    [0x7c_3a_ed, 0xb7_94_ff],
    [0xa1_62_07, 0xe8_b9_31],
    [0xbe_18_5d, 0xf4_72_b6],
    [0x15_80_3d, 0x4a_de_80],
    [0x03_69_a1, 0x38_bd_f8],
    [0x71_3f_12, 0xd6_a5_6c],
    [0x4b_55_63, 0xa8_b3_c0],
    [0x99_1b_1b, 0xfc_8a_8a],
];

/// What a shape is painted with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Paint {
    /// The ground.
    Paper,
    /// Text and axes.
    Ink,
    /// Text that explains.
    Muted,
    /// Lines behind the figures.
    Grid,
    /// What the eye should follow.
    Accent,
    /// One of several.
    Series(usize),
}

impl Paint {
    /// Its variable in the style sheet.
    fn variable(self) -> String {
        match self {
            Self::Paper => "--paper".into(),
            Self::Ink => "--ink".into(),
            Self::Muted => "--muted".into(),
            Self::Grid => "--grid".into(),
            Self::Accent => "--accent".into(),
            Self::Series(n) => format!("--series{}", n % SERIES.len()),
        }
    }
}

/// Where a text's point lies in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// At its start.
    Start,
    /// In its middle.
    Middle,
    /// At its end.
    End,
}

/// One thing drawn; lengths in pixels, y downwards.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A line through points.
    Line {
        /// Its points.
        points: Vec<[f64; 2]>,
        /// Its thickness.
        width: f64,
        /// Its colour.
        paint: Paint,
        /// Whether it is broken.
        dashed: bool,
        /// 0..=1.
        opacity: f64,
        /// Shown when pointed at.
        title: String,
    },
    /// A filled rectangle.
    Rect {
        /// Left, top, width, height.
        at: [f64; 4],
        /// Its colour.
        paint: Paint,
        /// 0..=1.
        opacity: f64,
        /// Shown when pointed at.
        title: String,
    },
    /// A line of text.
    Text {
        /// Where its anchor is, on the base line.
        at: [f64; 2],
        /// What it says.
        text: String,
        /// Size of the type.
        px: f64,
        /// Which part of it is there.
        anchor: Anchor,
        /// Its colour.
        paint: Paint,
        /// Whether it reads upwards.
        turned: bool,
    },
}

/// A drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// Pixels across.
    pub width: f64,
    /// Pixels down.
    pub height: f64,
    /// What it shows, for screen readers.
    pub title: String,
    /// What is drawn, from back to front.
    pub shapes: Vec<Shape>,
}
