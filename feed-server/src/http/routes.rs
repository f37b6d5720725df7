//! Routes as a table, so that what there is can be listed, and whoever asks in another way is told the ways that there are.

use actix_web::http::Method;
use actix_web::{FromRequest, Handler, HttpRequest, Resource, Responder, Route, web};

use super::errors;

/// A route: where, how, and who answers.
pub(super) struct At(pub(super) &'static str, pub(super) Method, pub(super) Route);

/// The route of a handler.
pub(super) fn to<H, A>(handler: H) -> Route
where
    H: Handler<A>,
    A: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    web::route().to(handler)
}

/// What is registered: a resource for each path, in the order of the table, which refuses what the table does not name.
pub(super) fn resources(mut routes: Vec<At>) -> Vec<Resource> {
    let mut resources = Vec::new();
    while let Some(At(path, ..)) = routes.first() {
        let path = *path;
        let (here, others): (Vec<_>, Vec<_>) = routes.into_iter().partition(|At(other, ..)| *other == path);
        routes = others;
        let allow = here.iter().map(|At(_, method, _)| method.as_str()).collect::<Vec<_>>().join(", ");
        let resource = here
            .into_iter()
            .fold(web::resource(path), |resource, At(_, method, route)| resource.route(route.method(method)));
        let other_method = move |request: HttpRequest| {
            let allow = allow.clone();
            async move { errors::no_such_method(&request, &allow) }
        };
        resources.push(resource.default_service(web::to(other_method)));
    }
    resources
}
