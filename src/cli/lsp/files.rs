//! Turns addresses of the protocol into paths and back, and finds the project's files.

use lsp_types::Uri;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Files that are looked into for their names, and directories within directories.
const MOST_FILES: usize = 300;
const MOST_DEPTH: usize = 6;

/// `None` for what is not on disk (`untitled:Untitled-1`).
pub fn path(uri: &Uri) -> Option<PathBuf> {
    let is_file = uri.scheme().is_some_and(|scheme| scheme.as_str().eq_ignore_ascii_case("file"));
    let decoded = uri.path().as_estr().decode().into_string().ok()?;
    // `/C:/folder` is `C:/folder`.
    let drive = decoded.as_bytes().get(2) == Some(&b':') && decoded.as_bytes()[1].is_ascii_alphabetic();
    let plain = if drive { &decoded[1..] } else { &decoded };
    (is_file && !decoded.is_empty()).then(|| PathBuf::from(plain))
}

/// The address of an absolute path.
pub fn uri(path: &Path) -> Option<Uri> {
    let text = path.to_str()?.replace('\\', "/");
    let mut address = String::from(if text.starts_with('/') { "file://" } else { "file:///" });
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' | b':' => {
                address.push(char::from(byte))
            }
            other => write!(address, "%{other:02X}").expect("writing to a string"),
        }
    }
    Uri::from_str(&address).ok()
}

/// `.agx` files below a directory, in order; not those that are hidden or built.
pub fn below(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(root, 0, &mut found);
    found
}

fn walk(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if found.len() == MOST_FILES {
            return;
        }
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let skipped = name.starts_with('.') || name == "target" || name == "node_modules" || path.is_symlink();
        if !skipped && path.is_dir() && depth < MOST_DEPTH {
            walk(&path, depth + 1, found);
        } else if !skipped && path.extension().is_some_and(|extension| extension == "agx") && path.is_file() {
            found.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_back_from_its_address() {
        for text in ["/home/ü b/a%20.agx", "/a/🎓#?.agx"] {
            let address = uri(Path::new(text)).expect("it is an address");
            assert_eq!(path(&address), Some(PathBuf::from(text)), "{}", address.as_str());
        }
        let windows = Uri::from_str("file:///C:/folder/a.agx").expect("it is an address");
        assert_eq!(path(&windows), Some(PathBuf::from("C:/folder/a.agx")));
        assert_eq!(path(&Uri::from_str("untitled:Untitled-1").expect("it is an address")), None);
    }
}
