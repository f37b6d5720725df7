//! Who may do what: a token with a scope on the network, everything on the control socket, whose file mode is the door.

use std::any::Any;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::time::Instant;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use bundles::Reason;
use tokio::net::UnixStream;

use super::errors::Problem;
use crate::app::App;
use crate::app::refusals::Source;
use crate::store::audit::{Act, Doing};
use crate::store::records::{Scope, TokenRecord};
use crate::store::{Who, user_name};
use crate::tokens::Presented;

/// What a listener knows of those who connect to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Anyone.
    Network,
    /// Only the data directory's owner (and root) can open the socket.
    Control,
}

/// Who is at the other end of a connection to the control socket, as the kernel says (`SO_PEERCRED`, unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    user: u32,
}

impl Peer {
    /// Of a new connection; `None` where it is none to a Unix socket.
    #[must_use]
    pub fn of(connection: &dyn Any) -> Option<Self> {
        let credentials = connection.downcast_ref::<UnixStream>()?.peer_cred().ok()?;
        Some(Self { user: credentials.uid() })
    }

    /// The user's name, else the number.
    #[must_use]
    pub fn name(&self) -> String {
        user_name(self.user)
    }
}

/// The scope that a route asks for, as a type, so that a handler cannot forget it.
pub trait Requires {
    /// At least this one.
    const SCOPE: Scope;
}

/// [`Scope::Read`].
#[derive(Debug)]
pub struct Read;

/// [`Scope::Operate`].
#[derive(Debug)]
pub struct Operate;

/// [`Scope::Admin`].
#[derive(Debug)]
pub struct Admin;

impl Requires for Read {
    const SCOPE: Scope = Scope::Read;
}

impl Requires for Operate {
    const SCOPE: Scope = Scope::Operate;
}

impl Requires for Admin {
    const SCOPE: Scope = Scope::Admin;
}

/// A handler's first argument: whoever calls may do what `R` names.
#[derive(Debug)]
pub struct Allowed<R> {
    /// Who it is.
    pub who: Who,
    /// Where they come from.
    pub from: Option<String>,
    scope: PhantomData<R>,
}

impl<R> Allowed<R> {
    /// What whoever calls does.
    #[must_use]
    pub fn doing(&self, act: Act) -> Doing {
        Doing { who: self.who.clone(), from: self.from.clone(), act, object: None, detail: None }
    }
}

/// Somebody who was refused, for the audit trail. Kept with the request until it is answered.
#[derive(Debug)]
pub struct Refused {
    /// Who it is, as far as that is known.
    pub who: Who,
    /// What they are told.
    pub reason: Reason,
}

/// Why somebody was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing was presented.
    NoToken,
    /// What was presented is not known, or not for this.
    WrongToken,
    /// It ended.
    ExpiredToken,
    /// A certificate was shown that is not believed, or is another's.
    WrongCertificate,
    /// It does not allow this.
    SmallScope,
    /// A form of the console's came from another site, or without its proof.
    ForeignForm,
    /// Too much that was wrong came from there lately.
    TooMany,
}

impl Refusal {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::NoToken,
        Self::WrongToken,
        Self::ExpiredToken,
        Self::WrongCertificate,
        Self::SmallScope,
        Self::ForeignForm,
        Self::TooMany,
    ];

    /// The metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::ExpiredToken => "expired_token",
            Self::WrongCertificate => "wrong_certificate",
            Self::SmallScope => "small_scope",
            Self::ForeignForm => "foreign_form",
            Self::TooMany => "too_many",
        }
    }
}

impl Refused {
    /// Notes it; gives the problem back that they are told.
    pub fn note(request: &HttpRequest, who: Who, refusal: Refusal, problem: Problem) -> Problem {
        let (refusal, problem) = match refusal {
            Refusal::WrongToken | Refusal::ExpiredToken => {
                too_many(request).map_or((refusal, problem), |too_many| (Refusal::TooMany, too_many))
            }
            // There is nothing to guess about a certificate: its key was shown to be there.
            Refusal::NoToken
            | Refusal::WrongCertificate
            | Refusal::SmallScope
            | Refusal::ForeignForm
            | Refusal::TooMany => (refusal, problem),
        };
        if let Some(app) = request.app_data::<web::Data<App>>() {
            app.metrics.http.unauthorized_total.with_label_values(&[refusal.as_str()]).inc();
        }
        request.extensions_mut().insert(Self { who, reason: problem.reason });
        problem
    }
}

