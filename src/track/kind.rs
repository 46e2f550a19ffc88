//! Which trackers there are.

/// Which tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Ours: by time, position, size, looks.
    #[default]
    Timed,
    /// `ByteTrack`.
    Byte,
    /// BoT-SORT.
    BotSort,
    /// OC-SORT.
    OcSort,
    /// SORT.
    Sort,
}

impl Kind {
    /// All, with the names that users give.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("timed", Self::Timed),
        ("byte", Self::Byte),
        ("botsort", Self::BotSort),
        ("ocsort", Self::OcSort),
        ("sort", Self::Sort),
    ];

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Whether it takes the camera's motion into account.
    pub(super) fn knows_the_camera(self) -> bool {
        matches!(self, Self::Timed | Self::BotSort)
    }
}
