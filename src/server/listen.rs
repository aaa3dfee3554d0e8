//! Accepts connections and speaks HTTP/1.1 and HTTP/2 on each, over TLS or not, with
//! limits, until told to stop; then finishes what is under way.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _, service_fn};
use tracing::{debug, warn};

use super::admission::{Admission, Admitted};
use super::tls::Tls;
use super::traffic::answer::Answer;
use super::traffic::request::Timely;
use super::traffic::stream::Watched;
use super::traffic::{Patience, Traffic, Verdict};
use crate::auth::Peer;
use crate::config;

/// Bytes of answers that HTTP/2 may hold for one stream beyond what we count.
const SEND_BUFFER: usize = 64 * 1024;

/// What the doors of a server have in common. Cheap to clone.
#[derive(Clone)]
pub struct Doors {
    /// TLS, where it is spoken.
    pub tls: Option<Arc<Tls>>,
    /// Whether a proxy says who calls.
    pub behind_proxy: bool,
    /// How many may come in.
    pub admission: Admission,
    /// Limits of each connection.
    pub limits: Arc<config::Limits>,
    /// How long calls under way may take once the server stops.
    pub grace: Duration,
}

/// Serves until `stop`; returns when every connection has ended or the grace is
/// over.
pub async fn serve<S, B>(listener: TcpListener, doors: Doors, service: S, stop: CancellationToken)
where
    S: Service<Request<Timely<Incoming>>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => match doors.admission.admit(peer.ip()) {
                Ok(admitted) => {
                    let connection = Connection { doors: doors.clone(), peer, admitted };
                    connections.spawn(connection.serve(stream, service.clone(), stop.clone()));
                }
                Err(full) => ended(full.0),
            },
            Err(error) => {
                // Out of descriptors, mostly: others will end soon.
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(doors.grace, ended).await.is_err() {
        warn!("calls were cut off at the end of the grace");
    }
}

/// Counts a connection that we did not take, or ended.
fn ended(reason: &'static str) {
    metrics::counter!("tributary_connections_ended_total", "reason" => reason).increment(1);
}

/// A stream of HTTP's bytes, in the clear or out of TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

struct Connection {
    doors: Doors,
    peer: SocketAddr,
    admitted: Admitted,
}

impl Connection {
    async fn serve<S, B>(self, stream: TcpStream, service: S, stop: CancellationToken)
    where
        S: Service<Request<Timely<Incoming>>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !self.admitted.wait.is_zero() {
            metrics::counter!("tributary_connections_held_total").increment(1);
            tokio::select! {
                () = tokio::time::sleep(self.admitted.wait) => {}
                () = stop.cancelled() => return,
            }
        }
        let Some(stream) = self.open(stream, &stop).await else { return };
        let limits = self.doors.limits.clone();
        let traffic = Traffic::default();
        let stream = TokioIo::new(Watched::new(stream, traffic.clone()));
        let service = TowerToHyperService::new(self.counted(service, &traffic));
        let builder = builder(&limits);
        let connection = builder.serve_connection(stream, service);
        tokio::pin!(connection);

        let patience = Patience { headers: limits.header_time, reading: limits.write_time, idle: limits.idle_time };
        let mut watch = tokio::time::interval(patience.look_every());
        watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut leaving: Option<Instant> = None;
        let mut stopping = false;
        let result = loop {
            tokio::select! {
                result = &mut connection => break result,
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                now = watch.tick() => match traffic.verdict(now.into_std(), &patience) {
                    Verdict::GoOn => leaving = None,
                    Verdict::Leave => match leaving {
                        None => {
                            leaving = Some(Instant::now());
                            connection.as_mut().graceful_shutdown();
                        }
                        // It was told and stays.
                        Some(since) if since.elapsed() > patience.headers => return ended("idle"),
                        Some(_) => {}
                    },
                    Verdict::Cut(reason) => return ended(reason),
                },
            }
        };
        if leaving.is_some() {
            ended("idle");
        }
        if let Err(error) = result {
            debug!(peer = %self.peer, error = &*error, "a connection ended early");
        }
    }

    /// Makes the handshake, if there is one to make. A peer that cannot make it, or
    /// not in time, is gone.
    async fn open(&self, stream: TcpStream, stop: &CancellationToken) -> Option<Box<dyn Stream>> {
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.doors.tls else { return Some(Box::new(stream)) };
        let handshake = tokio::time::timeout(self.doors.limits.handshake, tls.acceptor().accept(stream));
        let outcome = match stop.run_until_cancelled(handshake).await? {
            Ok(Ok(stream)) => return Some(Box::new(stream)),
            Ok(Err(error)) => {
                debug!(peer = %self.peer, %error, "a TLS handshake failed");
                "failed"
            }
            Err(_) => "timed_out",
        };
        metrics::counter!("tributary_tls_handshakes_refused_total", "outcome" => outcome).increment(1);
        None
    }

    /// The service with each call noted, and with who is at the other end.
    fn counted<S, B>(
        &self,
        service: S,
        traffic: &Traffic,
    ) -> impl Service<Request<Incoming>, Response = Response<Answer<B>>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static
    + use<S, B>
    where
        S: Service<Request<Timely<Incoming>>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let (peer, traffic) = (Peer(self.peer.ip()), traffic.clone());
        let behind_proxy = self.doors.behind_proxy;
        let (body_time, most) = (self.doors.limits.body_time, self.doors.limits.max_unread);
        service_fn(move |request: Request<Incoming>| {
            let (service, traffic) = (service.clone(), traffic.clone());
            let mut request = request.map(|body| Timely::new(body, body_time));
            let caller = if behind_proxy { Peer(forwarded(request.headers()).unwrap_or(peer.0)) } else { peer };
            request.extensions_mut().insert(caller);
            async move {
                let call = traffic.begin(most).await;
                let response = service.oneshot(request).await?;
                Ok(response.map(|body| Answer::new(body, call)))
            }
        })
    }
}

/// Who calls, as the nearest proxy says: it adds the last address, and what stands
/// before that is whatever the caller wrote.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let text = last.rsplit(',').next()?.trim();
    text.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
}

fn builder(limits: &config::Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_headers(limits.max_headers)
        .max_buf_size(limits.max_header.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(count(limits.max_header))
        .max_concurrent_streams(count(limits.max_streams))
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(limits.ping_every)
        .keep_alive_timeout(limits.ping_time);
    builder
}
