//! `/api/v1/ise`: ISE deployments, as far as they are seen, and what to type there.

use std::collections::BTreeSet;
use std::net::IpAddr;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use bundles::Reason;

use super::audit::changed;
use super::views::{IseListView, IseView, NewIse};
use crate::app::App;
use crate::app::ise::{Guide, archives_of};
use crate::headends;
use crate::http::auth::{Admin, Allowed, Read};
use crate::http::errors::{Answer, Problem};
use crate::store::Batch;
use crate::store::audit::{Act, Doing};
use crate::store::ise::IseRecord;

/// Each has a few, and is looked at each time that metrics are asked for.
const MOST_DEPLOYMENTS: usize = 500;

/// A deployment has a primary and a secondary Admin node, behind one address or several.
const MOST_ADDRESSES: usize = 64;

/// A month: nobody updates less often.
const MOST_HOURS: u32 = 744;

/// All deployments with what was seen of them, by name, and addresses that ask like one and belong to none.
#[utoipa::path(
    get, path = "/api/v1/ise", tag = "ise", security(("read" = [])),
    responses((status = 200, description = "Deployments", body = IseListView))
)]
pub async fn list(_: Allowed<Read>, app: web::Data<App>) -> Answer {
    let view = web::block(move || {
        let deployments = app.ise_deployments()?.into_iter().map(IseView::from).collect();
        Ok::<_, Problem>(IseListView { deployments, strangers: app.ise_strangers() })
    })
    .await??;
    Ok(HttpResponse::Ok().json(view))
}

/// What to type in ISE.
#[utoipa::path(
    get, path = "/api/v1/ise/guide", tag = "ise", security(("read" = [])),
    responses((status = 200, description = "What to type in ISE", body = Guide))
)]
pub async fn guide(_: Allowed<Read>, app: web::Data<App>) -> Answer {
    let guide = web::block(move || app.ise_guide()).await?;
    Ok(HttpResponse::Ok().json(guide))
}

/// Names a deployment, so that what comes from its addresses is seen as its own.
#[utoipa::path(
    post, path = "/api/v1/ise", tag = "ise", security(("admin" = [])), request_body = NewIse,
    responses(
        (status = 201, description = "It is seen from now on"),
        (status = 404, description = "There is no such release", body = crate::http::errors::Problem),
        (status = 409, description = "The name or an address is another one's", body = crate::http::errors::Problem),
    )
)]
pub async fn add(caller: Allowed<Admin>, app: web::Data<App>, new: web::Json<NewIse>) -> Answer {
    added(app, caller.doing(Act::IseAdd), new.into_inner()).await?;
    Ok(HttpResponse::Created().finish())
}

/// Adds a deployment on somebody's behalf.
///
/// # Errors
/// It cannot be, and nothing was changed; or the store cannot be read or written.
pub(in crate::http) async fn added(app: web::Data<App>, doing: Doing, new: NewIse) -> Result<(), Problem> {
    let NewIse { name, addresses, every_hours, release } = new;
    if !headends::is_id(&name) {
        return Err(Problem::bad_request(
            "a deployment's name has 1 to 253 of A-Z a-z 0-9 . _ - and begins with a letter or a digit",
        ));
    }
    let addresses: BTreeSet<IpAddr> = addresses.iter().map(IpAddr::to_canonical).collect();
    if addresses.is_empty() || addresses.len() > MOST_ADDRESSES {
        return Err(Problem::bad_request(format!("a deployment has 1 to {MOST_ADDRESSES} addresses")));
    }
    if every_hours == 0 || every_hours > MOST_HOURS {
        return Err(Problem::bad_request(format!("ISE updates every 1 to {MOST_HOURS} hours")));
    }
    let told: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let by = doing.who.to_string();
    let doing = doing.to(&name).with(told.join(", "));
    let record = IseRecord { name, added: app.now(), addresses: addresses.into_iter().collect(), every_hours };
    let (adding, kept) = (record.clone(), app.clone());
    changed(app.clone(), doing, move |store| {
        let known = store.ise()?;
        if let Some(other) = known.iter().find(|other| other.name == adding.name) {
            return Err(taken(format!("there is a deployment {} already; remove it first", other.name)));
        }
        let shared = |other: &&IseRecord| other.addresses.iter().any(|ip| adding.addresses.contains(ip));
        if let Some(other) = known.iter().find(shared) {
            let detail = format!("one of these addresses belongs to the deployment {}, and to one alone", other.name);
            return Err(taken(detail));
        }
        if known.len() >= MOST_DEPLOYMENTS {
            return Err(Problem::bad_request(format!("there are {MOST_DEPLOYMENTS} deployments already")));
        }
        if let Some(serial) = release.filter(|serial| !matches!(store.release(*serial), Ok(Some(_)))) {
            let detail = format!("there is no release {serial}; `feed-server release list` shows those that there are");
            return Err(Problem::new(Reason::NotFound, detail));
        }
        let mut batch = Batch::new();
        batch.put_ise(&adding)?;
        Ok(batch)
    })
    .await?;
    tracing::info!(deployment = record.name, addresses = told.join(", "), by, "added an ISE deployment");
    let name = record.name;
    web::block(move || {
        let has = match release {
            Some(serial) => archives_of(&kept.store, serial)?.into_iter().map(|(_, digest)| digest).collect(),
            None => Vec::new(),
        };
        kept.ise_changed(Some((&name, has)))
    })
    .await??;
    Ok(())
}

fn taken(detail: String) -> Problem {
    Problem::with_status(StatusCode::CONFLICT, Reason::BadRequest, detail)
}

/// Removes a deployment and what was seen of it.
#[utoipa::path(
    delete, path = "/api/v1/ise/{name}", tag = "ise", security(("admin" = [])),
    params(("name" = String, Path, description = "The deployment's name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such deployment", body = crate::http::errors::Problem),
    )
)]
pub async fn remove(caller: Allowed<Admin>, app: web::Data<App>, name: web::Path<String>) -> Answer {
    removed(app, caller.doing(Act::IseRemove), name.into_inner()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Removes a deployment on somebody's behalf.
///
/// # Errors
/// There is none; or the store cannot be read or written.
pub(in crate::http) async fn removed(app: web::Data<App>, doing: Doing, name: String) -> Result<(), Problem> {
    let by = doing.who.to_string();
    let (gone, kept) = (name.clone(), app.clone());
    let doing = doing.to(&name);
    changed(app, doing, move |store| {
        if !store.ise()?.iter().any(|known| known.name == gone) {
            return Err(Problem::none_called("ise", &gone));
        }
        let mut batch = Batch::new();
        batch.remove_ise(&gone);
        Ok(batch)
    })
    .await?;
    web::block(move || kept.ise_changed(None)).await??;
    tracing::info!(deployment = name, by, "removed an ISE deployment");
    Ok(())
}
