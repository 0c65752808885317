//! What is wrong with a plan: place, finding, expectation and mend, all of them at once.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the user named it; empty when the problem is a flag's.
    pub file: PathBuf,
    /// Line, from 1; 0 when the problem has no place in the text (a file that cannot be read, a flag).
    pub line: usize,
    /// Column in characters, from 1; 0 when the problem has no place in the text.
    pub column: usize,
    /// The key, from the root: `phases.heavy.rate`, `scenarios[0].guest`; empty for the file itself.
    pub key: String,
    /// What was found and what was expected.
    pub message: String,
    /// What the user can do about it; empty when the message says it.
    pub mend: String,
    /// The line as it stands in the file.
    pub text: String,
    /// Characters of it that the problem is about, from `column`; at least 1 where there is a place.
    pub width: usize,
}

impl Problem {
    /// A problem without a place in the text.
    pub fn elsewhere(
        file: impl Into<PathBuf>,
        key: impl Into<String>,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            key: key.into(),
            message: message.into(),
            mend: mend.into(),
            text: String::new(),
            width: 0,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}", self.file.display())?;
            if self.line > 0 {
                write!(f, ":{}:{}", self.line, self.column)?;
            }
            f.write_str(": ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        let margin = " ".repeat(self.line.to_string().len());
        if self.line > 0 {
            let lead: String =
                self.text.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            write!(f, "\n {margin} |\n {} | {}", self.line, self.text)?;
            write!(f, "\n {margin} | {lead}{}", "^".repeat(self.width.max(1)))?;
        }
        if !self.mend.is_empty() {
            write!(f, "\n {margin} = {}", self.mend)?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a plan, in the order of the text. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
