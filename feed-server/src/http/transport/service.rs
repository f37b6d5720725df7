//! The routes, as both protocols call them: each request is known to its connection until its answer is sent.

use std::sync::Arc;
use std::task::{Context, Poll};

use actix_http::body::{BoxBody, MessageBody};
use actix_http::{Request, Response};
use actix_service::Service;
use actix_web::Error;
use actix_web::dev::ServiceResponse;
use futures_util::future::LocalBoxFuture;

use super::body::{Paced, Tracked};
use super::connection::{Connection, Connections};

/// The routes of one worker.
pub(super) struct Served<S> {
    routes: S,
    connections: Arc<Connections>,
}

impl<S> Served<S> {
    pub(super) fn new(routes: S, connections: Arc<Connections>) -> Self {
        Self { routes, connections }
    }
}

impl<S> Served<S> {
    /// A request of that connection.
    pub(super) fn answer<B>(
        &self,
        mut request: Request,
        connection: &Arc<Connection>,
    ) -> LocalBoxFuture<'static, Result<Response<Tracked>, Response<BoxBody>>>
    where
        S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
        S::Future: 'static,
        B: MessageBody + 'static,
    {
        let going = connection.begin();
        let body = Paced::of(request.take_payload(), &self.connections);
        let (request, _) = request.replace_payload(body);
        let answering = self.routes.call(request);
        Box::pin(async move {
            match answering.await {
                Ok(answer) => {
                    let answer: Response<B> = answer.into();
                    Ok(answer.map_body(|_, body| Tracked::new(body.boxed(), going)))
                }
                Err(error) => Err(error.error_response().into()),
            }
        })
    }
}

impl<S, B> Service<Request> for Served<S>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = Response<Tracked>;
    type Error = Response<BoxBody>;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.routes.poll_ready(context).map_err(|error| error.error_response().into())
    }

    fn call(&self, request: Request) -> Self::Future {
        // HTTP/1 puts it there for each connection.
        match request.conn_data::<Arc<Connection>>().cloned() {
            Some(connection) => self.answer(request, &connection),
            None => Box::pin(async { Err(Response::internal_server_error().map_body(|_, body| body.boxed())) }),
        }
    }
}
