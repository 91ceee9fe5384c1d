//! The library's one error type.

use std::path::{Path, PathBuf};

use svertka_kernels::geometry::GeometryError;

/// What went wrong, where, what was expected and what was received: each message is whole, and has no source behind it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A wrong argument, shape or attribute of an operator, function, flag or file entry.
    #[error("{subject}: {argument}: expected {expected}, received {received}")]
    Argument {
        /// The operator (with the node's name where there is one), function or setting.
        subject: String,
        /// Which argument of it.
        argument: String,
        /// What it needs.
        expected: String,
        /// What it got.
        received: String,
    },
    /// Sizes, padding, stride or dilation without meaning.
    #[error("{subject}: {reason}")]
    Geometry {
        /// The operator.
        subject: String,
        /// Which of its sizes, and why.
        reason: GeometryError,
    },
    /// Something valid that this library does not do.
    #[error("{subject}: {what} is not supported")]
    Unsupported {
        /// The operator or file.
        subject: String,
        /// What it asks for.
        what: String,
    },
    /// A file whose content is not what it should be.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What its reader says.
        reason: svertka_formats::Error,
    },
    /// The system refused to read or write.
    #[error("{}: {reason}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Argument`]; `expected` and `received` are shown as they are.
    pub fn argument(
        subject: impl Into<String>,
        argument: impl Into<String>,
        expected: impl ToString,
        received: impl ToString,
    ) -> Self {
        Self::Argument {
            subject: subject.into(),
            argument: argument.into(),
            expected: expected.to_string(),
            received: received.to_string(),
        }
    }

    /// An [`Error::Unsupported`].
    pub fn unsupported(subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Unsupported { subject: subject.into(), what: what.into() }
    }

    /// For `map_err` on file operations.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |reason| Self::Io { path, reason }
    }

    /// For `map_err` on what a reader of `svertka-formats` returned.
    pub fn format(path: impl AsRef<Path>) -> impl FnOnce(svertka_formats::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |reason| Self::Format { path, reason }
    }

    /// For `map_err` on geometry of operator `subject`.
    pub fn geometry(subject: impl Into<String>) -> impl FnOnce(GeometryError) -> Self {
        let subject = subject.into();
        move |reason| Self::Geometry { subject, reason }
    }

    /// Puts `context` (a node's name, say) before the subject.
    #[must_use]
    pub fn within(mut self, context: &str) -> Self {
        if let Self::Argument { subject, .. }
        | Self::Geometry { subject, .. }
        | Self::Unsupported { subject, .. } = &mut self
        {
            *subject = format!("{context}: {subject}");
        }
        self
    }
}
