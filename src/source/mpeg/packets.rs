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

/// A program map.
pub(super) struct ProgramMap<'a> {
    /// Where the program's clock is.
    pub clock: u16,
    /// What it says before its streams; none where that is cut short.
    pub head: &'a [u8],
    pub streams: Vec<Stream<'a>>,
    /// It does not go on in another packet.
    pub is_whole: bool,
}

/// A stream that a program map names.
pub(super) struct Stream<'a> {
    pub kind: u8,
    pub pid: u16,
    /// None where they are cut short.
    pub descriptors: &'a [u8],
}

/// What a program map says; of one that goes on in another packet, the streams named in this one.
pub(super) fn program_map(table: &[u8]) -> Option<ProgramMap<'_>> {
    let number = |at: usize| Some(u16::from_be_bytes([*table.get(at)?, *table.get(at + 1)?]));
    let (length, about) = (usize::from(number(1)? & 0xFFF), usize::from(number(10)? & 0xFFF));
    let whole = (3 + length).checked_sub(4)?;
    let (end, begin) = (whole.min(table.len()), 12 + about);
    let (mut at, mut streams) = (begin, Vec::new());
    while at + 5 <= end {
        let next = at + 5 + usize::from(number(at + 3)? & 0xFFF);
        let descriptors = table.get(at + 5..next).unwrap_or_default();
        streams.push(Stream { kind: table[at], pid: number(at + 1)? & 0x1FFF, descriptors });
        at = next;
    }
    let head = table.get(..begin).unwrap_or_default();
    let map = ProgramMap { clock: number(8)? & 0x1FFF, head, streams, is_whole: at <= whole && whole <= table.len() };
    (table[0] == 2).then_some(map)
}
