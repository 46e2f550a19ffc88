use std::time::Duration;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::detection::{Track, TrackState};
use crate::frame::{ChromaSite, Colour, FrameInfo, Matrix, PixelFormat, PlaneMut, Range};
use crate::geometry::{FrameBox, Size};
use paint::yuv;

const FORMATS: [PixelFormat; 4] = [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Y42b, PixelFormat::Y444];

fn overlay(labels: Labels, names: &[&str]) -> Overlay {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    Overlay::new(Style { labels, ..Style::default() }, &names, Arc::new(Fonts::built_in()))
}

fn tracked(id: u32) -> Track {
    Track { id, age: Duration::from_secs(1), state: TrackState::Confirmed, speed: [0.0, 0.0] }
}

/// The planes of a grey frame after `draw`, with so many bytes of padding a row, which it leaves alone.
pub(super) fn on_grey(
    (format, size, padding): (PixelFormat, Size, usize),
    draw: impl FnOnce(&mut FrameViewMut<'_>),
) -> [Vec<u8>; 3] {
    let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited, site: ChromaSite::Left };
    let info = FrameInfo { format, size, colour };
    let mut data: [Vec<u8>; 3] = Default::default();
    let mut strides = [0; 3];
    for index in 0..format.planes() {
        let plane = info.plane_size(index);
        let bytes = plane.width as usize * if format == PixelFormat::Nv12 && index == 1 { 2 } else { 1 };
        strides[index] = bytes + padding;
        data[index] = vec![128; strides[index] * plane.height as usize];
        for row in data[index].chunks_exact_mut(strides[index]) {
            row[bytes..].fill(0xEE);
        }
    }
    let mut planes = data.iter_mut().zip(strides).map(|(data, stride)| PlaneMut { data, stride });
    let planes = std::array::from_fn(|_| planes.next().expect("three planes"));
    draw(&mut FrameViewMut { info, planes, hdr: None });
    for index in 0..format.planes() {
        for row in data[index].chunks_exact(strides[index]) {
            assert!(row[strides[index] - padding..].iter().all(|b| *b == 0xEE), "padding is untouched");
        }
    }
    data
}

fn draw_on(overlay: &mut Overlay, format: PixelFormat, size: Size, detections: &[Detection]) -> [Vec<u8>; 3] {
    on_grey((format, size, 3), |frame| overlay.draw(frame, detections, Some("30.0 fps")).expect("it draws"))
}

#[test]
fn a_box_is_drawn_in_the_class_colour_and_nothing_outside() {
    let d = Detection { class_id: 0, confidence: 0.9, bbox: FrameBox::new(40.0, 60.0, 90.0, 100.0), track: None };
    let size = Size { width: 161, height: 121 };
    for format in FORMATS {
        let data = draw_on(&mut overlay(Labels::Auto, &["é\u{7}x"]), format, size, &[d]);
        let stride = 161 + 3;
        let [y, ..] = yuv(
            &FrameInfo {
                format,
                size,
                colour: Colour { matrix: Matrix::Bt601, range: Range::Limited, site: ChromaSite::Left },
            },
            class_colour(0),
        );
        assert!((f64::from(data[0][99 * stride + 60]) - y).abs() <= 1.0, "{format:?}: bottom edge");
        assert_eq!(data[0][80 * stride + 60], 128, "{format:?}: inside");
        assert_eq!(data[0][110 * stride + 60], 128, "{format:?}: below");
    }
}

#[test]
fn colours_of_eighty_classes_differ() {
    let colours: std::collections::HashSet<_> = (0..80).map(class_colour).collect();
    assert_eq!(colours.len(), 80);
}

/// Boxes of every size over and beside each other, of 480 by 270 pixels.
fn crowd() -> Vec<Detection> {
    (0u16..60)
        .map(|n| {
            let (x, y) = (f32::from(n * 71 % 460), f32::from(n * 43 % 250));
            let bbox = FrameBox::new(x, y, x + 9.0 + f32::from(n % 50), y + 7.5 + f32::from(n % 31));
            Detection { class_id: n % 4, confidence: 0.15 + f32::from(n) / 80.0, bbox, track: None }
        })
        .collect()
}

const CROWD: Size = Size { width: 480, height: 270 };
const NAMES: [&str; 3] = ["car", "pedestrian", "сирена"];

#[test]
fn all_labels_are_drawn_as_ever() {
    // Of the version before there was a choice.
    let digests = FORMATS.map(|format| {
        let planes = draw_on(&mut overlay(Labels::All, &NAMES), format, CROWD, &crowd());
        Sha256::digest(planes.concat()).first_chunk().map(|first| u64::from_be_bytes(*first))
    });
    let expected = [0x7160_1567_9d03_768f, 0x07d5_499d_16a8_73c7, 0x7adb_188c_0d9a_7617, 0xd968_e6da_e32f_03b7];
    assert_eq!(digests, expected.map(Some));
}

