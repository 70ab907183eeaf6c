//! Origins, as web pages meet them. The rules one by one are tested beside their code.

use bennu::socket::Origins;
use bennu::{ConnectParams, PubSub, Refused, Sockets};
use bennu_testkit::TestEndpoint;

use crate::lab::Lab;
use crate::support::Bench;
use crate::telemetry::{Lines, Metrics, has_line};

async fn status(kit: &TestEndpoint, origin: &str) -> u16 {
    let request = TestEndpoint::request(&[]).header("origin", origin);
    match kit.connect_with(request.body(()).unwrap()).await {
        Ok(_) => 101,
        Err(refused) => refused.into_response().status().as_u16(),
    }
}

fn kit(origins: Option<Origins>) -> TestEndpoint {
    let world = Bench::new().world;
    let sockets = Sockets::new(PubSub::local(), async move |_: ConnectParams| {
        Ok::<_, Refused>((world, None))
    });
    let sockets = match origins {
        Some(origins) => sockets.with_origins(origins),
        None => sockets,
    };
    TestEndpoint::new(sockets.channel::<Lab>("lab:*"))
}

#[tokio::test(start_paused = true)]
async fn by_default_only_pages_of_the_same_host_may_connect() {
    // The testkit's requests are addressed to `localhost`.
    let kit = kit(None);
    assert_eq!(status(&kit, "http://localhost").await, 101);
    for origin in ["http://evil.com", "http://localhost:8080", "null", ""] {
        assert_eq!(status(&kit, origin).await, 403, "{origin:?}");
    }
    // What is no page says so by saying nothing.
    kit.connect(&[]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_mount_has_its_own_origins() {
    let (any, list) = (Origins::any(), Origins::list(["//*.example.com"]));
    let (any, list, none) = (kit(Some(any)), kit(Some(list)), kit(None));
    // The mount that is asked first decides nothing for the others.
    for _ in 0..2 {
        assert_eq!(status(&any, "http://a.example.com").await, 101);
        assert_eq!(status(&list, "http://a.example.com").await, 101);
        assert_eq!(status(&none, "http://a.example.com").await, 403);
        assert_eq!(status(&list, "http://example.com.evil.com").await, 403);
    }
}

#[tokio::test(start_paused = true)]
async fn refused_origins_are_counted_and_do_not_fill_the_log() {
    let metrics = Metrics::default();
    let kit = metrics::with_local_recorder(&metrics, || kit(None));
    let (lines, _guard) = Lines::capture();
    for _ in 0..50 {
        assert_eq!(status(&kit, "http://evil.com").await, 403);
    }
    assert_eq!(status(&kit, "http://evil.com\\@localhost").await, 403);
    assert_eq!(metrics.count("bennu_connects_total origin"), 51);
    assert_eq!(metrics.count("bennu_connects_total refused"), 0);
    let log = lines.take();
    let warning = ["WARN", "its origin may not connect", "evil.com"];
    assert!(has_line(&log, &warning), "{log}");
    let warnings = log.lines().filter(|line| line.contains("may not connect"));
    assert_eq!(warnings.count(), 1, "{log}");
    // Refusals leave nothing behind.
    assert_eq!(kit.endpoint().connection_count(), 0);
}
