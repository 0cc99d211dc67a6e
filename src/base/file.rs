//! Turns a path into the bytes of a regular file, or into words why not.
//!
//! # Invariants
//! Nothing but a regular file is opened: a pipe waits for ever, a device never ends. No more is read than is asked for.

use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind, Read};
use std::path::Path;

/// # Errors
/// What the system says; that it is not a regular file ([`ErrorKind::InvalidInput`]).
pub fn open(path: &Path) -> Result<File, Error> {
    // Asked before it is opened: opening a pipe waits for its writer.
    refuse_others(&std::fs::metadata(path)?)?;
    let file = File::open(path)?;
    refuse_others(&file.metadata()?)?;
    Ok(file)
}

fn refuse_others(found: &Metadata) -> Result<(), Error> {
    if found.is_file() { Ok(()) } else { Err(Error::new(ErrorKind::InvalidInput, "is not a regular file")) }
}

/// The bytes of a file that holds at most `most`.
///
/// # Errors
/// As [`open`]; a larger file ([`ErrorKind::FileTooLarge`]).
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    let file = open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::new();
    if size <= most {
        // All at once: a vector that grows holds a large file twice. A file may say that it is larger than there is memory.
        bytes.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX)).map_err(Error::other)?;
        file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    if size > most || bytes.len() as u64 > most {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("is larger than {most} bytes")));
    }
    Ok(bytes)
}

/// As [`read`], of text.
///
/// # Errors
/// As [`read`]; bytes that are no UTF-8 ([`ErrorKind::InvalidData`]).
pub fn read_text(path: &Path, most: u64) -> Result<String, Error> {
    String::from_utf8(read(path, most)?).map_err(|_| Error::new(ErrorKind::InvalidData, "is not UTF-8 text"))
}

/// What the name of an unfinished file begins with; a killed process may leave some.
pub const TEMPORARY: &str = ".tmp-";

/// A file to be renamed into its place in the same directory, so that whoever reads there finds all of it or the one before.
/// A temporary file is private unless it is told otherwise; this one others may read as the umask says.
///
/// # Errors
/// A directory that is not there or cannot be written.
pub fn temporary(directory: &Path) -> Result<tempfile::NamedTempFile, Error> {
    let here = Path::new(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(if directory.as_os_str().is_empty() { here } else { directory })
}

/// Removes whatever is there: a file, a link, a directory with all in it. Nothing there is as well.
///
/// # Errors
/// What the system says.
pub fn remove(path: &Path) -> Result<(), Error> {
    let is_directory = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let removed = if is_directory { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The system's words without its error number, to stand within a sentence.
pub fn reason(problem: &Error) -> String {
    let text = problem.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        assert_eq!(read(&path, 3).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read(directory.path(), 9).unwrap_err().to_string(), "is not a regular file");
        std::fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_text(&path, 9).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(reason(&read(&directory.path().join("b"), 9).unwrap_err()), "no such file or directory");
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            assert_eq!(read(path, 9).unwrap_err().kind(), ErrorKind::InvalidInput, "{}", path.display());
        }
    }
}
