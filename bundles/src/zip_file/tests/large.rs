//! Zips past 4 GiB, of which only what is not zero is held.

use std::collections::BTreeMap;
use std::io::{self, SeekFrom, Write};

use super::*;
use crate::Digest;

/// Pages of a sparse file.
const PAGE: u64 = 64 << 10;

static ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

#[derive(Debug, Default)]
struct Sparse {
    pages: BTreeMap<u64, Vec<u8>>,
    length: u64,
    at: u64,
}

impl Sparse {
    /// Where the next byte stands, and how many of `wanted` are in the same page.
    fn place(&self, wanted: usize) -> (u64, usize, usize) {
        let within = self.at % PAGE;
        (self.at / PAGE, within as usize, wanted.min((PAGE - within) as usize))
    }
}

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (page, within, count) = self.place(bytes.len());
        // Compared as a whole, since byte by byte takes half a minute.
        if self.pages.contains_key(&page) || bytes[..count] != ZEROS[..count] {
            let page = self.pages.entry(page).or_insert_with(|| vec![0; PAGE as usize]);
            page[within..within + count].copy_from_slice(&bytes[..count]);
        }
        self.at += count as u64;
        self.length = self.length.max(self.at);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.at)).unwrap();
        let (page, within, count) = self.place(buffer.len().min(left));
        match self.pages.get(&page) {
            Some(page) => buffer[..count].copy_from_slice(&page[within..within + count]),
            None => buffer[..count].fill(0),
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => self.length.checked_add_signed(by).unwrap(),
            SeekFrom::Current(by) => self.at.checked_add_signed(by).unwrap(),
        };
        Ok(self.at)
    }
}

/// One member whose lengths need 64 bits, one whose offset does, and a directory whose offset does.
#[test]
fn what_needs_64_bits_is_read_as_it_is_written() {
    let long = offline_zip::ZIP64_FROM + (17 << 20);
    let member = |name: &str, length: u64| Member {
        name: MemberPath::parse(name).unwrap(),
        length,
        sha256: None,
        open: Box::new(move || Ok(Box::new(io::repeat(0).take(length)))),
    };
    let members = [member("a.gz", 10), member("long.gz", long), member("behind.gz", 20)];
    let written = offline_zip::write(Sparse::default(), &members, &mut |_| {}).unwrap();
    assert!(written.length > u64::from(u32::MAX));
    let mut written = Some(written);
    for rules in both() {
        let mut zip = ZipFile::open(written.take().unwrap(), &rules).unwrap();
        let lengths: Vec<_> = zip.entries().iter().map(|entry| (entry.name.as_str(), entry.length)).collect();
        assert_eq!(lengths, [("a.gz", 10), ("long.gz", long), ("behind.gz", 20)]);
        let mut content = Vec::new();
        zip.read(2).unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(Digest::of(&content), Digest::of(&[0; 20]));
        written = Some(zip.into_inner());
    }
    // A lie in any of its 64 bits is seen: of the end record, of the directory, of the local header.
    let written = written.unwrap();
    let zip64: Vec<u64> =
        written.pages.iter().flat_map(|(page, bytes)| lengths_in(bytes).map(move |at| page * PAGE + at)).collect();
    let (long_bytes, seen) = (long.to_le_bytes(), zip64.len());
    assert_eq!(seen, 4, "twice in each header");
    let mut file = written;
    for at in zip64 {
        for lie in [long + 1, long - 1, 5, u64::MAX] {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&lie.to_le_bytes()).unwrap();
            for rules in both() {
                assert!(ZipFile::open(&mut file, &rules).is_err(), "{lie} at {at}");
            }
        }
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&long_bytes).unwrap();
    }
    assert!(ZipFile::open(&mut file, &both()[0]).is_ok());
}

/// Where the long member's length stands.
fn lengths_in(page: &[u8]) -> impl Iterator<Item = u64> {
    let long = (offline_zip::ZIP64_FROM + (17 << 20)).to_le_bytes();
    let at: Vec<_> = page.windows(8).enumerate().filter(|(_, eight)| *eight == long).map(|(at, _)| at as u64).collect();
    at.into_iter()
}
