//! A tunnel through a proxy (RFC 9110, section 9.3.6).

use std::time::Instant;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, USER_AGENT, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::task::AbortHandle;

use super::tcp::Unreached;
use super::{Dialer, Io, Step, Target, tls};
use crate::upstream::UpstreamError;
use crate::upstream::error::innermost;
use crate::upstream::proxy::Proxy;

/// Of a proxy's answer: a handful, with some that it adds about itself.
const MAX_HEADERS: usize = 64;

/// Bytes of its head. Kerberos tickets in it have some 10 KB; all else is short.
const MAX_HEAD: usize = 32 << 10;

/// Ways to authenticate that are named: there are some fifteen in the world, and a message has room for few.
const MAX_SCHEMES: usize = 8;

/// How long the name of one may be: the longest registered one has 24 characters.
const MAX_SCHEME: usize = 32;

/// What the proxy said when it was asked before.
#[derive(Debug, Default)]
pub(super) enum Standing {
    /// Nothing, or it let us through.
    #[default]
    Open,
    /// 407, or 401: it is not asked again.
    Refused { status: StatusCode, offered: Vec<String> },
}

impl Dialer {
    /// Bytes to and from the host, through the proxy. One at a time, so that a wrong password is shown to it once, and
    /// after a 407 no more at all: accounts get locked. tinyproxy says 401, the status of an origin, to a wrong password.
    pub(super) async fn tunnel(&self, proxy: &Proxy, target: &Target) -> Result<Box<dyn Io>, UpstreamError> {
        let mut standing = self.standing.lock().await;
        let refused = |status: StatusCode, offered: &[String]| UpstreamError::ProxyAuth {
            proxy: proxy.authority(),
            origin: proxy.origin(),
            status,
            offered: offered.to_vec(),
            had_credentials: proxy.credentials().is_some(),
        };
        if let Standing::Refused { status, offered } = &*standing {
            return Err(refused(*status, offered));
        }
        let io = self.reach_proxy(proxy).await?;
        let started = Instant::now();
        let response = self.ask_for_tunnel(proxy, target, io).await?;
        let status = response.status();
        let challenge = match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Some(PROXY_AUTHENTICATE),
            StatusCode::UNAUTHORIZED => Some(WWW_AUTHENTICATE),
            _ => None,
        };
        if let Some(challenge) = challenge {
            let challenges = response.headers().get_all(challenge).iter();
            let offered = schemes(challenges.filter_map(|value| value.to_str().ok()));
            let error = refused(status, &offered);
            *standing = Standing::Refused { status, offered };
            self.watch.refused_by_proxy();
            return Err(error);
        }
        if !status.is_success() {
            let (origin, target) = (proxy.origin(), target.authority());
            return Err(UpstreamError::ProxyRefused { proxy: proxy.authority(), origin, status, target });
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| no_proxy(proxy, &error))?;
        let detail = format!("{status}, from {}", proxy.identity());
        self.saw(Step::Connect, target.authority(), detail, started.elapsed());
        Ok(Box::new(TokioIo::new(upgraded)))
    }

    /// No tunnel is asked for any more, as after a 407.
    pub(in crate::upstream) async fn ask_no_proxy(&self) {
        let mut standing = self.standing.lock().await;
        if matches!(*standing, Standing::Open) {
            *standing = Standing::Refused { status: StatusCode::PROXY_AUTHENTICATION_REQUIRED, offered: Vec::new() };
        }
    }

    /// TCP to the proxy, and TLS where its URL is https.
    async fn reach_proxy(&self, proxy: &Proxy) -> Result<Box<dyn Io>, UpstreamError> {
        let at = Target::new(&proxy.host, proxy.port);
        let (authority, origin) = (proxy.authority(), proxy.origin());
        let failed = |step, source| UpstreamError::ProxyConnect { proxy: authority.clone(), origin, step, source };
        let stream = self.open(&at).await.map_err(|unreached| match unreached {
            Unreached::Dns(source) => failed(Step::Dns, source),
            Unreached::Tcp(source) => failed(Step::Tcp, source.into()),
            Unreached::Silent => {
                failed(Step::Tcp, format!("no answer within {} s", self.timeouts.connect.as_secs_f64()).into())
            }
        })?;
        let Some(connector) = self.proxy_tls.as_ref().filter(|_| proxy.is_tls) else { return Ok(Box::new(stream)) };
        let started = Instant::now();
        let name = ServerName::try_from(at.bare().to_owned()).map_err(|source| failed(Step::Dns, source.into()))?;
        let handshake = tokio::time::timeout(self.timeouts.tls, connector.connect(name, stream)).await;
        let stream = handshake
            .map_err(|_| {
                let waited = format!("no TLS handshake within {} s", self.timeouts.tls.as_secs_f64());
                failed(Step::ProxyTls, waited.into())
            })?
            .map_err(|error| match certs::failure_in(&error) {
                Some(failure) => failed(Step::ProxyTls, failure.into()),
                None => failed(Step::ProxyTls, error.into()),
            })?;
        let detail = tls::negotiated(stream.get_ref().1);
        self.saw(Step::ProxyTls, proxy.authority(), detail, started.elapsed());
        Ok(Box::new(stream))
    }

    async fn ask_for_tunnel(
        &self,
        proxy: &Proxy,
        target: &Target,
        io: Box<dyn Io>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let authority = target.authority();
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(&authority)
            .header(HOST, &authority)
            .header(USER_AGENT, self.user_agent.clone())
            .body(Empty::<Bytes>::new())
            .map_err(|source| UpstreamError::Unsendable { url: authority.clone(), source })?;
        if let Some(authorization) = proxy.authorization() {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization);
        }
        let answer = async {
            let mut builder = http1::Builder::new();
            builder.max_headers(MAX_HEADERS).max_header_size(MAX_HEAD);
            let (mut sender, driver) = builder.handshake(TokioIo::new(io)).await?;
            // Ends by itself once the tunnel is handed over.
            let task = tokio::spawn(driver.with_upgrades()).abort_handle();
            let mut driver = Driver { task, is_tunnel: false };
            let response = sender.send_request(request).await?;
            driver.is_tunnel = response.status().is_success();
            Ok(response)
        };
        let limit = self.timeouts.tunnel;
        tokio::time::timeout(limit, answer)
            .await
            .map_err(|_| UpstreamError::Timeout {
                host: format!("the proxy {}", proxy.authority()),
                act: "answer CONNECT",
                limit,
                step: Step::Connect,
            })?
            .map_err(|error: hyper::Error| no_proxy(proxy, &error))
    }
}

