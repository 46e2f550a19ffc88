//! HDR video (HLG, PQ) as SDR of BT.709: what models were trained on, what 8 bits can hold, and what every player shows.

mod table;

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use crate::frame::FramePool;
use crate::frame::hdr::{Transfer, to_sdr};
use crate::geometry::Size;
use table::{Place, Table, tables};

/// Makes SDR of HDR frames of one format.
pub(super) struct ToneMapper {
    from: gst_video::VideoInfo,
    to: gst_video::VideoInfo,
    tables: [Table; 3],
    pool: FramePool,
}

impl ToneMapper {
    /// For frames like `video`; `None` where they are not HDR of 10 or 8 bits, 4:2:0.
    pub fn new(video: &gst_video::VideoInfo) -> Option<Self> {
        let transfer = Transfer::of(video)?;
        if !matches!(video.format(), gst_video::VideoFormat::I42010le | gst_video::VideoFormat::I420) {
            return None;
        }
        let to = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, video.width(), video.height())
            .fps(video.fps())
            .par(video.par())
            .chroma_site(video.chroma_site())
            .interlace_mode(video.interlace_mode())
            .colorimetry(&gst_video::VideoColorimetry::new(
                gst_video::VideoColorRange::Range16_235,
                gst_video::VideoColorMatrix::Bt709,
                gst_video::VideoTransferFunction::Bt709,
                gst_video::VideoColorPrimaries::Bt709,
            ))
            .build()
            .ok()?;
        let full = video.colorimetry().range() == gst_video::VideoColorRange::Range0_255;
        let (black, luma, chroma) = if full { (0.0, 1023.0, 1023.0) } else { (64.0, 876.0, 896.0) };
        let tables = tables(|[y, u, v]| {
            let ycc = [(y - black) / luma, (u - 512.0) / chroma, (v - 512.0) / chroma];
            let [y, cb, cr] = to_sdr(transfer, ycc);
            [y * 219.0 + 16.0, cb * 224.0 + 128.0, cr * 224.0 + 128.0]
        });
        Some(Self { from: video.clone(), to, tables, pool: FramePool::default() })
    }

    /// Whether it is for frames like `video`.
    pub fn is_for(&self, video: &gst_video::VideoInfo) -> bool {
        self.from == *video
    }

    /// The frame in SDR with its description; `None` where there is no memory for it.
    pub fn map(&mut self, buffer: gst::Buffer) -> Option<(gst::Buffer, gst_video::VideoInfo)> {
        let source = gst_video::VideoFrame::from_buffer_readable(buffer, &self.from).ok()?;
        let mut target = self.pool.take(&self.to).ok()?;
        let size = Size { width: self.to.width(), height: self.to.height() };
        let wide = self.from.format() == gst_video::VideoFormat::I42010le;
        let stride = |strides: &[i32], plane: usize| usize::try_from(strides[plane]).unwrap_or(0);
        let mut from = [Rows { data: &[], stride: 0 }; 3];
        for (index, plane) in (0u32..).zip(&mut from) {
            let stride = stride(source.plane_stride(), index as usize);
            *plane = Rows { data: source.plane_data(index).ok()?, stride };
        }
        let strides: [usize; 3] = std::array::from_fn(|plane| stride(target.plane_stride(), plane));
        let [y, u, v, _] = target.planes_data_mut();
        if wide {
            convert::<2>(&self.tables, from, size, [y, u, v], strides);
        } else {
            convert::<1>(&self.tables, from, size, [y, u, v], strides);
        }
        let mut buffer = target.into_buffer();
        source.buffer().copy_into(buffer.get_mut()?, gst::BUFFER_COPY_METADATA, ..).ok()?;
        Some((buffer, self.to.clone()))
    }
}

/// A plane, `stride` bytes from row to row.
#[derive(Clone, Copy)]
struct Rows<'a> {
    data: &'a [u8],
    stride: usize,
}

impl<'a> Rows<'a> {
    /// Samples of `BYTES` each of a row.
    fn row<const BYTES: usize>(self, row: usize) -> &'a [[u8; BYTES]] {
        self.data.get(row * self.stride..).unwrap_or_default().as_chunks::<BYTES>().0
    }
}

/// A sample as one of 10 bits.
#[inline]
fn sample<const BYTES: usize>(bytes: [u8; BYTES]) -> u16 {
    let low = u16::from(bytes[0]);
    if BYTES == 2 { low | u16::from(bytes[BYTES - 1]) << 8 } else { low << 2 }
}

