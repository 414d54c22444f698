//! `stonechat top`: shows a server's activity, updated each second.

mod args;
mod draw;
mod feed;
mod figures;
mod source;
mod state;
mod table;

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use serde_json::{Value, json};

pub(crate) use self::args::TopArgs;
use self::feed::Feed;
use self::source::{Question, Source};
use self::state::{Next, State};
use crate::error::CliError;

/// Maximum wait for a key before checking for new figures.
const GLANCE: Duration = Duration::from_millis(50);

/// Runs `stonechat top`. It blocks on the terminal, so it does not run on an async runtime.
pub(crate) fn run(args: TopArgs) -> Result<(), CliError> {
    if args.jetstream.json {
        return once(&args);
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(CliError::Client("top needs a terminal; --json prints the figures once".to_owned()));
    }
    let mut state = State::new(args.view);
    let feed = Feed::start(args)?;
    // Errors before the first figures are printed on the normal screen.
    while state.figures.is_none() {
        match feed.news.recv_timeout(GLANCE) {
            Ok(news) => state.take(news)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(CliError::ConnectionLost),
        }
    }
    let mut terminal = ratatui::try_init().map_err(CliError::Output)?;
    let result = show(&mut terminal, &mut state, &feed);
    ratatui::restore();
    result
}

/// Draws until the user quits.
fn show(terminal: &mut DefaultTerminal, state: &mut State, feed: &Feed) -> Result<(), CliError> {
    let mut is_stale = true;
    loop {
        if is_stale {
            terminal.draw(|frame| draw::draw(frame, state)).map_err(CliError::Output)?;
            is_stale = false;
        }
        // Process all pending keys before the next drawing.
        let mut patience = GLANCE;
        while event::poll(patience).map_err(CliError::Output)? {
            patience = Duration::ZERO;
            is_stale = true;
            if let Event::Key(key) = event::read().map_err(CliError::Output)? {
                if key.kind != KeyEventKind::Press {
                    continue;
                }
                let width = terminal.size().map_err(CliError::Output)?.width;
                match state.press(key, feed, draw::columns_shown(state.view, width)) {
                    Next::Go => {}
                    Next::Quit => return Ok(()),
                    Next::Interrupt => return Err(CliError::Interrupted),
                }
            }
        }
        loop {
            match feed.news.try_recv() {
                Ok(news) => {
                    state.take(news)?;
                    is_stale = true;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(CliError::ConnectionLost),
            }
        }
    }
}

/// Prints the server's figures once, as JSON.
fn once(args: &TopArgs) -> Result<(), CliError> {
    crate::block_on(async {
        let mut source = Source::open(args).await?;
        let mut told = json!({});
        for (name, question) in
            [("varz", Question::Variables), ("connz", Question::Connections), ("jsz", Question::Streams)]
        {
            let answer = source.ask(&question).await?;
            let value: Value = serde_json::from_slice(&answer)
                .map_err(|error| CliError::Client(format!("the server's answer is no JSON: {error}")))?;
            told[name] = value;
        }
        crate::output::json(&told)
    })
}
