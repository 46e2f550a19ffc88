//! Colours of HDR video (ITU-R BT.2100: HLG or PQ, primaries of BT.2020) as colours of SDR (BT.709), and the other way.
//!
//! Tone mapping is method A of ITU-R BT.2446-1, from 1000 cd/m² to 100; transfer functions are those of ITU-R BT.2100-2, tables 4
//! and 5; primaries are converted as in ITU-R BT.2087-0. Colours outside of BT.709 are clipped.

use gstreamer_video as gst_video;

/// Transfer functions of HDR video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// Hybrid log-gamma: relative to the display.
    Hlg,
    /// Perceptual quantiser (SMPTE ST 2084): absolute.
    Pq,
}

impl Transfer {
    /// That of `video`; `None` where it is SDR.
    #[must_use]
    pub fn of(video: &gst_video::VideoInfo) -> Option<Self> {
        match video.colorimetry().transfer() {
            gst_video::VideoTransferFunction::AribStdB67 => Some(Self::Hlg),
            gst_video::VideoTransferFunction::Smpte2084 => Some(Self::Pq),
            _ => None,
        }
    }

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hlg => "HLG",
            Self::Pq => "PQ",
        }
    }
}

const HLG_A: f64 = 0.178_832_77;
const HLG_B: f64 = 0.284_668_92;
const HLG_C: f64 = 0.559_910_73;
const PQ_M1: f64 = 2610.0 / 16384.0;
const PQ_M2: f64 = 2523.0 / 4096.0 * 128.0;
const PQ_C1: f64 = 3424.0 / 4096.0;
const PQ_C2: f64 = 2413.0 / 4096.0 * 32.0;
const PQ_C3: f64 = 2392.0 / 4096.0 * 32.0;
/// Light of PQ's largest signal, cd/m².
const PQ_PEAK: f64 = 10_000.0;

/// Peak of the HDR display, cd/m²; brighter parts of PQ are clipped.
const HDR_PEAK: f64 = 1000.0;
/// Peak of the SDR display, cd/m².
const SDR_PEAK: f64 = 100.0;
/// White of graphics and text, cd/m² (ITU-R BT.2408), and the scene light that HLG has for it.
const GRAPHICS_WHITE: f64 = 203.0;
const HLG_GRAPHICS_WHITE: f64 = 0.265;
/// Gamma of HLG's OOTF for that peak.
const SYSTEM_GAMMA: f64 = 1.2;
/// Gamma of the SDR display (BT.1886).
const GAMMA: f64 = 2.4;

/// `(Kr, Kb)` of BT.2020 and BT.709.
const BT2020: (f64, f64) = (0.2627, 0.0593);
const BT709: (f64, f64) = (0.2126, 0.0722);

/// Linear BT.709 to BT.2020, and back.
const TO_BT2020: [[f64; 3]; 3] = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]];
const TO_BT709: [[f64; 3]; 3] = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]];

/// `[Y', Cb, Cr]` of BT.2100 with `transfer`, 0..1 and ±0.5, as `[Y', Cb, Cr]` of BT.709.
#[must_use]
pub fn to_sdr(transfer: Transfer, ycc: [f64; 3]) -> [f64; 3] {
    let signal = to_rgb(ycc, BT2020).map(|channel| channel.clamp(0.0, 1.0));
    // Light of the display, 1 for its peak, as gamma codes it.
    let rgb = light(transfer, signal).map(|channel| channel.clamp(0.0, 1.0).powf(1.0 / GAMMA));
    let sdr = tone_map(rgb).map(|channel| channel.clamp(0.0, 1.0).powf(GAMMA));
    let bt709 = multiply(TO_BT709, sdr);
    to_ycc(bt709.map(|channel| channel.clamp(0.0, 1.0).powf(1.0 / GAMMA)), BT709)
}

/// R'G'B' of BT.709, 0..1, as `[Y', Cb, Cr]` of BT.2100 with `transfer`: as graphics are drawn on HDR video.
#[must_use]
pub fn graphics(transfer: Transfer, rgb: [f64; 3]) -> [f64; 3] {
    let light = multiply(TO_BT2020, rgb.map(|channel| channel.clamp(0.0, 1.0).powf(GAMMA)));
    let signal = light.map(|light| match transfer {
        Transfer::Hlg => {
            let scene = light * HLG_GRAPHICS_WHITE;
            if scene <= 1.0 / 12.0 { (3.0 * scene).sqrt() } else { HLG_A * (12.0 * scene - HLG_B).ln() + HLG_C }
        }
        Transfer::Pq => {
            let light = (light * GRAPHICS_WHITE / PQ_PEAK).powf(PQ_M1);
            ((PQ_C1 + PQ_C2 * light) / (1.0 + PQ_C3 * light)).powf(PQ_M2)
        }
    });
    to_ycc(signal, BT2020)
}