/// Converts 4:2:0 of `BYTES` a sample.
fn convert<const BYTES: usize>(
    tables: &[Table; 3],
    from: [Rows<'_>; 3],
    size: Size,
    [y, u, v]: [&mut [u8]; 3],
    strides: [usize; 3],
) {
    let (width, height) = (size.width as usize, size.height as usize);
    let chroma = y.chunks_mut(2 * strides[0]).zip(u.chunks_mut(strides[1])).zip(v.chunks_mut(strides[2]));
    for (row, ((luma, u), v)) in chroma.take(height.div_ceil(2)).enumerate() {
        // The last of an odd number of rows stands for both; it is written once.
        let (top, bottom) = luma.split_at_mut(strides[0].min(luma.len()));
        let below = 2 * row + 1 < height;
        let lines = [from[0].row::<BYTES>(2 * row), from[0].row::<BYTES>(if below { 2 * row + 1 } else { 2 * row })];
        let lines = lines.map(|line| &line[..width]);
        let (top, bottom) = (&mut top[..width], &mut bottom[..if below { width } else { 0 }]);
        let samples = from[1].row::<BYTES>(row).iter().zip(from[2].row::<BYTES>(row));
        let blocks = u.iter_mut().zip(v).zip(samples).take(width.div_ceil(2));
        for (column, ((u, v), (from_u, from_v))) in blocks.enumerate() {
            let place = Place::of(sample(*from_u), sample(*from_v));
            let (left, right) = (2 * column, (2 * column + 1).min(width - 1));
            let block = [lines[0][left], lines[0][right], lines[1][left], lines[1][right]].map(sample::<BYTES>);
            top[left] = tables[0].at(place, block[0]);
            top[right] = tables[0].at(place, block[1]);
            if below {
                bottom[left] = tables[0].at(place, block[2]);
                bottom[right] = tables[0].at(place, block[3]);
            }
            let mean = block.iter().sum::<u16>().div_ceil(4);
            *u = tables[1].at(place, mean);
            *v = tables[2].at(place, mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapper(format: gst_video::VideoFormat, transfer: gst_video::VideoTransferFunction, width: u32) -> ToneMapper {
        gst::init().expect("GStreamer");
        let video = gst_video::VideoInfo::builder(format, width, 3).colorimetry(&gst_video::VideoColorimetry::new(
            gst_video::VideoColorRange::Range16_235,
            gst_video::VideoColorMatrix::Bt2020,
            transfer,
            gst_video::VideoColorPrimaries::Bt2020,
        ));
        ToneMapper::new(&video.build().expect("a format")).expect("HDR")
    }

    /// Colours of BT.709 are within half a step of 8 bits for half of them, and within one and a half for nine of ten.
    #[test]
    fn the_table_is_close_to_the_curve() {
        let mut errors = Vec::new();
        for (transfer, curve) in [
            (gst_video::VideoTransferFunction::AribStdB67, Transfer::Hlg),
            (gst_video::VideoTransferFunction::Smpte2084, Transfer::Pq),
        ] {
            let mapper = mapper(gst_video::VideoFormat::I42010le, transfer, 2);
            for y in (64..=940u16).step_by(23) {
                for u in (400..=624u16).step_by(17) {
                    for v in (400..=624u16).step_by(19) {
                        let [fy, fu, fv] = [y, u, v].map(f64::from);
                        let ycc = [(fy - 64.0) / 876.0, (fu - 512.0) / 896.0, (fv - 512.0) / 896.0];
                        let exact = to_sdr(curve, ycc);
                        let (red, blue) = (exact[0] + 1.5748 * exact[2], exact[0] + 1.8556 * exact[1]);
                        let green = (exact[0] - 0.2126 * red - 0.0722 * blue) / 0.7152;
                        // Colours outside of BT.709 are clipped, sharply.
                        if [red, green, blue].iter().any(|channel| !(0.1..=0.98).contains(channel)) {
                            continue;
                        }
                        let exact = [exact[0] * 219.0 + 16.0, exact[1] * 224.0 + 128.0, exact[2] * 224.0 + 128.0];
                        let place = Place::of(u, v);
                        for (table, exact) in mapper.tables.iter().zip(exact) {
                            errors.push((f64::from(table.at(place, y)) - exact).abs());
                        }
                    }
                }
            }
        }
        errors.sort_by(f64::total_cmp);
        let share = |percent: usize| errors[(errors.len() - 1) * percent / 100];
        assert!(share(50) < 0.5 && share(90) < 1.5, "{} {}", share(50), share(90));
    }

    /// Odd sizes, and 8 bits as well as 10.
    #[test]
    fn frames_of_any_size_are_mapped() {
        for (format, bytes) in [(gst_video::VideoFormat::I42010le, 2), (gst_video::VideoFormat::I420, 1)] {
            let mut mapper = mapper(format, gst_video::VideoTransferFunction::AribStdB67, 5);
            let mut buffer = gst::Buffer::with_size(mapper.from.size()).expect("memory");
            let from = mapper.from.clone();
            {
                let buffer = buffer.get_mut().expect("ours");
                let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, &from).expect("a frame");
                for plane in 0..3 {
                    // White and no colour, of 10 bits and 8.
                    let value: u16 = if plane == 0 { 940 } else { 512 } >> (2 * (2 - bytes));
                    let data = frame.plane_data_mut(plane).expect("a plane");
                    for chunk in data.chunks_exact_mut(bytes) {
                        chunk.copy_from_slice(&value.to_le_bytes()[..bytes]);
                    }
                }
            }
            let (buffer, video) = mapper.map(buffer).expect("memory");
            let frame = gst_video::VideoFrame::from_buffer_readable(buffer, &video).expect("a frame");
            for (plane, value, size) in [(0, 235, (5, 3)), (1, 128, (3, 2)), (2, 128, (3, 2))] {
                let stride = usize::try_from(frame.plane_stride()[plane]).expect("rows");
                let data = frame.plane_data(u32::try_from(plane).expect("few")).expect("a plane");
                for row in 0..size.1 {
                    let row = &data[row * stride..][..size.0];
                    assert!(row.iter().all(|sample| sample.abs_diff(value) <= 1), "plane {plane}: {row:?}");
                }
            }
        }
    }
}
