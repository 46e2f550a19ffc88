//! Boxes and the transforms between the two pixel spaces a box can live in.
//!
//! A box carries its space in its type: [`ModelBox`] is in pixels of the letterboxed tensor, [`FrameBox`] in pixels of
//! the source image as displayed. Only a [`Letterbox`] turns one into the other.

use std::marker::PhantomData;

/// Pixel space of the letterboxed model input (`0..tensor_width`, `0..tensor_height`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelSpace {}

/// Pixel space of the source image as displayed (`0..width`, `0..height`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameSpace {}

/// An axis-aligned box `x1, y1, x2, y2` (corner coordinates, f32 pixels) in the space `S`.
#[derive(Debug, PartialEq)]
pub struct Rect<S> {
    /// Left edge, pixels.
    pub x1: f32,
    /// Top edge, pixels.
    pub y1: f32,
    /// Right edge, pixels.
    pub x2: f32,
    /// Bottom edge, pixels.
    pub y2: f32,
    space: PhantomData<S>,
}

/// A box in model-input pixels.
pub type ModelBox = Rect<ModelSpace>;
/// A box in source pixels.
pub type FrameBox = Rect<FrameSpace>;

impl<S> Clone for Rect<S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for Rect<S> {}

impl<S> Rect<S> {
    /// A box from its corners, pixels.
    #[must_use]
    pub fn new(x1: f32, y1: f32, x2: f32, y2: f32) -> Self {
        Self { x1, y1, x2, y2, space: PhantomData }
    }

    /// A box from its centre and size, pixels.
    #[must_use]
    pub fn from_centre(cx: f32, cy: f32, width: f32, height: f32) -> Self {
        let (half_w, half_h) = (width * 0.5, height * 0.5);
        Self::new(cx - half_w, cy - half_h, cx + half_w, cy + half_h)
    }

    /// Its centre, across and down, pixels.
    #[must_use]
    pub fn centre(&self) -> [f32; 2] {
        [f32::midpoint(self.x1, self.x2), f32::midpoint(self.y1, self.y2)]
    }

    /// Width in pixels; 0 for an inverted box.
    #[must_use]
    pub fn width(&self) -> f32 {
        (self.x2 - self.x1).max(0.0)
    }

    /// Height in pixels; 0 for an inverted box.
    #[must_use]
    pub fn height(&self) -> f32 {
        (self.y2 - self.y1).max(0.0)
    }

    /// Area in square pixels.
    #[must_use]
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// Area that both cover, square pixels.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> f32 {
        let w = (self.x2.min(other.x2) - self.x1.max(other.x1)).max(0.0);
        let h = (self.y2.min(other.y2) - self.y1.max(other.y1)).max(0.0);
        w * h
    }

    /// Intersection over union, `0..=1`; 0 for disjoint or empty boxes.
    #[must_use]
    pub fn iou(&self, other: &Self) -> f32 {
        let intersection = self.intersection(other);
        let union = self.area() + other.area() - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }

    /// The smallest box that holds both.
    #[must_use]
    pub fn hull(&self, other: &Self) -> Self {
        Self::new(self.x1.min(other.x1), self.y1.min(other.y1), self.x2.max(other.x2), self.y2.max(other.y2))
    }

    /// This box moved by `x`, `y` pixels.
    #[must_use]
    pub fn moved(&self, x: f32, y: f32) -> Self {
        Self::new(self.x1 + x, self.y1 + y, self.x2 + x, self.y2 + y)
    }

    /// The part of this box inside `0..=width`, `0..=height`.
    #[must_use]
    pub fn clipped(&self, width: f32, height: f32) -> Self {
        Self::new(
            self.x1.clamp(0.0, width),
            self.y1.clamp(0.0, height),
            self.x2.clamp(0.0, width),
            self.y2.clamp(0.0, height),
        )
    }

    /// Whether every coordinate is a finite number.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.x1.is_finite() && self.y1.is_finite() && self.x2.is_finite() && self.y2.is_finite()
    }
}

/// A size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl Size {
    /// Pixels in all.
    #[must_use]
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// A part of a frame, pixels; its origin is even, as chroma is halved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Pixels left of it.
    pub left: u32,
    /// Pixels above it.
    pub top: u32,
    /// Its size.
    pub size: Size,
}

impl Region {
    /// All of a frame.
    #[must_use]
    pub fn whole(size: Size) -> Self {
        Self { left: 0, top: 0, size }
    }

    /// The smallest region that holds both.
    #[must_use]
    pub fn hull(&self, other: &Self) -> Self {
        let (left, top) = (self.left.min(other.left), self.top.min(other.top));
        let (right, bottom) = (self.right().max(other.right()), self.bottom().max(other.bottom()));
        Self { left, top, size: Size { width: right - left, height: bottom - top } }
    }

