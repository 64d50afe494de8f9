//! Attribute tags (PS3.5 7.1, PS3.6).

use core::fmt;

/// A data element tag: group, element. Ordered as in a data set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u16, pub u16);

impl Tag {
    /// (0002,0010)
    pub const TRANSFER_SYNTAX_UID: Self = Self(0x0002, 0x0010);
    /// (0008,0016)
    pub const SOP_CLASS_UID: Self = Self(0x0008, 0x0016);
    /// (0008,0018)
    pub const SOP_INSTANCE_UID: Self = Self(0x0008, 0x0018);
    /// (0008,0052)
    pub const QUERY_RETRIEVE_LEVEL: Self = Self(0x0008, 0x0052);
    /// (0010,0020)
    pub const PATIENT_ID: Self = Self(0x0010, 0x0020);
    /// (0020,000D)
    pub const STUDY_INSTANCE_UID: Self = Self(0x0020, 0x000d);
    /// (0020,000E)
    pub const SERIES_INSTANCE_UID: Self = Self(0x0020, 0x000e);
    /// (7FE0,0010)
    pub const PIXEL_DATA: Self = Self(0x7fe0, 0x0010);
    /// (FFFE,E000)
    pub const ITEM: Self = Self(0xfffe, 0xe000);
    /// (FFFE,E00D)
    pub const ITEM_DELIMITATION: Self = Self(0xfffe, 0xe00d);
    /// (FFFE,E0DD)
    pub const SEQUENCE_DELIMITATION: Self = Self(0xfffe, 0xe0dd);

    /// Whether the element identifies the instance, its study or series, or its encoding. If such an element occurs
    /// twice with different values, two readers can take the same bytes for different instances.
    #[must_use]
    pub const fn is_identity(self) -> bool {
        matches!(
            self,
            Self::TRANSFER_SYNTAX_UID
                | Self::SOP_CLASS_UID
                | Self::SOP_INSTANCE_UID
                | Self::STUDY_INSTANCE_UID
                | Self::SERIES_INSTANCE_UID
        )
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:04X},{:04X})", self.0, self.1)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag{self}")
    }
}
