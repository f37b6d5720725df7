//! `CONNECT`, with an eye on the answer: HTTP libraries keep its status to themselves.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fetch::USER_AGENT;
use crate::proxy::Proxy;

/// The head of an answer to `CONNECT` has a few hundred bytes; whoever sends many times that is no proxy.
const MAX_HEAD: usize = 16 << 10;

/// The head of a proxy's answer.
pub(super) struct Answer(String);

/// Sends `CONNECT host:port`, and reads the head of the answer.
pub(super) async fn ask(stream: &mut TcpStream, proxy: &Proxy, host: &str) -> io::Result<Answer> {
    let mut request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\n").into_bytes();
    if let Some(authorization) = proxy.authorization() {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await?;
    let mut head = Vec::new();
    // Byte by byte: what follows the head is the server's, and TLS begins there.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer to CONNECT has no end"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(Answer(String::from_utf8_lossy(&head).into_owned()))
}

impl Answer {
    /// `None` where it is not HTTP/1.
    pub(super) fn status(&self) -> Option<u16> {
        let first = self.0.lines().next()?;
        first.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
    }

    /// The schemes of `Proxy-Authenticate`.
    pub(super) fn offered(&self) -> String {
        let schemes = self.0.lines().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let scheme = value.split_whitespace().next()?;
            name.eq_ignore_ascii_case("proxy-authenticate").then_some(scheme)
        });
        let schemes = schemes.collect::<Vec<_>>().join(", ");
        if schemes.is_empty() { "nothing".to_owned() } else { schemes }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_read_by_its_status_and_its_offers() {
        let status = |head: &str| Answer(head.to_owned()).status();
        assert_eq!(status("HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status("HTTP/1.0 407\r\n\r\n"), Some(407));
        assert_eq!(status("SSH-2.0-OpenSSH\r\n\r\n"), None);
        let head = "HTTP/1.1 407 X\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM\r\n\r\n";
        assert_eq!(Answer(head.to_owned()).offered(), "Negotiate, NTLM");
        assert_eq!(Answer("HTTP/1.1 407 X\r\n\r\n".to_owned()).offered(), "nothing");
    }

    proptest! {
        #[test]
        fn no_answer_panics(head in "(HTTP/1\\.)?\\PC{0,60}\r\n\\PC{0,40}") {
            let answer = Answer(head);
            let _ = (answer.status(), answer.offered());
        }
    }
}
