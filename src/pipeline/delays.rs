//! Delays put into the stages on purpose, to see that the figures show them.

use std::str::FromStr;
use std::time::Duration;

/// Time added to every frame in a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delays {
    /// Between a frame's entering and leaving the decoder.
    pub decode: Duration,
    /// In the session's run.
    pub inference: Duration,
    /// While boxes are drawn.
    pub overlay: Duration,
    /// Between a frame's entering and leaving the encoder.
    pub encode: Duration,
}

impl FromStr for Delays {
    type Err = String;

    /// `STAGE=MS[,STAGE=MS…]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut delays = Self::default();
        for part in text.split(',') {
            let (stage, ms) = part.split_once('=').ok_or("give STAGE=MS")?;
            let slot = match stage {
                "decode" => &mut delays.decode,
                "inference" => &mut delays.inference,
                "overlay" => &mut delays.overlay,
                "encode" => &mut delays.encode,
                _ => return Err(format!("no such stage: {stage}; give decode, inference, overlay or encode")),
            };
            let ms: u16 = ms.parse().map_err(|e| format!("{ms}: {e}"))?;
            *slot = Duration::from_millis(u64::from(ms));
        }
        Ok(delays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_named() {
        let delays: Delays = "decode=20,encode=5".parse().expect("two stages");
        assert_eq!((delays.decode, delays.encode), (Duration::from_millis(20), Duration::from_millis(5)));
        assert_eq!(delays.overlay, Duration::ZERO);
        for wrong in ["", "decode", "decode=x", "sleep=1", "decode=1,,"] {
            assert!(wrong.parse::<Delays>().is_err(), "{wrong}");
        }
    }
}
