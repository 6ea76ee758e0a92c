//! Where a report goes.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

/// Where a report goes.
#[derive(Debug)]
pub(crate) enum Output {
    /// The standard output.
    Stdout,
    /// A file; what stood in it is kept until there is something to write.
    File(File, PathBuf),
}

impl Output {
    /// Opens a file, if one is given.
    pub(crate) fn open(path: Option<PathBuf>) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        match OpenOptions::new().write(true).create(true).truncate(false).open(&path) {
            Ok(file) => Ok(Self::File(file, path)),
            Err(error) => Err(about(&path, &error)),
        }
    }

    pub(crate) fn write(self, text: &str) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
                    // Whoever reads has read enough, as `head` has.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                    done => done,
                }
            }
            Self::File(mut file, path) => {
                let emptied = match file.metadata()?.is_file() {
                    true => file.set_len(0),
                    false => Ok(()),
                };
                emptied
                    .and_then(|()| file.write_all(text.as_bytes()))
                    .map_err(|error| about(&path, &error))
            }
        }
    }
}

/// The error, with the path that it is about.
pub(crate) fn about(path: &std::path::Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
