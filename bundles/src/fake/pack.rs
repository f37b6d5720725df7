//! Archives whose bytes depend on nothing but their content.

use std::io::{Read, Write};

use flate2::{Compression, GzBuilder};

use super::rng::Numbers;

/// Packs members, which may name folders, and `padding` bytes that do not compress.
pub(super) fn tar_gz(members: &[(String, Vec<u8>)], padding: u64) -> Vec<u8> {
    // Padding does not get smaller whatever the level, so it should not take long either.
    let level = if padding > 0 { Compression::fast() } else { Compression::new(6) };
    let gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), level);
    let mut tar = tar::Builder::new(gzip);
    for (path, bytes) in members {
        append(&mut tar, path, bytes.len() as u64, bytes.as_slice());
    }
    if padding > 0 {
        append(&mut tar, "padding.bin", padding, Noise::new().take(padding));
    }
    let gzip = tar.into_inner().expect("writing to memory does not fail");
    gzip.finish().expect("writing to memory does not fail")
}

fn append(tar: &mut tar::Builder<impl Write>, path: &str, length: u64, bytes: impl Read) {
    let mut header = tar::Header::new_ustar();
    header.set_size(length);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, path, bytes).expect("short paths, writing to memory");
}

/// Bytes that do not compress, made as they are read.
struct Noise {
    numbers: Numbers,
    word: [u8; 8],
    left: usize,
}

impl Noise {
    fn new() -> Self {
        Self { numbers: Numbers::new(0), word: [0; 8], left: 0 }
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in buffer.iter_mut() {
            if self.left == 0 {
                self.word = self.numbers.next().to_le_bytes();
                self.left = 8;
            }
            self.left -= 1;
            *byte = self.word[self.left];
        }
        Ok(buffer.len())
    }
}
