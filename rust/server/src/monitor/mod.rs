//! Monitoring over HTTP.

mod connz;
mod indent;
mod jsz;
mod pieces;
mod query;
mod subsz;
mod varz;

use crate::jetstream::JetStream;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use indent::indent;
use jsz::Health;
use parking_lot::Mutex;
use pieces::Pieces;
use query::{BadQuery, Query};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use stonechat_broker::Broker;
use stonechat_config::Options;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, error};

/// The paths of all endpoints.
const PATHS: [&str; 7] = ["/", "/varz", "/connz", "/subsz", "/subscriptionsz", "/jsz", "/healthz"];

/// The longest time in which a connection must send the headers of a request, the first one or the next.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// The wait after a failed accept. Usually there is no free file descriptor, and soon there may be one.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// A document that the program which embeds the server can request.
#[derive(Clone, Copy)]
pub(crate) enum Document {
    /// `/connz`.
    Connections,
    /// `/jsz`.
    JetStream,
}

/// The data behind the endpoints.
#[derive(Clone)]
pub(crate) struct MonitorState {
    broker: Arc<Broker>,
    options: Arc<dyn Fn() -> Arc<Options> + Send + Sync>,
    /// Returns JetStream if it runs.
    jetstream: Arc<dyn Fn() -> Option<Arc<JetStream>> + Send + Sync>,
    addr: Option<SocketAddr>,
    base: Arc<str>,
    config_loaded: SystemTime,
    requests: Arc<Mutex<BTreeMap<String, u64>>>,
    long_answers: Arc<Semaphore>,
}

impl MonitorState {
    pub(crate) fn new(
        broker: Arc<Broker>,
        options: Arc<dyn Fn() -> Arc<Options> + Send + Sync>,
        jetstream: Arc<dyn Fn() -> Option<Arc<JetStream>> + Send + Sync>,
        addr: Option<SocketAddr>,
        now: &Options,
    ) -> Self {
        let base = now.http_base_path.trim_end_matches('/').into();
        Self {
            broker,
            options,
            jetstream,
            addr,
            base,
            config_loaded: SystemTime::now(),
            requests: Arc::default(),
            long_answers: Arc::new(Semaphore::new(1)),
        }
    }

    /// Returns the document of `/connz` or `/jsz` for a query string, in JSON, without HTTP.
    ///
    /// # Errors
    /// Fails if the query is wrong or JetStream does not answer.
    pub(crate) fn document(&self, of: Document, query: &str) -> Result<String, String> {
        let query = Query::parse(query);
        let made = match of {
            Document::Connections => self.connz(&query).map_err(Refusal::from),
            Document::JetStream => self.jsz(&query),
        };
        made.map_err(|(Refusal::BadQuery(text) | Refusal::Unavailable(text))| text)
    }

    fn count(&self, path: &str) {
        *self.requests.lock().entry(path.into()).or_default() += 1;
    }
}

/// Serves connections until `stop` is true; then open requests are dropped.
pub(crate) async fn serve(listener: TcpListener, state: MonitorState, mut stop: watch::Receiver<bool>) {
    let app = router(state);
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    tokio::pin!(stopped);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut stopped => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, app.clone(), HEADERS_WITHIN));
                }
                Err(error) => {
                    error!("Error on the http monitor: {error}");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
        }
    }
}

fn router(state: MonitorState) -> Router {
    let mut app = Router::new();
    for path in PATHS {
        let full = format!("{}{path}", state.base);
        let handler = move |State(state): State<MonitorState>, request: Request| {
            answer(state, path, Query::parse(request.uri().query().unwrap_or_default()))
        };
        app = app.route(&full, axum::routing::any(handler));
    }
    app.fallback(async || {
        response(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n".into())
    })
    .with_state(state)
}

/// Serves one connection. It is closed if the headers of a request don't arrive in time.
async fn serve_connection(stream: TcpStream, app: Router, headers_within: Duration) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(headers_within)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    if let Err(error) = served.await {
        debug!("A connection to the http monitor failed: {error}");
    }
}

async fn answer(state: MonitorState, path: &'static str, query: Query) -> Response {
    state.count(path);
    match path {
        "/" => html(&state.base),
        "/healthz" => aside(state, move |state| healthz(state, &query)).await,
        "/varz" => aside(state, move |state| pretty(Ok::<_, Refusal>(state.varz().to_string()))).await,
        "/jsz" => aside(state, move |state| pretty(state.jsz(&query))).await,
        "/connz" => aside(state, move |state| pretty(state.connz(&query))).await,
        _ => aside(state, move |state| pretty(state.subsz(&query))).await,
    }
}

