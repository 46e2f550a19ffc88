//! Key, length, value (SMPTE ST 336), as MISB's standards use it: sets of items, each with a tag, a length and bytes.
//!
//! Everything is read from slices, nothing is copied but texts; what is cut short or says it is longer than it is ends a set, and
//! what was whole before it stays.

pub mod ber;
pub mod camera;
pub mod carriage;
pub mod imapb;
mod linear;
pub mod security;
mod set;
pub mod uas;
pub mod vmti;

pub(in crate::telemetry) use set::text;
pub use set::{Checksum, CutShort, Items, Packet, Packets, UAS_KEY, VMTI_KEY, checksum, hex, sum};
pub use uas::Value;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_cut_short_ends_and_what_was_whole_stays() {
        let set = [5, 2, 0x71, 0xC2, 3, 9, b'M'];
        let items: Vec<_> = Items::new(&set).collect();
        assert_eq!(items, [Ok((5, &[0x71, 0xC2][..])), Err(CutShort)]);
        let whole = [&UAS_KEY[..], &[4, 5, 2, 0x71, 0xC2]].concat();
        let bytes = [&[0x06, 0x0E], &whole[..], &[1, 2, 3], &whole, &whole[..18]].concat();
        let mut packets = Packets::new(&bytes);
        let found: Vec<_> = packets.by_ref().map(|packet| packet.whole.to_vec()).collect();
        assert_eq!((found, packets.skipped()), (vec![whole.clone(), whole], 2 + 3 + 18));
    }

    proptest! {
        #[test]
        fn fuzz_no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let [high, low] = u16::try_from(bytes.len()).expect("few").to_be_bytes();
            let whole = [&UAS_KEY[..], &[0x82, high, low], &bytes].concat();
            for packet in Packets::new(&whole).chain(Packets::new(&bytes)) {
                let items = uas::decode(packet.value, &mut 0).count();
                prop_assert!(items <= packet.value.len());
                let sum = checksum(&packet);
                prop_assert!(sum.is_none() || packet.value.len() >= 4);
                prop_assert!(camera::known(packet.value).lat.is_none_or(|lat| lat.abs() <= 90.0));
            }
            prop_assert!(vmti::Vmti::decode(&bytes, &mut 0).targets.len() <= bytes.len());
            prop_assert!(security::Security::decode(&bytes) == security::Security::decode(&bytes));
        }
    }
}
