//! Who looks at a page: somebody who showed an administrator's token when they logged in.

use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::time::Instant;

use actix_web::dev::Payload;
use actix_web::http::header::{COOKIE, HOST, HeaderMap, ORIGIN};
use actix_web::{FromRequest, HttpRequest, web};
use bundles::Reason;
use url::Url;

use super::answers::Unshown;
use super::live;
use crate::app::App;
use crate::app::sessions::Secret;
use crate::http::auth::{Refusal, Refused, Requires, forbidden, peer, small_scope};
use crate::http::errors::Problem;
use crate::store::Who;
use crate::store::audit::{Act, Doing};
use crate::store::records::Scope;

/// The session's cookie. Browsers take a name with this prefix from this very host alone, by TLS and for all paths (RFC 6265bis).
const SECURE_COOKIE: &str = "__Host-posture-feed";

/// The same where the server is reached without TLS, as on loopback.
const COOKIE_NAME: &str = "posture-feed";

/// The first argument of a page's handler: whoever looks may do what `R` names.
#[derive(Debug)]
pub(super) struct Session<R> {
    /// The token's name.
    pub(super) name: String,
    /// What it allows now.
    pub(super) scope: Scope,
    /// Where they come from.
    pub(super) from: Option<String>,
    /// What forms carry.
    pub(super) proof: Secret,
    id: String,
    least: PhantomData<R>,
}

impl<R> Session<R> {
    /// Who it is.
    pub(super) fn who(&self) -> Who {
        Who::Token { name: self.name.clone() }
    }

    /// Whether they may do what takes that scope.
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.scope >= scope
    }

    /// What they do.
    pub(super) fn doing(&self, act: Act) -> Doing {
        Doing { who: self.who(), from: self.from.clone(), act, object: None, detail: None }
    }

    /// Whether a form, or a script's request, is this session's own.
    ///
    /// # Errors
    /// It does not carry the session's proof.
    pub(super) fn check(&self, request: &HttpRequest, proof: &str) -> Result<(), Problem> {
        if self.proof.is(proof) {
            return Ok(());
        }
        let detail = "the form is not one that this session was given, and changed nothing; load the page again";
        Err(Refused::note(request, self.who(), Refusal::ForeignForm, forbidden(detail)))
    }

    /// Ends it.
    pub(super) fn close(&self, app: &App) {
        app.sessions.close(&self.id);
    }
}

impl<R: Requires> FromRequest for Session<R> {
    type Error = Unshown;
    type Future = Ready<Result<Self, Unshown>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(of(request).and_then(|session| {
            if session.scope >= R::SCOPE { Ok(session) } else { Err(small_scope(request, session.who()).into()) }
        }))
    }
}

fn of<R>(request: &HttpRequest) -> Result<Session<R>, Unshown> {
    let unknown = || {
        let problem = Problem::new(Reason::Unauthorized, "this needs somebody who is logged in; log in with a token");
        Unshown::unknown(request, problem)
    };
    let app = request.app_data::<web::Data<App>>().ok_or_else(unknown)?;
    let id = cookie(request.headers(), cookie_name(app)).ok_or_else(unknown)?;
    let session = app.sessions.find(id, !live::is_by_itself(request), Instant::now()).ok_or_else(unknown)?;
    let tokens = app.store.tokens()?;
    let now = app.now();
    let token = tokens.into_iter().find(|token| token.token == session.token && !token.is_expired(now));
    let Some(token) = token else {
        app.sessions.close_all_of(&session.token);
        return Err(unknown());
    };
    app.uses.note(token.token, now);
    Ok(Session {
        name: token.name,
        scope: token.scope,
        from: peer(request),
        proof: session.proof,
        id: id.to_owned(),
        least: PhantomData,
    })
}

/// Whether whoever asks is logged in.
pub(super) fn is_open(request: &HttpRequest) -> bool {
    of::<()>(request).is_ok()
}

/// Ends the session that a request names, if it names one.
pub(super) fn close_named(request: &HttpRequest, app: &App) {
    if let Some(id) = cookie(request.headers(), cookie_name(app)) {
        app.sessions.close(id);
    }
}

/// The cookie that opens a session, or ends one: for as long as the browser is open, for no script, and for no request that
/// another site makes.
pub(super) fn set_cookie(app: &App, id: Option<&Secret>) -> String {
    let secure = if is_secure(app) { "; Secure" } else { "" };
    let (value, age) = id.map_or(("", "; Max-Age=0"), |id| (id.reveal(), ""));
    format!("{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}", cookie_name(app))
}

/// Whether browsers reach this server by TLS: its own, or that of a proxy in front.
pub(super) fn is_secure(app: &App) -> bool {
    app.certificate.get().is_some() || app.publisher.public_url().is_some_and(|url| url.scheme() == "https")
}

fn cookie_name(app: &App) -> &'static str {
    if is_secure(app) { SECURE_COOKIE } else { COOKIE_NAME }
}

/// The value of a cookie (RFC 6265, section 5.4).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let pairs = headers.get_all(COOKIE).filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Whether a form was sent by a page of this server's. Browsers say so by `Sec-Fetch-Site`, where they were reached by TLS or on
/// loopback, and by `Origin` of each form; whoever says neither is no browser, and nobody's session.
///
/// # Errors
/// It was sent by another site.
pub(super) fn check_site(request: &HttpRequest) -> Result<(), Problem> {
    let app = request.app_data::<web::Data<App>>();
    let own = app.and_then(|app| app.publisher.public_url());
    if is_own_site(request.headers(), own.as_ref()) {
        return Ok(());
    }
    let detail = "the form came from another site, and changed nothing; open the console by its own address";
    Err(Refused::note(request, Who::Nobody, Refusal::ForeignForm, forbidden(detail)))
}

fn is_own_site(headers: &HeaderMap, own: Option<&Url>) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(ORIGIN.as_str()) else { return true };
    // A proxy in front may ask by another name than the browser did.
    let is_public = own.is_some_and(|own| own.origin().ascii_serialization() == origin);
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    is_public || (authority.is_some() && authority == text(HOST.as_str()))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_pages_of_this_server_log_in() {
        let own = Url::parse("https://feed.example/").unwrap();
        for (pairs, is_own) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("host", "a:1"), ("origin", "http://a:1")], false),
            (&[("host", "a:1"), ("origin", "http://a:1")], true),
            (&[("host", "a:1"), ("origin", "http://a:2")], false),
            (&[("host", "a:1"), ("origin", "null")], false),
            (&[("host", "inner"), ("origin", "https://feed.example")], true),
            (&[("host", "inner"), ("origin", "https://feed.example.evil")], false),
        ] {
            assert_eq!(is_own_site(&headers(pairs), Some(&own)), is_own, "{pairs:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let headers = headers(&[("cookie", "a=1; posture-feed=x=y;b=2")]);
        assert_eq!(cookie(&headers, "posture-feed"), Some("x=y"));
        assert_eq!(cookie(&headers, "b"), Some("2"));
        assert_eq!(cookie(&headers, "posture"), None);
    }
}
