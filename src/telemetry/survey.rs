//! What the packets of a file add up to: how many, how often, with what gaps; the first and the last sample.

use std::collections::BTreeMap;

use super::packet::Packet;
use super::{Known, Origin};

/// A gap is longer than so many times the usual time between packets.
const GAP: u64 = 3;

/// Packets of one kind.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Kind {
    /// All of them.
    pub packets: u64,
    /// Whose checksum is wrong.
    pub bad_checksum: u64,
    /// With a position.
    pub positions: u64,
    /// Of the first and of the last, ns.
    pub span_ns: Option<(u64, u64)>,
    #[serde(skip)]
    times: Vec<u64>,
    /// What the first and the last sample with a position say, or the first and the last at all.
    #[serde(skip)]
    pub ends: Option<(Known, Known)>,
}

/// Packets of all kinds.
#[derive(Debug, Default)]
pub struct Survey {
    kinds: BTreeMap<&'static str, (Origin, Kind)>,
}

impl Survey {
    /// Takes one more packet.
    pub fn add(&mut self, packet: &Packet) {
        let (_, kind) = self.kinds.entry(packet.origin.name()).or_insert_with(|| (packet.origin, Kind::default()));
        kind.packets += 1;
        kind.bad_checksum += u64::from(packet.checksum_ok == Some(false));
        if let Some(at) = packet.pts_ns {
            kind.times.push(at);
            let (first, last) = kind.span_ns.unwrap_or((at, at));
            kind.span_ns = Some((first.min(at), last.max(at)));
        }
        kind.positions += u64::from(packet.known.iter().any(|(_, _, known)| known.lat.is_some()));
        for (_, _, known) in &packet.known {
            match &mut kind.ends {
                Some((first, last)) if first.lat.is_some() == known.lat.is_some() || known.lat.is_some() => {
                    if first.lat.is_none() && known.lat.is_some() {
                        *first = *known;
                    }
                    *last = *known;
                }
                Some(_) => {}
                none @ None => *none = Some((*known, *known)),
            }
        }
    }

    /// What there is of every kind.
    pub fn kinds(&self) -> impl Iterator<Item = (Origin, &Kind)> {
        self.kinds.values().map(|(origin, kind)| (*origin, kind))
    }
}

impl Kind {
    /// Packets a second, as they usually come.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let usual = self.usual().filter(|ns| *ns > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "a time between packets")]
        Some(1e9 / usual as f64)
    }

    /// Where packets are missing: how often, and how long the longest time without any is, ns.
    #[must_use]
    pub fn gaps(&self) -> (u64, u64) {
        let Some(usual) = self.usual() else { return (0, 0) };
        let steps = self.steps();
        let gaps = steps.iter().filter(|step| **step > usual.saturating_mul(GAP));
        (gaps.clone().count() as u64, gaps.copied().max().unwrap_or_default())
    }

    /// The median time between packets.
    fn usual(&self) -> Option<u64> {
        let mut steps = self.steps();
        steps.sort_unstable();
        steps.get(steps.len() / 2).copied()
    }

    fn steps(&self) -> Vec<u64> {
        self.times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_rates_are_those_of_the_packets() {
        let mut survey = Survey::default();
        let packet = |ms: u64, lat| Packet {
            pts_ns: Some(ms * 1_000_000),
            origin: Origin::DjiSrt,
            checksum_ok: (ms == 40).then_some(false),
            fields: serde_json::Map::new(),
            known: vec![(0, None, Known { lat, ..Known::default() })],
        };
        for (ms, lat) in [(0, None), (40, Some(1.0)), (80, None), (120, Some(2.0)), (1120, Some(3.0)), (1160, None)] {
            survey.add(&packet(ms, lat));
        }
        let (origin, kind) = survey.kinds().next().expect("a kind");
        assert_eq!((origin, kind.packets, kind.positions, kind.bad_checksum), (Origin::DjiSrt, 6, 3, 1));
        assert_eq!((kind.rate(), kind.gaps()), (Some(25.0), (1, 1_000_000_000)));
        let (first, last) = kind.ends.expect("samples");
        assert_eq!((first.lat, last.lat, kind.span_ns), (Some(1.0), Some(3.0), Some((0, 1_160_000_000))));
    }
}
