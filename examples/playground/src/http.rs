//! What is not a socket: the page, `/api/…`, `/healthz` and `/metrics`.

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bennu::token::Keyring;
use bennu::{Endpoint, Payload};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Deserialize;

/// The page and the official client, put there by the build script.
const INDEX: &str = include_str!(concat!(env!("OUT_DIR"), "/page/index.html"));
const APP: &str = include_str!(concat!(env!("OUT_DIR"), "/page/app.js"));
const STYLE: &str = include_str!(concat!(env!("OUT_DIR"), "/page/style.css"));
const PHOENIX: &str = include_str!(concat!(env!("OUT_DIR"), "/page/phoenix.mjs"));

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// The routes.
pub fn router(endpoint: Endpoint, tokens: Keyring, metrics: PrometheusHandle) -> Router {
    let api = Router::new()
        .route("/api/broadcast", post(broadcast))
        .route("/api/disconnect", post(disconnect))
        .route("/healthz", get(healthz))
        .with_state(endpoint);
    let token = Router::new()
        .route("/api/token", get(token))
        .with_state(tokens);
    Router::new()
        .route("/", get(page(INDEX, HTML)))
        .route("/assets/app.js", get(page(APP, SCRIPT)))
        .route("/assets/style.css", get(page(STYLE, CSS)))
        .route("/assets/phoenix.mjs", get(page(PHOENIX, SCRIPT)))
        .route("/metrics", get(async move || metrics.render()))
        .merge(api)
        .merge(token)
}

/// A handler that answers with a file.
fn page(
    text: &'static str,
    kind: &'static str,
) -> impl Fn() -> std::future::Ready<File> + Clone + Send + Sync + 'static {
    move || std::future::ready(([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text))
}

type File = ([(HeaderName, &'static str); 2], &'static str);

#[derive(Deserialize)]
struct Broadcast {
    topic: String,
    event: String,
    payload: Payload,
}

async fn broadcast(State(endpoint): State<Endpoint>, Json(body): Json<Broadcast>) -> Response {
    match endpoint.broadcast_raw(body.topic, &body.event, body.payload) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response(),
    }
}

#[derive(Deserialize)]
struct Disconnect {
    id: String,
}

async fn disconnect(State(endpoint): State<Endpoint>, Json(body): Json<Disconnect>) -> Response {
    match endpoint.disconnect(&body.id) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response(),
    }
}

#[derive(Deserialize)]
struct TokenFor {
    user_id: String,
}

async fn token(State(tokens): State<Keyring>, Query(query): Query<TokenFor>) -> Response {
    match tokens.sign(&query.user_id) {
        Ok(token) => token.into_response(),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response(),
    }
}

async fn healthz(State(endpoint): State<Endpoint>) -> (StatusCode, &'static str) {
    if endpoint.is_ready() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    }
}