/// Makes a response on a blocking thread, so that no client connection waits for it. Only one is made at a time.
async fn aside(
    state: MonitorState,
    make: impl FnOnce(&MonitorState) -> Response + Send + 'static,
) -> Response {
    let _turn = state.long_answers.clone().acquire_owned().await;
    let made = tokio::task::spawn_blocking(move || make(&state)).await;
    made.unwrap_or_else(|_| response(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", String::new()))
}

/// The reason why a request gets no document.
enum Refusal {
    /// The query is invalid.
    BadQuery(String),
    /// JetStream does not answer.
    Unavailable(String),
}

impl From<BadQuery> for Refusal {
    fn from(BadQuery(text): BadQuery) -> Self {
        Self::BadQuery(text)
    }
}

fn pretty(made: Result<String, impl Into<Refusal>>) -> Response {
    match made.map_err(Into::into) {
        Ok(json) => json_response(StatusCode::OK, indent(&json)),
        Err(Refusal::BadQuery(text)) => response(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", text),
        Err(Refusal::Unavailable(error)) => {
            let body = json!({ "status": "unavailable", "error": error });
            json_response(StatusCode::SERVICE_UNAVAILABLE, body.to_string())
        }
    }
}

/// Returns the response of `/healthz`. Invalid queries are answered without JetStream.
fn healthz(state: &MonitorState, query: &Query) -> Response {
    if let Some(BadQuery(text)) =
        ["js-enabled", "js-enabled-only", "js-server-only", "js-meta-only", "details"]
            .iter()
            .find_map(|k| query.boolean(k).err())
    {
        return response(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", text);
    }
    let (account, stream, consumer) = (query.text("account"), query.text("stream"), query.text("consumer"));
    let missing = match (account.is_empty(), stream.is_empty(), consumer.is_empty()) {
        (true, false, _) => "\"account\" must not be empty when checking stream health",
        (_, true, false) => "\"stream\" must not be empty when checking consumer health",
        _ => return jetstream_health(state, query),
    };
    let body = match query.boolean("details") {
        Ok(true) => json!({ "status": "error", "errors": [{ "type": "BAD_REQUEST", "error": missing }] }),
        _ => json!({ "status": "error", "error": missing }),
    };
    json_response(StatusCode::BAD_REQUEST, body.to_string())
}

/// Returns the health of JetStream, and of the account, stream and consumer in the query.
fn jetstream_health(state: &MonitorState, query: &Query) -> Response {
    let (account, stream, consumer) = (query.text("account"), query.text("stream"), query.text("consumer"));
    let (status, kind, error) = match state.jetstream_health(query) {
        Ok(Health::Good) => return json_response(StatusCode::OK, json!({ "status": "ok" }).to_string()),
        Ok(Health::Unavailable(error)) => (StatusCode::SERVICE_UNAVAILABLE, "JETSTREAM", error),
        Ok(Health::Missing(error)) => {
            let kind = match (stream.is_empty(), consumer.is_empty()) {
                (true, _) => "ACCOUNT",
                (_, true) => "STREAM",
                _ => "CONSUMER",
            };
            (StatusCode::NOT_FOUND, kind, error)
        }
        Err(BadQuery(text)) => return response(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", text),
    };
    let body = match query.boolean("details") {
        Ok(true) => {
            let mut item = json!({ "type": kind });
            let names = [("account", account), ("stream", stream), ("consumer", consumer)];
            for (name, value) in
                names.into_iter().filter(|(_, value)| kind != "JETSTREAM" && !value.is_empty())
            {
                item[name] = json!(value);
            }
            item["error"] = json!(error);
            json!({ "status": "error", "errors": [item] })
        }
        _ => json!({ "status": "unavailable", "error": error }),
    };
    json_response(status, body.to_string())
}

fn json_response(status: StatusCode, body: String) -> Response {
    let mut response = response(status, "application/json", body);
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::new(Pieces::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn html(base: &str) -> Response {
    let items: String = PATHS[1..]
        .iter()
        .filter(|p| **p != "/subscriptionsz")
        .map(|p| format!("<li><a href=\"{base}{p}\">{}</a></li>", p.trim_start_matches('/')))
        .collect();
    let page = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Stonechat</title>\
         <style>body{{font-family:sans-serif;margin:3rem auto;max-width:40rem}}li{{margin:.5rem 0;font-size:1.2rem}}</style>\
         </head><body><h1>Stonechat</h1><p>What this server is, has and does:</p><ul>{items}</ul></body></html>"
    );
    response(StatusCode::OK, "text/html; charset=utf-8", page)
}

/// Returns a time in the form that monitoring shows.
fn time(time: SystemTime) -> Value {
    Value::String(crate::time::rfc3339(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A connection that sends no request, or only a part of one, is closed.
    #[tokio::test]
    async fn a_connection_that_never_asks_is_closed() {
        for said in ["", "GET /varz HTTP/1.1\r\nHost"] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            peer.write_all(said.as_bytes()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut got = Vec::new();
            let ((), read) = tokio::join!(
                serve_connection(stream, Router::new(), Duration::from_millis(20)),
                peer.read_to_end(&mut got),
            );
            assert!(read.is_ok());
        }
    }
}
