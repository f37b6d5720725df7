//! Sources of the feed: the vendor over HTTPS.
