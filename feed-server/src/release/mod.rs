//! Releases: numbering them, and deciding when one is made.
