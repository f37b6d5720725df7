//! The accidents that the lab upstream can have, by name.

use std::fmt;
use std::str::FromStr;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal at $target:ident;)*) => {
        /// One kind of accident. Its name is what `POST /fault?name=…` takes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Fault {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl Fault {
            /// Every accident, so that scenarios can go through all of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it strikes where nothing else is said.
            #[must_use]
            pub const fn usual_target(self) -> Target {
                match self { $(Self::$variant => Target::$target,)* }
            }

            /// What happens, in one line.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim(),)* }
            }
        }

        impl FromStr for Fault {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match name { $($name => Ok(Self::$variant),)* _ => Err(UnknownName { name: name.to_owned() }) }
            }
        }
    };
}

faults! {
    /// Nothing listens: connections are refused, open ones are cut.
    Away = "away" at Everything;
    /// Connections are accepted, and not one byte comes: no TLS handshake either, until the fault is taken away.
    Mute = "mute" at Everything;
    /// Requests are read, and answered when the fault is taken away.
    Unanswered = "unanswered" at Everything;
    /// 404 with a page.
    NotFound = "not-found" at Everything;
    /// 500 with a page.
    ServerError = "server-error" at Everything;
    /// 429 with Retry-After: 120.
    RateLimited = "rate-limited" at Everything;
    /// 200 with an HTML page: a login page, or a proxy's block page.
    HtmlPage = "html-page" at Everything;
    /// 302 to the same URL, for ever.
    RedirectLoop = "redirect-loop" at Everything;
    /// 302 to the same path over plain HTTP.
    RedirectToHttp = "redirect-to-http" at Everything;
    /// 302 to another host.
    RedirectElsewhere = "redirect-elsewhere" at Everything;
    /// Half of the announced bytes, then the connection is cut.
    Truncated = "truncated" at Archives;
    /// Half of the announced bytes, then a FIN, while it goes on listening.
    HalfClosed = "half-closed" at Archives;
    /// Half of the announced bytes, then a reset (RST), as firewalls send.
    Reset = "reset" at Archives;
    /// Half, then the connection is cut, once for each file: the rest is there for those who ask.
    CutOnce = "cut-once" at Archives;
    /// The same, but those who ask for the rest find another file by its tag.
    ChangedMeanwhile = "changed-meanwhile" at Archives;
    /// A tenth more announced than there is, and then the end of the connection.
    LengthTooLong = "length-too-long" at Archives;
    /// A tenth less announced than there is, and no more sent than that.
    LengthTooShort = "length-too-short" at Archives;
    /// No Content-Length: chunks until the last one.
    Chunked = "chunked" at Everything;
    /// Content-Encoding: gzip, though nobody asked for it.
    GzipEncoded = "gzip-encoded" at Index;
    /// One byte a second.
    Trickle = "trickle" at Archives;
    /// One byte altered: the index's checksum no longer fits.
    WrongChecksum = "wrong-checksum" at Archives;
    /// Half of the bytes, then silence until the fault is taken away.
    Stalled = "stalled" at Archives;
    /// 4 KiB every 100 ms.
    Slow = "slow" at Archives;
    /// A Content-Length of 10 GB, and zeros for as long as anyone reads.
    TenGigabytes = "ten-gigabytes" at Archives;
    /// Archives of 256 MiB of zeros, about 1000:1, that fit their checksums.
    GzipBomb = "gzip-bomb" at Archives;
    /// An index of 10,000 entries.
    TenThousandEntries = "ten-thousand-entries" at Index;
    /// An index with a reference to an entity that nothing defines.
    UndefinedEntity = "undefined-entity" at Index;
    /// An index with nested entities that expand to 3 GB.
    BillionLaughs = "billion-laughs" at Index;
    /// An index with a locator that climbs out of its directory.
    TraversalLocator = "traversal-locator" at Index;
    /// An index with a locator on another host.
    ForeignHost = "foreign-host" at Index;
}

/// What an accident strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// `posture-update.xml`.
    Index,
    /// Whatever else is served.
    Archives,
    /// `posture-offline.zip` alone.
    OfflineZip,
    /// All of it.
    Everything,
}

/// What a file is to an accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Struck {
    Index,
    OfflineZip,
    Other,
}

impl Target {
    /// Whether it takes in such a file.
    pub(super) fn covers(self, file: Struck) -> bool {
        match self {
            Self::Index => file == Struck::Index,
            Self::Archives => file != Struck::Index,
            Self::OfflineZip => file == Struck::OfflineZip,
            Self::Everything => true,
        }
    }
}

impl FromStr for Target {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "index" => Ok(Self::Index),
            "archives" => Ok(Self::Archives),
            "offline-zip" => Ok(Self::OfflineZip),
            "everything" => Ok(Self::Everything),
            _ => Err(UnknownName { name: name.to_owned() }),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Neither an accident nor a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no fault or target of the lab upstream; `lab-upstream --help` lists them")]
pub struct UnknownName {
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_by_its_name() {
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse(), Ok(*fault));
            assert!(!fault.description().is_empty());
        }
        assert!("no-such".parse::<Fault>().is_err());
    }
}
