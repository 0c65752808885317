//! Writing to the terminal. A reader who has gone away (`| head`) is no error.

use std::io::Write as _;

/// Prints to standard output.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Prints a line to standard output.
pub(crate) fn line(text: &str) {
    print(&format!("{text}\n"));
}

/// Prints a line to standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints an error.
pub(crate) fn error(text: &str) {
    note(&format!("error: {text}"));
}
