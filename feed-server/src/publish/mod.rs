//! Publishing: keys, signed metadata, the static tree, zips. New files first, `timestamp.json` last.
