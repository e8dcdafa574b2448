//! Why a document is refused.

use std::fmt;

/// The documented classes of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// More than 16 KB. EC 0030-00000001.
    TooLarge,
    /// `Version` is not the string `"1"`. EC 0030-00000002.
    Version,
    /// A string of more than 4095 bytes. EC 0030-00000003.
    ItemTooLong,
    /// Anything else. EC 0030-00000005.
    Syntax,
}

impl ErrorKind {
    /// The documented fine-grained code.
    pub const fn ec(self) -> &'static str {
        match self {
            ErrorKind::TooLarge => "0030-00000001",
            ErrorKind::Version => "0030-00000002",
            ErrorKind::ItemTooLong => "0030-00000003",
            ErrorKind::Syntax => "0030-00000005",
        }
    }
}

/// A refused document: the class and a text for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The class.
    pub kind: ErrorKind,
    /// What is wrong and where.
    pub message: String,
}

impl PolicyError {
    pub(crate) fn syntax(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Syntax, message: message.into() }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.kind.ec())
    }
}

impl std::error::Error for PolicyError {}
