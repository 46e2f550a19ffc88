//! Packets of an MPEG transport stream (ISO 13818-1), and the sections in them.

/// A packet, with the 4 bytes that Blu-ray puts before each, and with 16 of error correction after it.
pub(super) const SIZES: [usize; 3] = [188, 192, 204];
pub(super) const PACKET: usize = 188;
pub(super) const SYNC: u8 = 0x47;
/// Bytes of the adaptation field.
pub(super) fn field_of(packet: &[u8]) -> usize {
    if packet[3] & 0x20 != 0 { 1 + usize::from(packet[4]) } else { 0 }
}

/// The payload of a packet.
pub(super) fn payload(packet: &[u8]) -> Option<&[u8]> {
    packet.get(4 + field_of(packet)..PACKET).filter(|_| packet[3] & 0x10 != 0)
}

/// The payload of a packet in which a section or a PES packet begins.
pub(super) fn starting_payload(packet: &[u8]) -> Option<&[u8]> {
    payload(packet).filter(|_| packet[1] & 0x40 != 0)
}

/// The section that begins in a payload, as far as the payload goes.
pub(super) fn section(payload: &[u8]) -> Option<&[u8]> {
    payload.get(1 + usize::from(*payload.first()?)..)
}

/// Where the maps of the programs are, by the program association table.
pub(super) fn program_maps(table: &[u8]) -> Option<Vec<u16>> {
    let length = usize::from(u16::from_be_bytes([table.get(1)? & 0x0F, *table.get(2)?]));
    let programs = table.get(8..(3 + length).checked_sub(4)?.min(table.len())).filter(|_| table[0] == 0)?;
    let programs = programs.chunks_exact(4).filter(|program| program[..2] != [0, 0]);
    Some(programs.map(|program| u16::from_be_bytes([program[2] & 0x1F, program[3]])).collect())
}
