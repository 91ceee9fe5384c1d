//! How errors are told: `error: ...` on stderr, a hint where one is known, and the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::output::plain;

/// Arguments that contradict each other in a way that the parser can't see: exit code 2.
pub(crate) fn usage(message: impl std::fmt::Display) -> anyhow::Error {
    clap::Error::raw(ErrorKind::ArgumentConflict, format!("{message}\n")).into()
}

/// Tells an error; returns the exit code.
pub(crate) fn tell(error: &anyhow::Error) -> ExitCode {
    // Where stderr is closed too, nobody listens.
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        let _ = usage.print();
        return ExitCode::from(2);
    }
    if error.chain().any(is_broken_pipe) {
        // The reader (`head`, say) has seen enough.
        return ExitCode::SUCCESS;
    }
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "error: {}", plain(&chain(error)));
    if let Some(hint) = hint(error) {
        let _ = writeln!(stderr, "hint: {hint}");
    }
    ExitCode::FAILURE
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The error and its causes.
fn chain(error: &anyhow::Error) -> String {
    // What files and folders say is named by the library; what is left is the writing of results.
    let own = error.chain().next().is_some_and(|error| error.is::<io::Error>());
    format!("{}{error:#}", if own { "standard output: " } else { "" })
}

/// What to do about an error.
fn hint(error: &anyhow::Error) -> Option<&'static str> {
    let error = error.chain().find_map(|cause| cause.downcast_ref::<svertka::Error>())?;
    match error {
        svertka::Error::Argument { subject, argument, .. } => match (subject.as_str(), argument.as_str()) {
            (_, "data") => Some(
                "one folder of pictures for each class: DATA/cat/1.jpg, DATA/dog/1.jpg, or DATA/train/cat/1.jpg",
            ),
            (_, "run") => Some(
                "--fresh begins anew in this folder (its model.onnx stays until the new one is done), --out takes another",
            ),
            ("train", "network") => Some("a model given by --from must have been made for as many classes"),
            _ => None,
        },
        svertka::Error::Io { reason, .. } => match reason.kind() {
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory => Some("train writes to the folder that --out names"),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let inner = || io::Error::other("no space");
        let error = anyhow::Error::new(svertka::Error::io("a.onnx")(inner())).context("the model");
        assert_eq!(chain(&error), "the model: a.onnx: no space");
        assert_eq!(chain(&anyhow::Error::new(inner()).context("a.html")), "a.html: no space");
        assert_eq!(chain(&inner().into()), "standard output: no space");
    }
}
