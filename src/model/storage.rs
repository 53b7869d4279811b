//! How soon what changes is written to disk.

/// What a power cut may cost, against what the disk has to bear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// What matters is on disk before it is acknowledged, everything else within seconds.
    #[default]
    Durable,
    /// What changes is written together, within a minute: for cards that wear out.
    Coalesced,
    /// Everything is in memory; the disk gets it at a clean stop and before a backup.
    Volatile,
}

impl Storage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Durable, Self::Coalesced, Self::Volatile];

    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Coalesced => "coalesced",
            Self::Volatile => "volatile",
        }
    }

    /// From the word of the configuration.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(word))
    }
}
