//! Monitoring over HTTP: what the server is, has and does.

mod connz;
mod query;
mod subsz;
mod varz;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use parking_lot::Mutex;
use query::{BadQuery, Query};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;
use stonechat_broker::Broker;
use stonechat_config::Options;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::error;

/// The endpoints that there are.
const PATHS: [&str; 6] = ["/", "/varz", "/connz", "/subsz", "/subscriptionsz", "/healthz"];

/// What the endpoints look at.
#[derive(Clone)]
pub(crate) struct MonitorState {
    broker: Arc<Broker>,
    options: Arc<dyn Fn() -> Arc<Options> + Send + Sync>,
    addr: Option<SocketAddr>,
    base: Arc<str>,
    config_loaded: SystemTime,
    requests: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl MonitorState {
    pub(crate) fn new(
        broker: Arc<Broker>,
        options: Arc<dyn Fn() -> Arc<Options> + Send + Sync>,
        addr: Option<SocketAddr>,
        now: &Options,
    ) -> Self {
        let base = now.http_base_path.trim_end_matches('/').into();
        Self { broker, options, addr, base, config_loaded: SystemTime::now(), requests: Arc::default() }
    }

    fn count(&self, path: &str) {
        *self.requests.lock().entry(path.into()).or_default() += 1;
    }
}

/// Answers until told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    state: MonitorState,
    base: String,
    mut stop: watch::Receiver<bool>,
) {
    let base = base.trim_end_matches('/').to_string();
    let mut app = Router::new();
    for path in PATHS {
        let full = format!("{base}{path}");
        let handler = move |State(state): State<MonitorState>, request: Request| async move {
            answer(&state, path, &request)
        };
        app = app.route(&full, axum::routing::any(handler));
    }
    let app = app
        .fallback(async || {
            response(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n".into())
        })
        .with_state(state);
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        let _ = stop.wait_for(|stop| *stop).await;
    });
    if let Err(error) = server.await {
        error!("Error on the http monitor: {error}");
    }
}

fn answer(state: &MonitorState, path: &'static str, request: &Request) -> Response {
    state.count(path);
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let value = match path {
        "/" => return html(&state.base),
        "/healthz" => return healthz(&query),
        "/varz" => Ok(state.varz()),
        "/connz" => state.connz(&query),
        _ => state.subsz(&query),
    };
    match value {
        Ok(value) => json_response(StatusCode::OK, serde_json::to_string_pretty(&value).unwrap_or_default()),
        Err(BadQuery(text)) => response(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", text),
    }
}

/// Whether the server is healthy, and the questions about JetStream that can be answered without it.
fn healthz(query: &Query) -> Response {
    if let Some(BadQuery(text)) =
        ["js-enabled", "js-enabled-only", "js-server-only", "js-meta-only", "details"]
            .iter()
            .find_map(|k| query.boolean(k).err())
    {
        return response(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", text);
    }
    let missing = match (query.text("account"), query.text("stream"), query.text("consumer")) {
        ("", "", "") => None,
        ("", ..) => Some("\"account\" must not be empty when checking stream health"),
        (_, "", consumer) if !consumer.is_empty() => {
            Some("\"stream\" must not be empty when checking consumer health")
        }
        _ => None,
    };
    match missing {
        None => json_response(StatusCode::OK, json!({ "status": "ok" }).to_string()),
        Some(text) => {
            json_response(StatusCode::BAD_REQUEST, json!({ "status": "error", "error": text }).to_string())
        }
    }
}

fn json_response(status: StatusCode, body: String) -> Response {
    let mut response = response(status, "application/json", body);
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
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

/// A time as monitoring shows it.
fn time(time: SystemTime) -> Value {
    Value::String(crate::time::rfc3339(time))
}
