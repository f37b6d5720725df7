//! Zips taken apart into their records and put together again, with whatever lies one wants in between.

/// Bytes of the records without what has a length of its own (APPNOTE 6.3.10, section 4.3).
const LOCAL_BYTES: usize = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: usize = 22;

/// A zip of less than 4 GiB, record by record.
#[derive(Debug, Clone)]
pub(super) struct Craft {
    pub(super) members: Vec<Member>,
    /// In front of everything; offsets count from behind it, as where somebody just put it there.
    pub(super) prefix: Vec<u8>,
    /// The same, and offsets take it in.
    pub(super) counted_prefix: Vec<u8>,
    pub(super) before_directory: Vec<u8>,
    pub(super) behind_directory: Vec<u8>,
    pub(super) comment: Vec<u8>,
    pub(super) suffix: Vec<u8>,
    /// Added to the number of members in the end record.
    pub(super) more_entries: i32,
    /// The number of this part of the zip in the end record.
    pub(super) disk: u16,
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    /// In front of the local header, and in no member.
    pub(super) gap: Vec<u8>,
    pub(super) local: Header,
    pub(super) data: Vec<u8>,
    pub(super) descriptor: Vec<u8>,
    pub(super) central: Header,
    pub(super) made_by: u16,
    pub(super) attributes: u32,
    /// What the directory says instead of where the local header is.
    pub(super) offset: Option<u32>,
    /// Only in the directory: no local header and no data of its own.
    pub(super) is_ghost: bool,
}

/// What local and central headers have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) needed: u16,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) time_and_date: u32,
    pub(super) crc: u32,
    pub(super) compressed: u32,
    pub(super) length: u32,
    pub(super) name: Vec<u8>,
    pub(super) extra: Vec<u8>,
}

impl Member {
    /// Changes both headers alike.
    pub(super) fn both(mut self, change: impl Fn(&mut Header)) -> Self {
        change(&mut self.local);
        change(&mut self.central);
        self
    }

    /// As it stands in front of the directory.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04".to_vec();
        self.local.write(&mut bytes);
        for part in [&self.local.name, &self.local.extra, &self.data, &self.descriptor] {
            bytes.extend(part);
        }
        bytes
    }

    /// A member of this name, all else being equal.
    pub(super) fn named(self, name: impl Into<Vec<u8>>) -> Self {
        let name = name.into();
        self.both(|header| header.name.clone_from(&name))
    }

    /// A member with other content; `packed` is what stands in the zip.
    pub(super) fn holding(mut self, method: u16, content: &[u8], packed: Vec<u8>) -> Self {
        let (length, compressed) = (content.len() as u32, packed.len() as u32);
        self.data = packed;
        self.both(|header| {
            header.method = method;
            header.needed = if method == 0 { 10 } else { 20 };
            (header.crc, header.length, header.compressed) = (crc(content), length, compressed);
        })
    }
}

pub(super) fn crc(content: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(content);
    crc.sum()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

impl Craft {
    /// Takes a zip of ours apart.
    ///
    /// # Panics
    /// It is none, or one with a comment, descriptors or ZIP64 records.
    pub(super) fn of(zip: &[u8]) -> Self {
        let end = &zip[zip.len() - END_BYTES..];
        assert!(end.starts_with(b"PK\x05\x06"), "a zip of ours, whole");
        let mut at = u32_at(end, 16) as usize;
        let members = (0..u16_at(end, 10)).map(|_| {
            let fixed = &zip[at..];
            let central = Header::read(fixed, 6, 28, CENTRAL_BYTES);
            let local_at = u32_at(fixed, 42) as usize;
            let local = Header::read(&zip[local_at..], 4, 26, LOCAL_BYTES);
            let start = local_at + LOCAL_BYTES + local.name.len() + local.extra.len();
            let (made_by, attributes) = (u16_at(fixed, 4), u32_at(fixed, 38));
            at += CENTRAL_BYTES + central.name.len() + central.extra.len();
            Member {
                gap: Vec::new(),
                data: zip[start..start + central.compressed as usize].to_vec(),
                local,
                descriptor: Vec::new(),
                central,
                made_by,
                attributes,
                offset: None,
                is_ghost: false,
            }
        });
        Self {
            members: members.collect(),
            prefix: Vec::new(),
            counted_prefix: Vec::new(),
            before_directory: Vec::new(),
            behind_directory: Vec::new(),
            comment: Vec::new(),
            suffix: Vec::new(),
            more_entries: 0,
            disk: 0,
        }
    }

    /// Puts it together.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut zip = self.counted_prefix.clone();
        let mut directory = Vec::new();
        for member in &self.members {
            zip.extend(&member.gap);
            let offset = member.offset.unwrap_or(zip.len() as u32);
            if !member.is_ghost {
                zip.extend(member.bytes());
            }
            directory.extend(b"PK\x01\x02");
            directory.extend(member.made_by.to_le_bytes());
            member.central.write(&mut directory);
            // Of the comment, of the disk, of attributes that nobody uses.
            directory.extend([0; 6]);
            directory.extend(member.attributes.to_le_bytes());
            directory.extend(offset.to_le_bytes());
            directory.extend([&member.central.name[..], &member.central.extra].concat());
        }
        zip.extend(&self.before_directory);
        let offset = zip.len() as u32;
        zip.extend(&directory);
        zip.extend(&self.behind_directory);
        let entries = (self.members.len() as i32 + self.more_entries) as u16;
        zip.extend(end(self.disk, entries, directory.len() as u32, offset, self.comment.len() as u16));
        zip.extend(&self.comment);
        zip.extend(&self.suffix);
        [&self.prefix[..], &zip].concat()
    }
}

/// An end record, without its comment.
pub(super) fn end(disk: u16, entries: u16, directory: u32, offset: u32, comment: u16) -> Vec<u8> {
    let mut end = b"PK\x05\x06".to_vec();
    for number in [disk, disk, entries, entries] {
        end.extend(number.to_le_bytes());
    }
    end.extend(directory.to_le_bytes());
    end.extend(offset.to_le_bytes());
    end.extend(comment.to_le_bytes());
    end
}

impl Header {
    /// `at` is where "version needed" stands, `lengths` where the name's length does, `fixed` where the name itself does.
    fn read(bytes: &[u8], at: usize, lengths: usize, fixed: usize) -> Self {
        let (name, extra) = (usize::from(u16_at(bytes, lengths)), usize::from(u16_at(bytes, lengths + 2)));
        Self {
            needed: u16_at(bytes, at),
            flags: u16_at(bytes, at + 2),
            method: u16_at(bytes, at + 4),
            time_and_date: u32_at(bytes, at + 6),
            crc: u32_at(bytes, at + 10),
            compressed: u32_at(bytes, at + 14),
            length: u32_at(bytes, at + 18),
            name: bytes[fixed..fixed + name].to_vec(),
            extra: bytes[fixed + name..fixed + name + extra].to_vec(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        for number in [self.needed, self.flags, self.method] {
            out.extend(number.to_le_bytes());
        }
        for number in [self.time_and_date, self.crc, self.compressed, self.length] {
            out.extend(number.to_le_bytes());
        }
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend((self.extra.len() as u16).to_le_bytes());
    }
}
