//! feed-server
