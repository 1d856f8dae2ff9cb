//! temporary
use crate::api::Api;
use crate::context::Context;
use crate::served::Served;
use ::api::status::Status;
use client::Body;
use http::Response;
pub async fn connect(_: &Api, _: &Context, _: &Served, _: Body) -> Result<Response<Body>, Status> {
    Err(Status::unavailable("no node yet"))
}