    /// First column beyond it.
    #[must_use]
    pub fn right(&self) -> u32 {
        self.left + self.size.width
    }

    /// First row beyond it.
    #[must_use]
    pub fn bottom(&self) -> u32 {
        self.top + self.size.height
    }
}

/// Where the scaled image sits inside the tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// Padding on both sides (Ultralytics).
    #[default]
    Centre,
    /// Padding right and below only (YOLOX).
    Corner,
    /// No padding: the image fills the tensor, its aspect is not kept (`NanoDet`, `PicoDet`, DETR, SSD).
    Stretch,
}

/// The letterbox of one image: how its pixels map into the tensor and back.
///
/// `model = frame * scale + offset`, per axis; the image covers `content` pixels of the tensor from `offset` on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Letterbox {
    /// Size of the source image.
    pub frame: Size,
    /// Size of the tensor.
    pub tensor: Size,
    /// Size of the scaled image inside the tensor.
    pub content: Size,
    /// Left padding, pixels.
    pub left: u32,
    /// Top padding, pixels.
    pub top: u32,
    /// Tensor pixels per frame pixel, across and down: one factor for both unless the image is stretched, as the
    /// reference implementation maps boxes back.
    pub scale: [f32; 2],
}

impl Letterbox {
    /// Fits `frame` into `tensor`: keeping its aspect, as Ultralytics' `LetterBox` rounds it, unless it is stretched.
    #[must_use]
    pub fn fit(frame: Size, tensor: Size, placement: Placement) -> Self {
        if placement == Placement::Stretch {
            let scale = [px(tensor.width) / px(frame.width), px(tensor.height) / px(frame.height)];
            return Self { frame, tensor, content: tensor, left: 0, top: 0, scale };
        }
        let scale =
            (f64::from(tensor.width) / f64::from(frame.width)).min(f64::from(tensor.height) / f64::from(frame.height));
        let content = Size {
            width: scaled(frame.width, scale).min(tensor.width),
            height: scaled(frame.height, scale).min(tensor.height),
        };
        let (left, top) = match placement {
            Placement::Corner | Placement::Stretch => (0, 0),
            Placement::Centre => {
                (half_rounded_down(tensor.width - content.width), half_rounded_down(tensor.height - content.height))
            }
        };
        #[expect(clippy::cast_possible_truncation, reason = "a scale needs no more than f32 precision")]
        Self { frame, tensor, content, left, top, scale: [scale as f32; 2] }
    }

    /// The tensor size for `frame` when the model's shape is dynamic: the longer side scaled to fit inside `imgsz`, both
    /// sides padded up to a multiple of `stride` only (1920×1080 at 640×640, stride 32: 640×384).
    #[must_use]
    pub fn dynamic_tensor(frame: Size, imgsz: Size, stride: u32) -> Size {
        let scale =
            (f64::from(imgsz.width) / f64::from(frame.width)).min(f64::from(imgsz.height) / f64::from(frame.height));
        Size {
            width: scaled(frame.width, scale).next_multiple_of(stride),
            height: scaled(frame.height, scale).next_multiple_of(stride),
        }
    }

    /// A model-space box in source pixels, clipped to the image.
    #[must_use]
    pub fn frame_from_model(&self, b: &ModelBox) -> FrameBox {
        let (left, top) = (px(self.left), px(self.top));
        let [across, down] = self.scale;
        FrameBox::new((b.x1 - left) / across, (b.y1 - top) / down, (b.x2 - left) / across, (b.y2 - top) / down)
            .clipped(px(self.frame.width), px(self.frame.height))
    }

    /// A source-space box in model pixels (not clipped).
    #[must_use]
    pub fn model_from_frame(&self, b: &FrameBox) -> ModelBox {
        let (left, top) = (px(self.left), px(self.top));
        let [across, down] = self.scale;
        ModelBox::new(b.x1 * across + left, b.y1 * down + top, b.x2 * across + left, b.y2 * down + top)
    }
}

