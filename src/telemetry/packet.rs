//! A packet of telemetry with everything that it says, as JSON has it.

use serde_json::{Map, Value, json};

use super::klv::{self, Packets, UAS_KEY, VMTI_KEY, camera, carriage, checksum, uas, vmti::Vmti};
use super::{Known, Origin, dji, gpmf};

/// One packet.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    /// When it is, in the time of the stream, ns; `None` where nothing says it.
    pub pts_ns: Option<u64>,
    /// What said it.
    pub origin: Origin,
    /// Whether its checksum is right, where it has one.
    pub checksum_ok: Option<bool>,
    /// What it says, by the names of its standard.
    pub fields: Map<String, Value>,
    /// What it says of the camera: from when, until when where that is said.
    pub known: Vec<(u64, Option<u64>, Known)>,
}

impl Packet {
    /// As a line of JSON, without the line's end.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut line = Map::new();
        line.insert("pts_ns".into(), json!(self.pts_ns));
        line.insert("source".into(), json!(self.origin.name()));
        if let Some(is_good) = self.checksum_ok {
            line.insert("checksum_ok".into(), json!(is_good));
        }
        line.extend(self.fields.clone());
        Value::Object(line).to_string()
    }
}

/// Reads packets one after another; some say only once what holds for those that follow.
#[derive(Debug, Default)]
pub struct Reader {
    vmti_version: u64,
}

impl Reader {
    /// The packets in the payload of one PES packet, or in a file of packets, that is shown at `pts_ns`.
    pub fn klv(&mut self, payload: &[u8], pts_ns: Option<u64>) -> Vec<Packet> {
        let bytes = carriage::packets(payload);
        Packets::new(&bytes).map(|packet| self.set(&packet, pts_ns)).collect()
    }

    fn set(&mut self, packet: &klv::Packet<'_>, pts_ns: Option<u64>) -> Packet {
        let checksum_ok = checksum(packet).map(klv::Checksum::is_good);
        let mut fields = Map::new();
        let mut known = Vec::new();
        if packet.key == UAS_KEY {
            for item in uas::decode(packet.value, &mut self.vmti_version).map_while(Result::ok) {
                let name = item.name.map_or_else(|| format!("tag_{}", item.tag), str::to_owned);
                fields.insert(name, json!(item.value));
            }
            // What is wrong is said, and not believed.
            if checksum_ok != Some(false) {
                known.push((pts_ns.unwrap_or_default(), None, camera::known(packet.value)));
            }
        } else if packet.key == VMTI_KEY {
            fields.insert("vmti_local_set".into(), json!(Vmti::decode(packet.value, &mut self.vmti_version)));
        } else {
            fields.insert("key".into(), json!(klv::hex(&packet.key)));
        }
        Packet { pts_ns, origin: Origin::Misb0601, checksum_ok, fields, known }
    }

    /// The text of a subtitle that is shown from `pts_ns`, for so long; `None` where it is no telemetry.
    #[must_use]
    pub fn cue(text: &str, pts_ns: Option<u64>, length_ns: Option<u64>) -> Option<Packet> {
        let cue = dji::Cue::read(text)?;
        let Ok(Value::Object(fields)) = serde_json::to_value(&cue) else { return None };
        let from = pts_ns.unwrap_or_default();
        let known = vec![(from, length_ns.map(|length| from.saturating_add(length)), cue.known())];
        Some(Packet { pts_ns, origin: Origin::DjiSrt, checksum_ok: None, fields, known })
    }

    /// A payload of GPMF that is shown from `pts_ns`, for so long.
    #[must_use]
    pub fn gpmf(payload: &[u8], pts_ns: Option<u64>, length_ns: u64) -> Packet {
        let streams = gpmf::streams(payload).into_iter().map(|stream| {
            json!({
                "device": stream.device,
                "key": stream.key,
                "name": stream.name,
                "units": stream.units,
                "gps_fix": stream.fix,
                "gps_utc": stream.utc,
                "samples": stream.samples().collect::<Vec<_>>(),
            })
        });
        let fields = Map::from_iter([("streams".to_owned(), streams.collect())]);
        let from = pts_ns.unwrap_or_default();
        let known = gpmf::known(payload, length_ns).into_iter();
        let known = known.map(|(at, known)| (from.saturating_add(at), None, known)).collect();
        Packet { pts_ns, origin: Origin::Gpmf, checksum_ok: None, fields, known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{test_bytes, test_data};

    #[test]
    fn a_packet_whose_checksum_is_wrong_is_said_and_not_believed() {
        let Some(expected) = test_data("klv-vectors/mismms.expected.json") else { return };
        for (name, is_good) in
            [("DynamicOnlyMISMMSPacketData.bin", true), ("DynamicConstantMISMMSPacketData.bin", false)]
        {
            let bytes = test_bytes(&format!("klv-vectors/{name}")).expect("a file");
            let packets = Reader::default().klv(&bytes, Some(7));
            let [packet] = &packets[..] else { panic!("{name}: {} packets", packets.len()) };
            assert_eq!((packet.checksum_ok, packet.known.len()), (Some(is_good), usize::from(is_good)));
            assert!(packet.to_line().contains(&format!("\"checksum_ok\":{is_good}")), "{expected}");
        }
    }

    #[test]
    fn what_was_said_once_holds_for_the_packets_after_it() {
        let (Some(bytes), Some(expected)) =
            (test_bytes("klv-sample-stream/sample-stream.klv"), test_data("klv-sample-stream/vmti-targets.json"))
        else {
            return;
        };
        let packets = Reader::default().klv(&bytes, None);
        let lat = |packet: &Packet| packet.fields["vmti_local_set"]["targets"][0]["lat"].as_f64();
        let first = &expected["targets"][0];
        let number = usize::try_from(first["packet"].as_u64().expect("a packet")).expect("small");
        let found = lat(&packets[number]).expect("a target");
        assert!((found - first["lat_deg"].as_f64().expect("lat")).abs() < 1e-11 && packets.len() == 277, "{found}");
    }
}
