//! Pictures of noise, for the stages that read pixels or draw on them.

use streamdet::frame::{ChromaSite, Colour, FrameInfo, Matrix, PixelFormat, Range};
use streamdet::geometry::Size;

use crate::noise::Noise;

/// The usual kind of picture: BT.709, limited range, chroma on the left.
pub fn info(format: PixelFormat, (width, height): (u32, u32)) -> FrameInfo {
    let colour = Colour { matrix: Matrix::Bt709, range: Range::Limited, site: ChromaSite::Left };
    FrameInfo { format, size: Size { width, height }, colour }
}

/// Plane `index` of such a picture and its stride; empty where the format has no such plane.
pub fn plane(info: &FrameInfo, index: usize) -> (Vec<u8>, usize) {
    if index >= info.format.planes() {
        return (Vec::new(), 0);
    }
    let Size { width, height } = info.plane_size(index);
    let step = if index == 1 && info.format == PixelFormat::Nv12 { 2 } else { 1 };
    let stride = width as usize * step;
    (Noise::default().take(stride * height as usize).collect(), stride)
}
