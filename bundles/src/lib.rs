//! The vocabulary and the formats of Posture Feed: components, versions, digests, releases, and everything that is
//! read from or written to bytes. Knows nothing of networks, async, clocks or stores: time and bytes are arguments.

pub mod archive;
pub mod bundle;
pub mod capture;
pub mod component;
pub mod diagnosis;
pub mod digest;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod increment;
pub mod index;
pub mod inspection;
pub mod limits;
mod member_name;
pub mod name;
pub mod offline_zip;
pub mod probe;
pub mod reason;
pub mod release;
pub mod report;
pub mod serial;
pub mod sheet;
pub mod signed;
pub mod support;
pub mod update_information;
pub mod version;
pub mod zip_file;

pub use component::Component;
pub use digest::{Checksum, Digest, DigestWriter};
pub use limits::Limits;
pub use name::{FileName, MemberPath, TargetName};
pub use reason::{Reason, Reasoned};
pub use release::Manifest;
pub use serial::Serial;
pub use version::Version;
