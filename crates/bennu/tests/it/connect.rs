//! Connecting: what `connect` sees, whom it admits, and the answers of the service to everything else.

use axum::extract::{FromRequestParts, Path};
use axum::http::{HeaderMap, StatusCode, Uri};
use bennu::endpoint::DrainOptions;
use bennu::{
    Channel, ConnectParams, Context, Joined, Payload, PubSub, RawEvent, Refused, Rejection, Reply,
    Sockets, Stop,
};
use bennu_testkit::TestEndpoint;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::Bench;

/// Answers a join with what `connect` established.
struct Who;

impl Channel for Who {
    type Assigns = Value;
    type Params = Payload;
    type In = RawEvent;

    async fn join(cx: &mut Context<'_, Self>, _: Payload) -> Result<Joined<Self>, Rejection> {
        let seen = json!({"assigns": cx.assigns(), "topic": cx.topic(), "wildcard": cx.wildcard()});
        Ok(Joined::from(Who).with_response(&seen))
    }

    async fn handle_in(&mut self, _: &mut Context<'_, Self>, _: RawEvent) -> Result<Reply, Stop> {
        Ok(Reply::none())
    }
}

fn sockets<Args>(connect: impl bennu::socket::Connect<Args, Value>) -> Sockets<Value, Who> {
    Sockets::new(PubSub::local(), connect).channel::<Who>("who:*")
}

async fn assigns(kit: &TestEndpoint, request: Request<()>) -> Value {
    let socket = kit.connect_with(request).await.unwrap();
    let room = socket.join("who:am:i", &json!({})).await.unwrap();
    room.join_response()["assigns"].clone()
}