/// Counts a failure; what is said where there were too many from the same place.
fn too_many(request: &HttpRequest) -> Option<Problem> {
    let app = request.app_data::<web::Data<App>>()?;
    let from = Source::from(request.peer_addr()?.ip());
    let wait = app.failures.count(from, Instant::now()).err()?;
    let detail = format!(
        "too many wrong tokens came from this address; wrong ones are looked at again in {} s, good ones are taken at any time",
        wait.as_secs()
    );
    Some(Problem { retry_after: Some(wait.as_secs()), ..Problem::new(Reason::RateLimited, detail) })
}

impl<R: Requires> FromRequest for Allowed<R> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller(request).and_then(|(who, scope)| {
            if scope >= R::SCOPE {
                Ok(Self { who, from: peer(request), scope: PhantomData })
            } else {
                Err(small_scope(request, who))
            }
        }))
    }
}

/// Somebody's token is good, and not for this.
pub fn small_scope(request: &HttpRequest, who: Who) -> Problem {
    let detail = "the token's scope is too small for this; ask an administrator for a larger one";
    Refused::note(request, who, Refusal::SmallScope, forbidden(detail))
}

/// Whoever asks is known, and may not.
#[must_use]
pub fn forbidden(detail: &str) -> Problem {
    Problem::with_status(StatusCode::FORBIDDEN, Reason::Unauthorized, detail)
}

/// Where a request comes from: the address that it was sent from (of a proxy in front, where there is one: what that says of
/// others is not believed), or the way into this machine.
pub fn peer(request: &HttpRequest) -> Option<String> {
    if request.app_data::<Door>() == Some(&Door::Control) {
        return Some("control socket".to_owned());
    }
    request.peer_addr().map(|peer| peer.ip().to_canonical().to_string())
}

fn caller(request: &HttpRequest) -> Result<(Who, Scope), Problem> {
    if request.app_data::<Door>() == Some(&Door::Control) {
        let name = request.conn_data::<Peer>().map_or_else(|| "unknown".to_owned(), Peer::name);
        return Ok((Who::User { name }, Scope::Admin));
    }
    let presented =
        presented(request).map_err(|problem| Refused::note(request, Who::Nobody, Refusal::NoToken, problem))?;
    let token = holder(request, &presented)?;
    Ok((Who::Token { name: token.name }, token.scope))
}

/// The administrator's token that was presented. That it was not good is noted and counted.
///
/// # Errors
/// It is none that is known, or has ended; or too many such came from the same place.
pub fn holder(request: &HttpRequest, presented: &Presented) -> Result<TokenRecord, Problem> {
    let refused = |who, refusal, problem| Refused::note(request, who, refusal, problem);
    let app = request.app_data::<web::Data<App>>().ok_or_else(unknown_token)?;
    // On this very thread: a handful of records, which sled holds in memory. Were it waited for, the extractors after this
    // one would read bodies of whoever has no token.
    let tokens = app.store.tokens()?;
    // No early end: how long it takes says nothing of which token fits.
    let found =
        tokens.into_iter().fold(None, |found, token| if presented.is(&token.token) { Some(token) } else { found });
    let token = found.ok_or_else(|| refused(Who::Nobody, Refusal::WrongToken, unknown_token()))?;
    let now = app.now();
    if token.is_expired(now) {
        let problem = expired(&token);
        return Err(refused(Who::Token { name: token.name }, Refusal::ExpiredToken, problem));
    }
    app.uses.note(token.token, now);
    Ok(token)
}

/// The bearer token of a request.
///
/// # Errors
/// There is none.
pub fn presented(request: &HttpRequest) -> Result<Presented, Problem> {
    request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(Presented::from_authorization)
        .ok_or_else(|| Problem::new(Reason::Unauthorized, "this needs a token: send `Authorization: Bearer pf_…`"))
}

/// Only who holds the token is told so.
fn expired(token: &TokenRecord) -> Problem {
    let ended = token.expires.map_or_else(String::new, |at| format!(" at {at}"));
    let detail = format!(
        "the token {} ended{ended}; ask an administrator for another one (`feed-server token add`)",
        token.name
    );
    Problem::new(Reason::Unauthorized, detail)
}

/// The token is none that is known here.
#[must_use]
pub fn unknown_token() -> Problem {
    Problem::new(Reason::Unauthorized, "the token is not known here; it was revoked, or belongs to another server")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_counted_from_the_start() {
        assert_eq!(Refusal::ALL.map(Refusal::as_str), crate::metrics::REFUSALS);
    }
}
