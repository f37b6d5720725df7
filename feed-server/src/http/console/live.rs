//! Parts of pages that keep themselves up to date: the page holds the part as it was, and its script fetches it anew.

use actix_web::{HttpRequest, HttpResponse};
use maud::{Markup, html};

use crate::http::errors::HTML;

/// What a page's script says when it asks, and no other site can say without being let (Fetch, "CORS-preflight").
const BY_ITSELF: &str = "posture-feed-live";

/// Whether a page asks by itself, and not a person: that keeps no session alive.
pub(super) fn is_by_itself(request: &HttpRequest) -> bool {
    request.headers().contains_key(BY_ITSELF)
}

/// A part of a page as it is now.
pub(super) struct Part {
    /// Whether something is going on in it: then it is fetched every second or two, and else now and then.
    pub(super) is_busy: bool,
    /// What is read out when it has changed; nothing where it is empty.
    pub(super) says: String,
    /// The part.
    pub(super) content: Markup,
}

impl Part {
    fn inside(&self) -> Markup {
        html! { div data-busy[self.is_busy] data-says=(self.says) { (self.content) } }
    }

    /// Within a page; `address` answers with [`Self::alone`].
    pub(super) fn within(&self, address: &str) -> Markup {
        html! { div data-live=(address) { (self.inside()) } }
    }

    /// Without the page around it.
    pub(super) fn alone(&self) -> HttpResponse {
        HttpResponse::Ok().content_type(HTML).body(self.inside().into_string())
    }
}
