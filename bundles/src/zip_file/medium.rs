//! Reading from where the zip lies, with errors that say which of the two failed: the medium, or the zip.

use std::io::{self, Read, Seek, SeekFrom};

use super::ZipFileError;

/// Reads exactly what `buffer` takes, at an offset in bytes.
pub(super) fn read_at<F: Read + Seek>(file: &mut F, offset: u64, buffer: &mut [u8]) -> Result<(), ZipFileError> {
    file.seek(SeekFrom::Start(offset)).map_err(ZipFileError::medium)?;
    read_exact(file, buffer)
}

/// Reads exactly what `buffer` takes. All lengths are held to the file's before, so an end on the way is a file that
/// shrinks.
pub(super) fn read_exact(file: &mut impl Read, buffer: &mut [u8]) -> Result<(), ZipFileError> {
    file.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ZipFileError::Truncated,
        _ => ZipFileError::medium(error),
    })
}

/// The file underneath decoders, which hand on its errors as they are: marked, so that they are known again.
#[derive(Debug)]
pub(super) struct Medium<'a, F>(pub(super) &'a mut F);

impl<F: Read> Read for Medium<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(|error| ZipFileError::medium(error).into()),
            }
        }
    }
}
