//! Forms: each changes something, is a POST, and carries the proof that it is this session's own.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use maud::{Markup, html};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answers::Unshown;
use super::session::{Session, check_site};
use crate::http::auth::Requires;
use crate::http::body;
use crate::http::errors::Problem;

/// What is typed into a form is a few hundred bytes.
const MAX_FORM_BYTES: usize = 16 << 10;

/// The name of the field that carries the proof.
pub(super) const PROOF: &str = "proof";

/// What every form that changes something holds.
pub(super) fn proof<R>(session: &Session<R>) -> Markup {
    html! { input type="hidden" name=(PROOF) value=(session.proof.reveal()); }
}

/// A form that was sent, and whoever sent it: the argument of a handler that changes something.
#[derive(Debug)]
pub(super) struct Posted<R, T> {
    /// Who.
    pub(super) session: Session<R>,
    /// Its fields.
    pub(super) form: T,
}

#[derive(Deserialize)]
struct Proof {
    #[serde(default)]
    proof: String,
}

impl<R: Requires + 'static, T: DeserializeOwned + 'static> FromRequest for Posted<R, T> {
    type Error = Unshown;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Unshown>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        // Who sends it is looked at first: bodies of others are not read.
        let session = Session::<R>::from_request(&request, &mut Payload::None).into_inner();
        let body = web::Payload::from_request(&request, payload).into_inner();
        Box::pin(async move {
            let session = session?;
            check_site(&request)?;
            let body = body.map_err(|_| Problem::bad_request("the form did not arrive"))?;
            let text = read(body).await?;
            let Proof { proof } = fields(&text)?;
            session.check(&request, &proof)?;
            Ok(Self { session, form: fields(&text)? })
        })
    }
}

/// Reads a form's fields (`application/x-www-form-urlencoded`).
///
/// # Errors
/// They are too many, or did not arrive whole.
pub(super) async fn read(body: web::Payload) -> Result<String, Problem> {
    let body = body::read(body, "a form", MAX_FORM_BYTES).await?;
    String::from_utf8(body.to_vec()).map_err(|_| Problem::bad_request("the form is not in UTF-8"))
}

/// What they say.
///
/// # Errors
/// One is missing, or none that it may be.
pub(super) fn fields<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    web::Query::from_query(text)
        .map(web::Query::into_inner)
        .map_err(|error| Problem::bad_request(format!("the form cannot be read: {error}")))
}