#[tokio::test(start_paused = true)]
async fn connect_params_are_visible_nested_and_as_text() {
    #[derive(Deserialize, serde::Serialize)]
    struct Params {
        user: User,
        list: Vec<String>,
        empty: String,
    }
    #[derive(Deserialize, serde::Serialize)]
    struct User {
        id: String,
        name: String,
    }
    let kit = TestEndpoint::new(sockets(async |params: ConnectParams| {
        let params: Params = params.decode().map_err(|_| StatusCode::BAD_REQUEST)?;
        Ok::<_, Refused>(json!(params))
    }));
    let params = [
        ("user[id]", "1"),
        ("user[name]", "Ada & Co. é"),
        ("list[]", "a"),
        ("list[]", "b"),
        ("empty", ""),
    ];
    let request = TestEndpoint::request(&params).body(()).unwrap();
    let expected = json!({
        "user": {"id": "1", "name": "Ada & Co. é"}, "list": ["a", "b"], "empty": "",
    });
    assert_eq!(assigns(&kit, request).await, expected);
    let refused = kit.connect(&[("user", "flat")]).await.unwrap_err();
    assert_eq!(refused.into_response().status(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_channel_knows_its_topic_and_what_the_star_stands_for() {
    let kit = TestEndpoint::new(sockets(async || Ok::<_, Refused>(Value::Null)));
    let socket = kit.connect(&[]).await.unwrap();
    let room = socket.join("who:am:i", &json!({})).await.unwrap();
    assert_eq!(room.join_response()["topic"], "who:am:i");
    assert_eq!(room.join_response()["wildcard"], "am:i");
}

#[tokio::test(start_paused = true)]
async fn connect_takes_extractors_headers_uri_and_user_agent() {
    let kit = TestEndpoint::new(sockets(async |headers: HeaderMap, uri: Uri| {
        let header = |name: &str| {
            headers
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        Ok::<_, Refused>(json!({
            "x": header("x-application"),
            "trace": [header("traceparent"), header("tracestate")],
            "protocol": header("sec-websocket-protocol"),
            "agent": header("user-agent"),
            "path": uri.path(),
            "query": uri.query(),
        }))
    }));
    let request = TestEndpoint::request(&[("a", "1")])
        .header("x-application", "Phoenix")
        .header("traceparent", "00-1")
        .header("tracestate", "v=1")
        .header("sec-websocket-protocol", "my, protocols")
        .header("user-agent", "tests")
        .body(())
        .unwrap();
    let expected = json!({
        "x": "Phoenix", "trace": ["00-1", "v=1"], "protocol": "my, protocols", "agent": "tests",
        "path": "/websocket", "query": "a=1&vsn=2.0.0",
    });
    assert_eq!(assigns(&kit, request).await, expected);
}

#[tokio::test(start_paused = true)]
async fn connect_sees_what_the_server_put_into_the_request() {
    #[derive(Clone)]
    struct Peer(&'static str);
    let kit = TestEndpoint::new(sockets(
        async |axum::Extension(peer): axum::Extension<Peer>| Ok::<_, Refused>(json!(peer.0)),
    ));
    let mut request = TestEndpoint::request(&[]).body(()).unwrap();
    let refused = kit.connect_with(request.clone()).await.unwrap_err();
    assert_eq!(refused.into_response().status(), 500);
    request.extensions_mut().insert(Peer("127.0.0.1"));
    assert_eq!(assigns(&kit, request).await, "127.0.0.1");
}

#[tokio::test(start_paused = true)]
async fn an_extractors_own_refusal_is_the_answer() {
    struct Teapot;
    impl<S: Sync> FromRequestParts<S> for Teapot {
        type Rejection = (StatusCode, &'static str);
        async fn from_request_parts(
            _: &mut http::request::Parts,
            _: &S,
        ) -> Result<Self, Self::Rejection> {
            Err((StatusCode::IM_A_TEAPOT, "short and stout"))
        }
    }
    let kit = TestEndpoint::new(sockets(async |_: Teapot| Ok::<_, Refused>(Value::Null)));
    let refused = kit.connect(&[]).await.unwrap_err().into_response();
    assert_eq!(refused.status(), 418);
    assert_eq!(
        refused.into_body().collect().await.unwrap().to_bytes(),
        "short and stout"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_forbidden_or_whatever_the_application_says() {
    let kit = TestEndpoint::new(sockets(async |params: ConnectParams| {
        match params.get("how") {
            Some("limit") => {
                let response = Response::builder()
                    .status(StatusCode::TOO_MANY_REQUESTS)
                    .header("retry-after", "7")
                    .body(Bytes::from_static(b"slow down"));
                Err(Refused::response(response.unwrap()))
            }
            Some("status") => Err(StatusCode::UNAUTHORIZED.into()),
            Some("panic") => panic!("connect"),
            _ => Err::<Value, _>(Refused::forbidden()),
        }
    }));
    let answer = async |how| {
        kit.connect(&[("how", how)])
            .await
            .unwrap_err()
            .into_response()
    };
    assert_eq!(answer("").await.status(), 403);
    assert_eq!(answer("status").await.status(), 401);
    assert_eq!(answer("panic").await.status(), 500);
    let limited = answer("limit").await;
    assert_eq!(
        (limited.status().as_u16(), &limited.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    assert_eq!(
        limited.into_body().collect().await.unwrap().to_bytes(),
        "slow down"
    );
    assert_eq!(kit.endpoint().connection_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_vsn_that_is_not_spoken_is_forbidden_before_connect() {
    let kit = TestEndpoint::new(sockets(
        async |_: ConnectParams| -> Result<Value, Refused> { panic!("connect was called") },
    ));
    for vsn in ["123.1.1", "3.0.0", "2.1.0", "2", "", "two"] {
        let refused = kit.connect(&[("vsn", vsn)]).await.unwrap_err();
        assert_eq!(refused.into_response().status(), 403, "{vsn}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_may_be_so_long_and_no_longer() {
    let bench = Bench::with_limits(|limits| limits.query_bytes_max = 100);
    bench.kit.connect(&[("a", &"x".repeat(80))]).await.unwrap();
    let refused = bench
        .kit
        .connect(&[("a", &"x".repeat(100))])
        .await
        .unwrap_err();
    assert_eq!(refused.into_response().status(), 414);
    // Percent-decoded, it is not UTF-8.
    let request = Request::builder()
        .uri("/websocket?a=%ff&vsn=2.0.0")
        .body(())
        .unwrap();
    let refused = bench.kit.connect_with(request).await.unwrap_err();
    assert_eq!(refused.into_response().status(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_draining_endpoint_takes_nobody() {
    let bench = Bench::new();
    bench.kit.endpoint().drain(&DrainOptions::default()).await;
    assert!(bench.kit.endpoint().is_draining());
    let refused = bench.kit.connect(&[]).await.unwrap_err();
    assert_eq!(refused.into_response().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn the_first_pattern_that_matches_takes_the_topic() {
    struct Named<const N: u8>;
    impl<const N: u8> Channel for Named<N> {
        type Assigns = ();
        type Params = Payload;
        type In = RawEvent;
        async fn join(_: &mut Context<'_, Self>, _: Payload) -> Result<Joined<Self>, Rejection> {
            Ok(Joined::from(Self).with_response(&N))
        }
        async fn handle_in(
            &mut self,
            _: &mut Context<'_, Self>,
            _: RawEvent,
        ) -> Result<Reply, Stop> {
            Ok(Reply::none())
        }
    }
    let sockets = Sockets::new(PubSub::local(), async || Ok::<_, Refused>(()))
        .channel::<Named<1>>("food*")
        .channel::<Named<2>>("foo*")
        .channel::<Named<3>>("foobar")
        .channel::<Named<4>>("exact");
    assert!(
        Sockets::new(PubSub::local(), async || Ok::<_, Refused>(()))
            .try_channel::<Named<1>>("a*b")
            .is_err()
    );
    let socket = TestEndpoint::new(sockets).connect(&[]).await.unwrap();
    for (topic, channel) in [("food:1", 1), ("foo", 2), ("foobar", 2), ("exact", 4)] {
        let room = socket.join(topic, &json!({})).await.unwrap();
        assert_eq!(room.join_response(), channel, "{topic}");
    }
    for topic in ["exact:1", "Foo", "fo", ""] {
        let refused = socket.join(topic, &json!({})).await.unwrap_err();
        assert_eq!(
            refused.response(),
            json!({"reason": "unmatched topic"}),
            "{topic}"
        );
    }
}

fn get(path: &str) -> http::request::Builder {
    Request::builder()
        .uri(path)
        .header("host", "localhost")
        .header("connection", "keep-alive, Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13")
}

async fn body(response: Response<http_body_util::Full<Bytes>>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn the_service_answers_elsewhere_with_404_and_plain_requests_with_400() {
    let service = Bench::new().kit.service();
    let call = async |request: Request<()>| {
        let request = request.map(|()| http_body_util::Empty::<Bytes>::new());
        service.clone().oneshot(request).await.unwrap()
    };
    for path in ["/", "/other", "/websocket/more"] {
        assert_eq!(
            call(get(path).body(()).unwrap()).await.status(),
            404,
            "{path}"
        );
    }
    let plain = Request::builder()
        .uri("/websocket")
        .header("host", "h")
        .body(())
        .unwrap();
    let answer = call(plain).await;
    assert_eq!(answer.status(), 400);
    let expected = "'connection' header must contain 'upgrade', got []";
    assert_eq!(body(answer).await, expected);
    let post = get("/websocket").method(Method::POST).body(()).unwrap();
    assert_eq!(call(post).await.status(), 400);
    // A server that cannot upgrade is at fault itself.
    assert_eq!(
        call(get("/websocket").body(()).unwrap()).await.status(),
        500
    );
}

#[tokio::test]
async fn a_mount_below_a_path_of_several_segments_and_variables() {
    let sockets = sockets(async |Path(room): Path<String>| Ok::<_, Refused>(json!(room)));
    let router = axum::Router::<()>::new().nest("/api/{room}/socket", sockets.into_router());
    let status = async |path: &str| {
        let request = Request::builder()
            .uri(path)
            .body(axum::body::Body::empty())
            .unwrap();
        router.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(status("/api/lobby/socket/websocket").await, 400);
    assert_eq!(status("/api/lobby/socket/other").await, 404);
    assert_eq!(status("/api/lobby/other/websocket").await, 404);
}
