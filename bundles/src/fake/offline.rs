//! The vendor's own zip, as other zippers write it: everything deflated, sizes behind the content, times that are not ours.

use std::io::Write as _;

use url::Url;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::Feed;

/// What a vendor's zip is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZipShape {
    /// The one folder that everything lies in; flat without it.
    pub folder: Option<String>,
    /// What the index is called; there is none without it.
    pub index: Option<String>,
    /// What the zip holds beside the feed: paths, below the folder, and contents.
    pub more: Vec<(String, Vec<u8>)>,
}

impl Default for ZipShape {
    /// In a folder, with its index, and with client provisioning that is no posture content.
    fn default() -> Self {
        let package = b"MSI that is none".repeat(64);
        Self {
            folder: Some("posture-offline".to_owned()),
            index: Some("posture-update.xml".to_owned()),
            more: vec![
                ("provisioning/cisco-secure-client-win-5.1-isecompliance-webdeploy-k9.msi".to_owned(), package),
                ("README.txt".to_owned(), b"Import this under Posture Updates, Offline.\n".to_vec()),
            ],
        }
    }
}

impl ZipShape {
    /// Nothing but the feed, at the top.
    #[must_use]
    pub fn flat() -> Self {
        Self { folder: None, more: Vec::new(), ..Self::default() }
    }

    /// The same without an index.
    #[must_use]
    pub fn without_index(self) -> Self {
        Self { index: None, ..self }
    }

    /// The same with one file more.
    #[must_use]
    pub fn with(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.more.push((path.to_owned(), content.into()));
        self
    }
}

impl Feed {
    /// The vendor's zip of this feed, its index as it stands at the URL `base`. The same feed and shape give the same bytes.
    #[must_use]
    pub fn offline_zip(&self, base: &Url, shape: &ZipShape) -> Vec<u8> {
        let index = shape.index.iter().map(|name| (name.clone(), self.index(base)));
        let archives = self.files.iter().map(|(name, bytes)| (name.to_string(), bytes.clone()));
        let members: Vec<_> = index.chain(archives).chain(shape.more.iter().cloned()).collect();
        written(shape.folder.as_deref(), &members).expect("a zip is written to memory")
    }
}

fn written(folder: Option<&str>, members: &[(String, Vec<u8>)]) -> zip::result::ZipResult<Vec<u8>> {
    let time = DateTime::from_date_and_time(2026, 9, 1, 12, 34, 56).unwrap_or(DateTime::DEFAULT);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).last_modified_time(time);
    // Into a stream: so the writer cannot go back, and sizes and checksums stand behind each member.
    let mut zip = ZipWriter::new_stream(Vec::new());
    if let Some(folder) = folder {
        zip.add_directory(folder, options)?;
    }
    for (path, content) in members {
        let path = folder.map_or_else(|| path.clone(), |folder| format!("{folder}/{path}"));
        zip.start_file(path, options)?;
        zip.write_all(content)?;
    }
    zip.set_comment("posture updates")?;
    Ok(zip.finish()?.into_inner())
}
