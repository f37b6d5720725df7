//! Style, script and icon. They are part of the program, and their address changes with what they hold, so that browsers keep them.

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use bundles::Digest;

use crate::http::errors::{Answer, Problem};

/// Where they are.
pub(super) const ROUTE: &str = "/assets/{name}";

/// For ever: another content has another name.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Hex digits of the content's digest in a name.
const MARK: usize = 16;

/// A file of the console's.
pub(super) struct Asset {
    name: String,
    media_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(stem: &str, ending: &str, media_type: &'static str, content: &'static str) -> Self {
        let digest = Digest::of(content.as_bytes()).to_string();
        Self { name: format!("{stem}-{}.{ending}", &digest[..MARK]), media_type, content }
    }

    /// Its address.
    pub(super) fn address(&self) -> String {
        format!("/assets/{}", self.name)
    }
}

/// How pages look.
pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "css", "text/css; charset=utf-8", include_str!("../../../assets/console/console.css"))
});

/// What keeps parts of them up to date.
pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "js", "text/javascript; charset=utf-8", include_str!("../../../assets/console/console.js"))
});

/// What stands in a browser's tab.
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("../../../assets/console/icon.svg")));

/// Every one.
fn all() -> [&'static Asset; 3] {
    [&STYLE, &SCRIPT, &ICON]
}

/// Answers with one. Nobody has to log in: the log-in page needs them.
pub(super) async fn get(name: web::Path<String>) -> Answer {
    let asset = all().into_iter().find(|asset| asset.name == *name).ok_or_else(|| Problem::not_found("such file"))?;
    Ok(HttpResponse::Ok()
        .content_type(asset.media_type)
        .insert_header((header::CACHE_CONTROL, IMMUTABLE))
        .body(asset.content))
}