/// The connection's task, which ends with whoever waits for its answer, unless that is a tunnel.
struct Driver {
    task: AbortHandle,
    is_tunnel: bool,
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.is_tunnel {
            self.task.abort();
        }
    }
}

fn no_proxy(proxy: &Proxy, error: &hyper::Error) -> UpstreamError {
    let source = innermost(error).into();
    let (authority, origin) = (proxy.authority(), proxy.origin());
    UpstreamError::ProxyConnect { proxy: authority, origin, step: Step::Connect, source }
}

/// The names of what `Proxy-Authenticate` offers, each once, in its order (RFC 9110, section 11.6.1). A list item is
/// either a scheme, perhaps with its first parameter, or a further parameter of the one before: `name=value`.
pub(super) fn schemes<'h>(values: impl IntoIterator<Item = &'h str>) -> Vec<String> {
    let mut schemes: Vec<String> = Vec::new();
    for item in values.into_iter().flat_map(items) {
        let end = item.find(|c: char| !is_token(c)).unwrap_or(item.len());
        let (name, rest) = item.split_at(end);
        let is_parameter = rest.trim_start().starts_with('=');
        let is_name = !name.is_empty() && name.len() <= MAX_SCHEME && !is_parameter;
        if is_name && schemes.len() < MAX_SCHEMES && !schemes.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            schemes.push(name.to_owned());
        }
    }
    schemes
}

/// The items of a list, at commas outside of quotes.
fn items(value: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let split = move |c: char| {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ',' => return !is_quoted,
            _ => {}
        }
        false
    };
    value.split(split).map(str::trim)
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_proxy_offers_is_named() {
        for (values, expected) in [
            (&["Basic realm=\"Squid, the \\\"proxy\\\"\""][..], &["Basic"][..]),
            (&["Negotiate", "NTLM", "negotiate"], &["Negotiate", "NTLM"]),
            (&["Negotiate, NTLM, Basic realm=\"a, Digest b\", charset=\"UTF-8\""], &["Negotiate", "NTLM", "Basic"]),
            (&["Digest realm = \"x\" , nonce = \"y\",qop=\"auth,auth-int\", stale=false"], &["Digest"]),
            (&["NTLM TlRMTVNTUAACAAAA==, Bearer"], &["NTLM", "Bearer"]),
            (&["", ",,", "=", "\"Basic\""], &[]),
        ] {
            assert_eq!(schemes(values.iter().copied()), expected, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_it_says_names_stay_few_and_short(values in prop::collection::vec("\\PC{0,80}", 0..20)) {
            let schemes = schemes(values.iter().map(String::as_str));
            prop_assert!(schemes.len() <= MAX_SCHEMES);
            prop_assert!(schemes.iter().all(|name| (1..=MAX_SCHEME).contains(&name.len()) && name.chars().all(is_token)));
        }
    }
}
