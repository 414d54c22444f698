//! The thread that polls the server, so that a slow answer does not block the screen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as threads;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use super::args::TopArgs;
use super::figures::Figures;
use super::source::{Question, Source};
use crate::error::CliError;

/// An event of the polling thread.
pub(super) enum News {
    /// The thread has found the source, which has this address.
    Found(String),
    Figures(Box<Figures>),
    /// A requested connection; `None` if it no longer exists.
    Connection(Option<Value>),
    Failed(CliError),
}

/// The screen's handle of the polling thread.
pub(super) struct Feed {
    pub(super) news: threads::Receiver<News>,
    questions: mpsc::UnboundedSender<u64>,
    wishes: Arc<Wishes>,
}

/// What the screen requires of the polling thread.
#[derive(Default)]
struct Wishes {
    is_paused: AtomicBool,
    /// Whether to request closed connections.
    has_closed: AtomicBool,
}

impl Feed {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread can't be started.
    pub(super) fn start(args: TopArgs) -> Result<Self, CliError> {
        let (sender, news) = threads::channel();
        let (questions, asked) = mpsc::unbounded_channel();
        let wishes = Arc::new(Wishes::default());
        let work = {
            let wishes = wishes.clone();
            move || look(&args, &sender, asked, &wishes)
        };
        std::thread::Builder::new().name("top".to_owned()).spawn(work).map_err(CliError::Runtime)?;
        Ok(Self { news, questions, wishes })
    }

    /// Requests a connection with its subscriptions.
    pub(super) fn ask_connection(&self, id: u64) {
        // A thread that has ended has already sent its error.
        let _ = self.questions.send(id);
    }

    pub(super) fn pause(&self, is_paused: bool) {
        self.wishes.is_paused.store(is_paused, Ordering::Relaxed);
    }

    pub(super) fn want_closed(&self, has_closed: bool) {
        self.wishes.has_closed.store(has_closed, Ordering::Relaxed);
    }
}

fn look(args: &TopArgs, news: &threads::Sender<News>, asked: mpsc::UnboundedReceiver<u64>, wishes: &Wishes) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime);
    let result = runtime.and_then(|runtime| runtime.block_on(look_again(args, news, asked, wishes)));
    if let Err(error) = result {
        let _ = news.send(News::Failed(error));
    }
}

/// Polls the server until the screen's handle is dropped.
async fn look_again(
    args: &TopArgs,
    news: &threads::Sender<News>,
    mut asked: mpsc::UnboundedReceiver<u64>,
    wishes: &Wishes,
) -> Result<(), CliError> {
    let mut source = Source::open(args).await?;
    if news.send(News::Found(source.name())).is_err() {
        return Ok(());
    }
    loop {
        if !wishes.is_paused.load(Ordering::Relaxed) {
            let figures = figures(&mut source, wishes.has_closed.load(Ordering::Relaxed)).await;
            let told = figures.map_or_else(News::Failed, |figures| News::Figures(Box::new(figures)));
            if news.send(told).is_err() {
                return Ok(());
            }
        }
        let pause = tokio::time::sleep(args.interval.max(Duration::from_millis(50)));
        tokio::pin!(pause);
        loop {
            let id = tokio::select! {
                id = asked.recv() => id,
                () = &mut pause => break,
            };
            let Some(id) = id else { return Ok(()) };
            let told = match source.ask(&Question::Connection(id)).await {
                Ok(answer) => {
                    let mut page: Value = serde_json::from_slice(&answer).unwrap_or_default();
                    News::Connection(page["connections"].get_mut(0).map(Value::take))
                }
                Err(error) => News::Failed(error),
            };
            if news.send(told).is_err() {
                return Ok(());
            }
        }
    }
}

async fn figures(source: &mut Source, has_closed: bool) -> Result<Figures, CliError> {
    let variables = source.ask(&Question::Variables).await?;
    let connections = source.ask(&Question::Connections).await?;
    let streams = source.ask(&Question::Streams).await?;
    let closed = match has_closed {
        true => Some(source.ask(&Question::Closed).await?),
        false => None,
    };
    Figures::read(&variables, &connections, &streams, closed.as_deref())
        .map_err(|error| CliError::Client(format!("the server's figures are no JSON: {error}")))
}
