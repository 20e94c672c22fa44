//! Opening what must be a regular file.
//!
//! Between a listing and the opening a name can come to stand for something else. Opening a FIFO to read waits until
//! somebody writes to it, and opening a terminal may make it this process's own, so a file is opened without waiting and
//! then asked what it is: no name is looked at twice.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens the regular file at `path` to read it, following links. Anything else under the name is an error that names it,
/// and is not waited for.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let found = file.metadata()?;
    if found.is_file() {
        return Ok(file);
    }
    let refusal = format!("it is {}, not a regular file", describe(&found));
    Err(io::Error::new(io::ErrorKind::InvalidInput, refusal))
}

/// What kind of thing `found` is, for a person.
pub(super) fn describe(found: &Metadata) -> &'static str {
    let kind = found.file_type();
    if kind.is_dir() {
        super::store::A_DIRECTORY
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "a regular file"
    }
}
