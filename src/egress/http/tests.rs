//! Against servers that behave, and against those that do not.

mod fuzz;
mod hostile;

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::{Response as Answer, StatusCode};
use flate2::Compression;
use futures::TryStreamExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;
use crate::egress::{DialError, Policy, Timeouts};
use crate::report::{Outcome, StageKind};

/// A server on this machine, and how many connections it has taken.
struct Served {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Served {
    async fn by(answer: impl Fn(&Request<Incoming>) -> Answer<Body> + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let answered = answer(&request);
                    async move { Ok::<_, Infallible>(answered) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, connections }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn client_with(settings: Settings, timeouts: Timeouts) -> Client {
    let policy = Policy { local_allowed: true, ..Policy::default() };
    Client::new(Arc::new(Dialer::new(policy, timeouts)), settings)
}

fn client() -> Client {
    client_with(Settings::default(), Timeouts::default())
}

fn following() -> Client {
    client_with(Settings { redirects: 3, ..Settings::default() }, Timeouts::default())
}

fn get(url: &str) -> Request<Body> {
    Request::get(url).body(Body::default()).unwrap()
}

fn encoded(coding: &'static str, body: Vec<u8>) -> Answer<Body> {
    Answer::builder().header(header::CONTENT_ENCODING, coding).body(Body::from(body)).unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let server = Served::by(|request| Answer::new(Body::from(format!("{} ", request.uri())))).await;
    let client = client();
    for path in ["/a?b=c", "/d", "/e"] {
        let response = client.send(get(&server.url(path))).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.bytes(100).await.unwrap(), format!("{path} "));
    }
    assert_eq!(server.connections(), 1);
    // One whose answer nobody reads is not used again, and is not waited for.
    drop(client.send(get(&server.url("/f"))).await.unwrap());
    client.send(get(&server.url("/g"))).await.unwrap().bytes(100).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_costs_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let closing = tokio::spawn(async move {
        for _ in 0..3 {
            let (stream, _) = listener.accept().await.unwrap();
            hostile::answer_once(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    });
    let client = client();
    for _ in 0..3 {
        assert_eq!(client.send(get(&url)).await.unwrap().bytes(9).await.unwrap(), "ok");
    }
    closing.await.unwrap();
}

#[tokio::test]
async fn a_request_says_whom_it_asks_and_who_it_is() {
    let server = Served::by(|request| {
        let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let said = [header("host"), header("user-agent"), header("accept-encoding"), header("content-length")];
        Answer::new(Body::from(format!("{said:?}")))
    })
    .await;
    let settings = Settings { user_agent: "crawler/1 (+https://a.example)".to_owned(), ..Settings::default() };
    let client = client_with(settings, Timeouts::default());
    let request = Request::post(server.url("/")).body(Body::from("four")).unwrap();
    let said = client.send(request).await.unwrap().bytes(1000).await.unwrap();
    let host = server.address.to_string();
    let wanted = [Some(&*host), Some("crawler/1 (+https://a.example)"), Some("gzip, deflate"), Some("4")];
    assert_eq!(said, format!("{wanted:?}"));
}

#[tokio::test]
async fn encodings_are_taken_off() {
    let text = "the same line again\n".repeat(20_000);
    let answered = text.clone();
    let server = Served::by(move |request| {
        let content = answered.as_bytes();
        match request.uri().path() {
            "/gzip" => encoded("gzip", gzip(content)),
            "/zlib" => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(content).unwrap();
                encoded("deflate", encoder.finish().unwrap())
            }
            "/raw" => {
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(content).unwrap();
                encoded("deflate", encoder.finish().unwrap())
            }
            "/followed" => encoded("gzip", [gzip(content), b"rubbish".to_vec()].concat()),
            "/cut" => encoded("gzip", gzip(content)[..300].to_vec()),
            "/twice" => encoded("gzip, gzip", gzip(&gzip(content))),
            "/other" => encoded("br", content.to_vec()),
            "/none" => encoded("gzip", Vec::new()),
            _ => Answer::new(Body::from(content.to_vec())),
        }
    })
    .await;
    let client = client();
    let body = async |path: &str| client.send(get(&server.url(path))).await.unwrap().bytes(1 << 20).await;
    for path in ["/gzip", "/zlib", "/raw", "/followed", "/plain"] {
        assert!(body(path).await.unwrap() == text, "{path}");
    }
    assert_eq!(body("/none").await.unwrap(), "");
    for path in ["/cut", "/twice", "/other"] {
        assert!(matches!(body(path).await, Err(HttpError::Encoding)), "{path}");
    }
    let streamed = client.send(get(&server.url("/gzip"))).await.unwrap().stream(1 << 20);
    let pieces: Vec<Bytes> = streamed.try_collect().await.unwrap();
    assert!(pieces.len() > 1 && pieces.concat() == text.as_bytes());
}

#[tokio::test]
async fn an_answer_larger_than_its_limit_is_refused() {
    let server = Served::by(|request| match request.uri().path() {
        "/gzip" => encoded("gzip", gzip(&[0; 1001])),
        _ => Answer::new(Body::from(vec![b' '; 1000])),
    })
    .await;
    let client = client();
    assert_eq!(client.send(get(&server.url("/"))).await.unwrap().bytes(1000).await.unwrap().len(), 1000);
    assert!(matches!(client.send(get(&server.url("/"))).await.unwrap().bytes(999).await, Err(HttpError::TooLarge)));
    assert!(matches!(
        client.send(get(&server.url("/gzip"))).await.unwrap().bytes(1000).await,
        Err(HttpError::TooLarge)
    ));
    let wrong = client.send(get(&server.url("/"))).await.unwrap().json::<serde_json::Value>(1000).await;
    assert!(matches!(wrong, Err(HttpError::Json)));
}

#[tokio::test]
async fn redirects_are_followed_when_asked_for() {
    let server = Served::by(|request| match request.uri().path() {
        "/end" => Answer::new(Body::from(request.method().to_string())),
        "/loop" => moved("/loop"),
        path => moved(if path == "/3" {
            "/2"
        } else if path == "/2" {
            "1"
        } else {
            "/end"
        }),
    })
    .await;
    let response = client().send(get(&server.url("/3"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::FOUND, "none by default");
    let response = following().send(get(&server.url("/3"))).await.unwrap();
    assert_eq!(response.address().as_str(), server.url("/end"));
    assert_eq!(response.bytes(10).await.unwrap(), "GET");
    for path in ["/4", "/loop"] {
        let ended = following().send(get(&server.url(path))).await;
        let too_many = path == "/loop";
        assert_eq!(matches!(ended, Err(HttpError::Redirect)), too_many, "{path}");
    }
    let posted = Request::post(server.url("/1")).body(Body::from("form")).unwrap();
    assert_eq!(following().send(posted).await.unwrap().bytes(10).await.unwrap(), "GET");
}

fn moved(location: &str) -> Answer<Body> {
    Answer::builder().status(302).header(header::LOCATION, location).body(Body::default()).unwrap()
}

#[tokio::test]
async fn each_hop_is_judged_anew() {
    let server = Served::by(|request| {
        moved(match request.uri().path() {
            "/metadata" => "http://169.254.169.254/latest/meta-data/",
            "/name" => "http://metadata.google.internal/",
            "/odd" => "http://0xa9.0xfe.0xa9.0xfe/",
            _ => "http://[::ffff:169.254.169.254]/",
        })
    })
    .await;
    for path in ["/metadata", "/name", "/odd", "/mapped"] {
        let refused = following().send(get(&server.url(path))).await;
        assert!(matches!(refused, Err(HttpError::Dial(DialError::AddressBlocked))), "{path}: {refused:?}");
    }
}

#[tokio::test]
async fn plain_text_goes_to_this_machine_alone_unless_somebody_said_so() {
    let dialer = Arc::new(Dialer::new(
        Policy { local_allowed: true, ..Policy::default() },
        Timeouts { connect: Duration::from_millis(200), ..Timeouts::default() },
    ));
    let server = Served::by(|_| Answer::new(Body::default())).await;
    assert!(Client::new(dialer, Settings::default()).send(get(&server.url("/"))).await.is_ok());
    let mut report = Report::default();
    let address = Address::parse(&server.url("/")).unwrap();
    client().reach(&address, "config.url", &mut report).await.unwrap();
    assert_eq!(report.stages[2].code, Some("plain_text_allowed"));
}

#[tokio::test]
async fn a_test_says_at_which_stage_it_ends() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let plain = Served::by(|_| Answer::new(Body::default())).await;
    let table = [
        ("http://169.254.169.254/".to_owned(), StageKind::Resolve, "address_blocked"),
        ("http://no-such-host.invalid/".to_owned(), StageKind::Resolve, "unreachable"),
        (format!("http://{closed}/"), StageKind::Connect, "unreachable"),
        (format!("https://{}/", plain.address), StageKind::Tls, "tls_failed"),
    ];
    for (url, kind, code) in table {
        let mut report = Report::default();
        let error = client().reach(&Address::parse(&url).unwrap(), "config.url", &mut report).await.unwrap_err();
        let failed = report.first_failure().unwrap();
        assert_eq!((failed.kind, failed.code, error.code()), (kind, Some(code), code), "{url}");
        assert_eq!(report.stages.iter().filter(|stage| stage.kind == StageKind::Login).count(), 1);
        assert_eq!(report.stages.last().unwrap().outcome, Outcome::Skipped);
    }
    let client = client();
    let mut report = Report::default();
    client.reach(&Address::parse(&plain.url("/")).unwrap(), "config.url", &mut report).await.unwrap();
    client.send(get(&plain.url("/"))).await.unwrap();
    assert_eq!((report.stages.len(), plain.connections()), (3, 2), "the request uses the connection of the test");
}
