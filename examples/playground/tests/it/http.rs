//! What is not a socket.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bennu::endpoint::DrainOptions;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{joined, kit};

fn router(endpoint: &bennu::Endpoint) -> Router {
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    playground::http::router(endpoint.clone(), metrics)
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
