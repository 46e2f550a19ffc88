//! Where in a text something stands.

use serde_json::value::RawValue;

/// Line numbers of a text, from 1.
pub(in crate::validate) struct Lines<'a> {
    text: &'a str,
    ends: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(in crate::validate) fn of(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(offset, _)| offset).collect();
        Self { text, ends }
    }

    /// The line of a JSON value that was borrowed from the text.
    pub(in crate::validate) fn line(&self, value: &RawValue) -> u32 {
        let offset = value.get().as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        u32::try_from(self.ends.partition_point(|end| *end < offset) + 1).unwrap_or(u32::MAX)
    }
}

/// As much of a field as a message can carry.
pub(super) fn short(field: &str) -> String {
    field.trim().chars().take(40).collect()
}
