//! How a message lies in a segment: `length u32, CRC-32 u32, position u64`, then topic, run and key, each with its length
//! (`u16`), then the payload; little-endian. The checksum covers everything behind it.

use crate::publish::message::Message;

/// Bytes before a record's body.
pub(super) const HEAD: usize = 16;
/// No body is longer: what says so is damaged. A frame with 1000 tracked detections takes 250 kB.
const LONGEST: usize = 64 << 20;

/// A record's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of its body.
    pub length: usize,
    checksum: u32,
    /// Its number in the spool.
    pub position: u64,
}

impl Head {
    /// What stands there, where it can be a head.
    pub fn read(bytes: &[u8; HEAD]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (checksum, rest) = rest.split_first_chunk()?;
        let (position, _) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= LONGEST)?;
        Some(Self { length, checksum: u32::from_le_bytes(*checksum), position: u64::from_le_bytes(*position) })
    }

    /// Whether this body belongs to it.
    pub fn fits(&self, body: &[u8]) -> bool {
        checksum(self.position, body) == self.checksum
    }
}

fn checksum(position: u64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&position.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// A message as it is written; nothing where a part of it is too long.
pub(super) fn encode(position: u64, message: &Message) -> Option<Vec<u8>> {
    let texts = [&message.topic, &message.run, &message.key];
    let length = texts.iter().map(|text| 2 + text.len()).sum::<usize>() + message.payload.len();
    let mut record = vec![0; HEAD];
    record.reserve(length);
    for text in texts {
        record.extend(u16::try_from(text.len()).ok()?.to_le_bytes());
        record.extend(text.as_bytes());
    }
    record.extend(&message.payload);
    let length = u32::try_from(length).ok().filter(|_| length <= LONGEST)?;
    let checksum = checksum(position, &record[HEAD..]);
    record[..4].copy_from_slice(&length.to_le_bytes());
    record[4..8].copy_from_slice(&checksum.to_le_bytes());
    record[8..HEAD].copy_from_slice(&position.to_le_bytes());
    Some(record)
}

/// The message in a body; nothing where it is damaged.
pub(super) fn decode(body: &[u8]) -> Option<Message> {
    let mut rest = body;
    let mut text = || {
        let (length, after) = rest.split_first_chunk()?;
        let (text, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        rest = after;
        Some(std::str::from_utf8(text).ok()?.to_owned())
    };
    let (topic, run, key) = (text()?, text()?, text()?);
    Some(Message { topic, run, key, payload: rest.to_vec() })
}
