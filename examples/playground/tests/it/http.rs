//! What is not a socket.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bennu::endpoint::DrainOptions;
use bennu::token::SignOptions;
use metrics_exporter_prometheus::PrometheusBuilder;
use playground::Config;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{join, joined, kit};

fn router(endpoint: &bennu::Endpoint) -> Router {
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let tokens = Config::new("n1").user_tokens().unwrap();
    playground::http::router(endpoint.clone(), tokens, metrics)
}

async fn post(router: &Router, path: &str, body: &Value) -> StatusCode {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()));
    router
        .clone()
        .oneshot(request.unwrap())
        .await
        .unwrap()
        .status()
}

async fn get(router: &Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn broadcasts_and_disconnects() {
    let kit = kit();
    let router = router(kit.endpoint());
    let room = joined(&kit, "ada", "room:1").await;
    let body = json!({"topic": "room:1", "event": "news", "payload": {"n": 1}});
    assert_eq!(post(&router, "/api/broadcast", &body).await, 204);
    room.assert_push("news", &json!({"n": 1})).await;
    let body = json!({"topic": "room:1", "event": "news", "payload": [1]});
    assert_eq!(post(&router, "/api/broadcast", &body).await, 422);
    room.refute_push("news").await;
    let body = json!({"id": "user_socket:ada"});
    assert_eq!(post(&router, "/api/disconnect", &body).await, 204);
    room.socket().assert_disconnected(1001).await;
}

#[tokio::test(start_paused = true)]
async fn health_the_page_and_metrics() {
    let kit = kit();
    let router = router(kit.endpoint());
    assert_eq!(
        get(&router, "/healthz").await,
        (StatusCode::OK, "ok".to_owned())
    );
    let (status, page) = get(&router, "/").await;
    assert!(status == 200 && page.contains("<html"), "{page}");
    assert_eq!(get(&router, "/metrics").await.0, 200);
    kit.endpoint().drain(&DrainOptions::default()).await;
    assert_eq!(get(&router, "/healthz").await.0, 503);
}

#[tokio::test(start_paused = true)]
async fn a_token_lets_its_user_connect() {
    let kit = kit();
    let router = router(kit.endpoint());
    let (status, token) = get(&router, "/api/token?user_id=ada").await;
    assert_eq!(status, 200);
    let socket = kit.connect(&[("token", &token), ("user_id", "bob")]).await;
    let room = join(&socket.unwrap(), "room:1", &json!({})).await;
    let whoami = room.push("whoami", &json!({})).await;
    let expected = json!({"user_id": "ada", "topic": "room:1", "node": "n1"});
    room.assert_reply(&whoami, "ok", &expected).await;
    for forged in ["", "null", "a.b.c", &token[1..], &format!("{token}x")] {
        let refused = kit.connect(&[("token", forged)]).await.unwrap_err();
        assert_eq!(refused.into_response().status(), 403, "{forged}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_yesterday_is_refused() {
    let keys = Config::new("n1").user_tokens().unwrap();
    let yesterday = SystemTime::now() - Duration::from_secs(86_401);
    let options = SignOptions::default().with_signed_at(yesterday);
    let token = keys.sign_with("ada", &options).unwrap();
    let refused = kit().connect(&[("token", &token)]).await.unwrap_err();
    assert_eq!(refused.into_response().status(), 403);
}