/// The EOTF: the display's light, 1 for its peak.
fn light(transfer: Transfer, signal: [f64; 3]) -> [f64; 3] {
    match transfer {
        Transfer::Hlg => {
            let scene =
                signal.map(|e| if e <= 0.5 { e * e / 3.0 } else { (((e - HLG_C) / HLG_A).exp() + HLG_B) / 12.0 });
            let gain = luma(scene, BT2020).powf(SYSTEM_GAMMA - 1.0);
            scene.map(|channel| channel * gain)
        }
        Transfer::Pq => signal.map(|e| {
            let e = e.powf(1.0 / PQ_M2);
            ((e - PQ_C1).max(0.0) / (PQ_C2 - PQ_C3 * e)).powf(1.0 / PQ_M1) * PQ_PEAK / HDR_PEAK
        }),
    }
}

/// BT.2446-1, method A: R'G'B' for the HDR display to R'G'B' for the SDR display, both coded by gamma.
fn tone_map(rgb: [f64; 3]) -> [f64; 3] {
    let rho = |peak: f64| 1.0 + 32.0 * (peak / 10_000.0).powf(1.0 / GAMMA);
    let (hdr, sdr) = (rho(HDR_PEAK), rho(SDR_PEAK));
    let y = luma(rgb, BT2020);
    let perceptual = (1.0 + (hdr - 1.0) * y).ln() / hdr.ln();
    let compressed = if perceptual <= 0.7399 {
        1.077 * perceptual
    } else if perceptual < 0.9909 {
        -1.151 * perceptual * perceptual + 2.7811 * perceptual - 0.6302
    } else {
        0.5 * perceptual + 0.5
    };
    let mapped = (sdr.powf(compressed) - 1.0) / (sdr - 1.0);
    let saturation = if y > 0.0 { mapped / (1.1 * y) } else { 0.0 };
    let [_, cb, cr] = to_ycc(rgb, BT2020);
    let (cb, cr) = (saturation * cb, saturation * cr);
    to_rgb([mapped - (0.1 * cr).max(0.0), cb, cr], BT2020)
}

fn multiply(matrix: [[f64; 3]; 3], rgb: [f64; 3]) -> [f64; 3] {
    matrix.map(|row| row[0] * rgb[0] + row[1] * rgb[1] + row[2] * rgb[2])
}

fn luma([r, g, b]: [f64; 3], (kr, kb): (f64, f64)) -> f64 {
    kr * r + (1.0 - kr - kb) * g + kb * b
}

fn to_ycc(rgb: [f64; 3], (kr, kb): (f64, f64)) -> [f64; 3] {
    let y = luma(rgb, (kr, kb));
    [y, (rgb[2] - y) / (2.0 * (1.0 - kb)), (rgb[0] - y) / (2.0 * (1.0 - kr))]
}

fn to_rgb([y, cb, cr]: [f64; 3], (kr, kb): (f64, f64)) -> [f64; 3] {
    let (r, b) = (y + 2.0 * (1.0 - kr) * cr, y + 2.0 * (1.0 - kb) * cb);
    [r, (y - kr * r - kb * b) / (1.0 - kr - kb), b]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(transfer: Transfer, signal: f64) -> f64 {
        let [y, cb, cr] = to_sdr(transfer, [signal, 0.0, 0.0]);
        assert!(cb.abs() < 1e-3 && cr.abs() < 1e-3, "grey stays grey: {cb} {cr}");
        y
    }

    #[test]
    fn black_and_white_stay_so_and_light_increases() {
        for transfer in [Transfer::Hlg, Transfer::Pq] {
            assert!(grey(transfer, 0.0).abs() < 1e-6);
            let greys: Vec<f64> = (0..=100).map(|step| grey(transfer, f64::from(step) / 100.0)).collect();
            assert!(greys.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9), "{greys:?}");
            assert!((greys[100] - 1.0).abs() < 1e-3, "{}", greys[100]);
        }
    }

    /// 203 cd/m², HDR's reference white (ITU-R BT.2408), is 75 % of HLG and 58 % of PQ: the same light.
    #[test]
    fn reference_white_is_the_same_in_both() {
        let (hlg, pq) = (grey(Transfer::Hlg, 0.75), grey(Transfer::Pq, 0.5807));
        assert!((hlg - pq).abs() < 0.005, "{hlg} {pq}");
        // By hand, as BT.2446-1 says: 0.770 of perceived light becomes 0.828, and that 0.687.
        assert!((hlg - 0.687).abs() < 0.003, "{hlg}");
    }

    #[test]
    fn white_graphics_are_reference_white() {
        let [hlg, ..] = graphics(Transfer::Hlg, [1.0; 3]);
        let [pq, ..] = graphics(Transfer::Pq, [1.0; 3]);
        assert!((hlg - 0.75).abs() < 0.002 && (pq - 0.5807).abs() < 0.002, "{hlg} {pq}");
        assert!(graphics(Transfer::Hlg, [0.0; 3])[0].abs() < 1e-9);
    }

    #[test]
    fn colours_keep_their_hue() {
        let red = to_sdr(Transfer::Hlg, to_ycc([0.6, 0.2, 0.2], BT2020));
        let [r, g, b] = to_rgb(red, BT709);
        assert!(r > 2.0 * g.max(b), "{r} {g} {b}");
    }
}