#[test]
fn no_labels_are_boxes_alone_and_automatic_ones_cover_less_than_all() {
    let draw = |labels| draw_on(&mut overlay(labels, &NAMES), PixelFormat::I420, CROWD, &crowd());
    let (none, auto, all) = (draw(Labels::None), draw(Labels::Auto), draw(Labels::All));
    let differ = |a: &[Vec<u8>; 3]| a[0].iter().zip(&none[0]).filter(|(a, b)| a != b).count();
    assert!(differ(&auto) > 500, "{}", differ(&auto));
    assert!(differ(&auto) < differ(&all), "{} {}", differ(&auto), differ(&all));
}

#[test]
fn a_tracked_label_has_its_id_first() {
    let d =
        Detection { class_id: 0, confidence: 0.873, bbox: FrameBox::new(0.0, 0.0, 9.0, 9.0), track: Some(tracked(7)) };
    let mut overlay = overlay(Labels::Auto, &["car"]);
    let parts = overlay.write(&d).map(|part| &overlay.written[part]);
    assert_eq!(parts, ["id:7 car 0.87", "car", "7"]);
    overlay.written.clear();
    let parts = overlay.write(&Detection { track: None, ..d }).map(|part| &overlay.written[part]);
    assert_eq!(parts, ["car 0.87", "car", ""]);
}

#[test]
fn an_initial_is_the_first_letter_as_it_is_read() {
    assert_eq!(["car", " 7up", "é", "行人", "שלום", "-", ""].map(initial), ["c", "7", "é", "行", "ש", "-", "?"]);
    assert_eq!(initial("سيارة"), visual("س"));
}

#[test]
fn text_grows_with_its_box_from_readable_to_as_large_as_ever() {
    let mut overlay = overlay(Labels::Auto, &["car"]);
    for (size, smallest, largest) in [((1360, 765), 11.0, 18.0), ((1920, 1080), 15.0, 25.0), ((320, 180), 11.0, 11.0)] {
        let side = |side: f32| {
            let bbox = FrameBox::new(100.0, 100.0, 100.0 + side, 100.0 + side);
            Detection { class_id: 0, confidence: 0.9, bbox, track: None }
        };
        let frame = Size { width: size.0, height: size.1 };
        for (d, px) in [(side(8.0), smallest), (side(160.0), largest)] {
            draw_on(&mut overlay, PixelFormat::I420, frame, &[d]);
            let step = overlay.subjects[0].step.round();
            assert!((overlay.typesetter.px(if step > 0.0 { LARGEST } else { 0 }) - px).abs() < 0.1, "{size:?} {step}");
        }
    }
}

#[test]
fn a_frame_like_the_one_before_takes_no_memory() {
    let mut overlay = overlay(Labels::Auto, &NAMES);
    let mut detections = crowd();
    detections.iter_mut().zip(1..).step_by(2).for_each(|(d, id)| d.track = Some(tracked(id)));
    let held = |overlay: &Overlay| {
        let own = [overlay.order.capacity(), overlay.subjects.capacity(), overlay.texts.capacity()];
        (own, overlay.written.capacity(), overlay.placer.memory(), overlay.typesetter.glyphs())
    };
    // Two frames, as what is remembered changes places with what is next.
    let mut before = None;
    for frame in 0..20 {
        detections.rotate_left(7);
        draw_on(&mut overlay, PixelFormat::I420, CROWD, &detections);
        let now = held(&overlay);
        assert!(frame < 2 || before == Some(now), "{before:?} {now:?}");
        before = Some(now);
    }
}

#[test]
fn figures_in_the_corner_cover_no_label() {
    let bbox = FrameBox::new(20.0, 40.0, 60.0, 80.0);
    let d = Detection { class_id: 0, confidence: 0.9, bbox, track: None };
    let mut overlay = overlay(Labels::Auto, &["car"]);
    draw_on(&mut overlay, PixelFormat::I420, CROWD, &[d]);
    let hud = overlay.typesetter.place([480, 270], "30.0 fps", LARGEST, [8, 8]);
    let label = overlay.placer.placed()[0].expect("it has a label");
    assert_eq!(label.area.shared(hud), 0);
}

proptest! {
    #[test]
    fn no_box_and_no_name_harm_anything(
        w in 1u32..80, h in 1u32..80, x1 in -100f32..200., y1 in -100f32..200., x2 in -100f32..200., y2 in -100f32..200.,
        f in 0usize..4, labels in 0usize..3, id in proptest::option::of(any::<u32>()), name in "\\PC{0,6}", nan in 0usize..8
    ) {
        let mut edges = [x1, y1, x2, y2];
        if let Some(edge) = edges.get_mut(nan) {
            *edge = [f32::NAN, f32::INFINITY][f % 2];
        }
        let [x1, y1, x2, y2] = edges;
        let bbox = FrameBox::new(x1, y1, x2, y2);
        let d = Detection { class_id: 0, confidence: [0.5, f32::NAN][f % 2], bbox, track: id.map(tracked) };
        let unknown = Detection { class_id: 3, ..d };
        let mut overlay = overlay([Labels::Auto, Labels::All, Labels::None][labels], &[&name]);
        for detections in [&[d, unknown, d][..], &[d], &[]] {
            draw_on(&mut overlay, FORMATS[f], Size { width: w, height: h }, detections);
        }
    }
}
