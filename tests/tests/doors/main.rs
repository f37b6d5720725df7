//! What a server on a network must endure: certificates that are renewed while it runs, and clients that are slow, greedy or
//! silent on purpose. `SECURITY.md` says what the doors hold.

mod certificate;
mod floods;
mod headers;
mod limits;
mod line;
mod slow;
mod testssl;