/// A pixel count as f32; exact, as images are far below 2^24 pixels a side.
#[expect(clippy::cast_precision_loss, reason = "image sides are far below 2^24")]
#[must_use]
pub fn px(n: u32) -> f32 {
    n as f32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive size, rounded")]
fn scaled(side: u32, scale: f64) -> u32 {
    // Python's round(): half to even, as the reference implementation sizes the image.
    ((f64::from(side) * scale).round_ties_even() as u32).max(1)
}

/// `round(total / 2 - 0.1)`: an odd pixel of padding goes right or below, as in the reference implementation.
fn half_rounded_down(total: u32) -> u32 {
    total / 2
}

/// A model's input size, `N` or `HxW`, pixels.
///
/// # Errors
/// When it is none, or too small or too large.
pub fn input_size(text: &str) -> Result<Size, String> {
    let side = |t: &str| t.parse::<u32>().ok().filter(|n| (32..=8192).contains(n));
    let size = match text.split_once(['x', 'X']) {
        Some((h, w)) => side(h).zip(side(w)).map(|(height, width)| Size { width, height }),
        None => side(text).map(|n| Size { width: n, height: n }),
    };
    size.ok_or_else(|| "give N or HxW, each from 32 to 8192".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sixteen_by_nine_at_640_is_384_by_640() {
        let frame = Size { width: 1920, height: 1080 };
        let tensor = Letterbox::dynamic_tensor(frame, Size { width: 640, height: 640 }, 32);
        assert_eq!(tensor, Size { width: 640, height: 384 });
        let letterbox = Letterbox::fit(frame, tensor, Placement::Centre);
        assert_eq!((letterbox.left, letterbox.top), (0, 12));
        assert_eq!(letterbox.content, Size { width: 640, height: 360 });
    }

    #[test]
    fn disjoint_boxes_have_no_overlap() {
        let a = FrameBox::new(0.0, 0.0, 1.0, 1.0);
        let b = FrameBox::new(5.0, 5.0, 6.0, 6.0);
        assert!(a.iou(&b).abs() < f32::EPSILON);
        assert!((a.iou(&a) - 1.0).abs() < f32::EPSILON);
    }

    proptest! {
        #[test]
        fn letterbox_round_trips(
            w in 1u32..4000, h in 1u32..4000, tw in 1u32..60, th in 1u32..60,
            placement in 0usize..3, fx in 0.0f32..1.0, fy in 0.0f32..1.0, fw in 0.0f32..1.0, fh in 0.0f32..1.0,
        ) {
            let placement = [Placement::Centre, Placement::Corner, Placement::Stretch][placement];
            let frame = Size { width: w, height: h };
            let letterbox = Letterbox::fit(frame, Size { width: tw * 32, height: th * 32 }, placement);
            let (x1, y1) = (fx * px(w), fy * px(h));
            let b = FrameBox::new(x1, y1, x1 + fw * (px(w) - x1), y1 + fh * (px(h) - y1));
            let back = letterbox.frame_from_model(&letterbox.model_from_frame(&b));
            let tolerance = letterbox.scale.map(|scale| 1e-3 * px(w.max(h)) + 0.01 / scale);
            prop_assert!((back.x1 - b.x1).abs() <= tolerance[0] && (back.y2 - b.y2).abs() <= tolerance[1]);
        }

        #[test]
        fn a_stretched_image_fills_its_tensor(w in 1u32..4000, h in 1u32..4000, tw in 1u32..2000, th in 1u32..2000) {
            let (frame, tensor) = (Size { width: w, height: h }, Size { width: tw, height: th });
            let stretched = Letterbox::fit(frame, tensor, Placement::Stretch);
            prop_assert_eq!((stretched.content, stretched.left, stretched.top), (tensor, 0, 0));
            let whole = stretched.model_from_frame(&FrameBox::new(0.0, 0.0, px(w), px(h)));
            prop_assert!((whole.x2 - px(tw)).abs() <= 1e-3 * px(tw) && (whole.y2 - px(th)).abs() <= 1e-3 * px(th));
            // What covers the tensor covers the image, whatever its aspect.
            let back = stretched.frame_from_model(&ModelBox::new(0.0, 0.0, px(tw), px(th)));
            prop_assert!((back.x2 - px(w)).abs() <= 1e-3 * px(w) && (back.y2 - px(h)).abs() <= 1e-3 * px(h));
        }

        #[test]
        fn clipping_is_idempotent_and_inside(x1 in -50f32..50., y1 in -50f32..50., x2 in -50f32..50., y2 in -50f32..50.) {
            let once = FrameBox::new(x1, y1, x2, y2).clipped(20.0, 10.0);
            prop_assert_eq!(once, once.clipped(20.0, 10.0));
            prop_assert!(once.x1 >= 0.0 && once.x2 <= 20.0 && once.y1 >= 0.0 && once.y2 <= 10.0);
        }

        #[test]
        fn the_image_fits_its_dynamic_tensor(w in 1u32..5000, h in 1u32..5000, size in 1u32..50) {
            let frame = Size { width: w, height: h };
            let imgsz = Size { width: size * 32, height: size * 32 };
            let tensor = Letterbox::dynamic_tensor(frame, imgsz, 32);
            prop_assert!(tensor.width <= imgsz.width && tensor.height <= imgsz.height);
            prop_assert_eq!((tensor.width % 32, tensor.height % 32), (0, 0));
            let letterbox = Letterbox::fit(frame, tensor, Placement::Centre);
            prop_assert!(letterbox.left + letterbox.content.width <= tensor.width);
            prop_assert!(letterbox.top + letterbox.content.height <= tensor.height);
        }
    }
}
