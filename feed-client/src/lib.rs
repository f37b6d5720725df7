//! feed-client
