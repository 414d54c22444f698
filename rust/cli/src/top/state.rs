//! The state of the screen, and the actions of keys.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;

use super::args::View;
use super::feed::{Feed, News};
use super::figures::Figures;
use super::table::{Order, Row, columns};
use crate::error::CliError;
use crate::output::shown;

/// Maximum number of rates for the sparklines.
const HISTORY: usize = 400;

/// The effect of a key on the command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    Quit,
    Interrupt,
}

/// The details of a row.
#[derive(Debug, Default)]
pub(super) struct Details {
    pub(super) title: String,
    pub(super) lines: Vec<String>,
    /// Index of the first visible line.
    pub(super) top: usize,
}

/// The state of the screen.
pub(super) struct State {
    pub(super) source: String,
    pub(super) view: View,
    orders: [Order; View::ALL.len()],
    /// The rows of the current view.
    pub(super) rows: Vec<Row>,
    pub(super) selected: usize,
    pub(super) figures: Option<Figures>,
    before: Option<Figures>,
    /// Messages a second, in and out; the newest last.
    pub(super) rates: [VecDeque<u64>; 2],
    /// Bytes a second between the last two figures, in and out.
    pub(super) byte_rates: [f64; 2],
    pub(super) is_paused: bool,
    /// The filter while the user types it.
    pub(super) typed: Option<String>,
    pub(super) details: Option<Details>,
    pub(super) error: Option<String>,
    /// Number of rows that fit on the screen.
    pub(super) room: usize,
}

impl State {
    pub(super) fn new(view: View) -> Self {
        Self {
            source: String::new(),
            view,
            orders: View::ALL.map(Order::of),
            rows: Vec::new(),
            selected: 0,
            figures: None,
            before: None,
            rates: [VecDeque::new(), VecDeque::new()],
            byte_rates: [0.0; 2],
            is_paused: false,
            typed: None,
            details: None,
            error: None,
            room: 1,
        }
    }

    pub(super) fn order(&self) -> &Order {
        &self.orders[self.view as usize]
    }

    fn order_mut(&mut self) -> &mut Order {
        &mut self.orders[self.view as usize]
    }

    /// Processes an event of the feed.
    ///
    /// # Errors
    /// The server's first figures can't be read.
    pub(super) fn take(&mut self, news: News) -> Result<(), CliError> {
        match news {
            News::Found(source) => self.source = source,
            News::Figures(figures) => self.take_figures(*figures),
            News::Connection(found) => {
                if let Some(details) = &mut self.details {
                    details.lines =
                        found.map_or_else(|| vec!["it has gone".to_owned()], |value| told(&value));
                }
            }
            News::Failed(error) if self.figures.is_none() => return Err(error),
            News::Failed(error) => self.error = Some(error.to_string()),
        }
        Ok(())
    }

    fn take_figures(&mut self, figures: Figures) {
        self.error = None;
        if self.is_paused {
            return;
        }
        if let Some(before) = &self.figures {
            let seconds = figures.at.duration_since(before.at).as_secs_f64().max(0.001);
            let (new, old) = (&figures.variables, &before.variables);
            let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
            for (rates, rate) in
                self.rates.iter_mut().zip([rate(new.in_msgs, old.in_msgs), rate(new.out_msgs, old.out_msgs)])
            {
                rates.push_back(rate.round() as u64);
                if rates.len() > HISTORY {
                    rates.pop_front();
                }
            }
            self.byte_rates = [rate(new.in_bytes, old.in_bytes), rate(new.out_bytes, old.out_bytes)];
        }
        self.before = self.figures.replace(figures);
        self.arrange();
    }

    /// Rebuilds the rows of the view; the selected row stays selected.
    fn arrange(&mut self) {
        let selected = self.rows.get(self.selected).map(|row| row.id.clone());
        let rows = self.figures.as_ref().map(|figures| figures.rows(self.view, self.before.as_ref()));
        self.rows = self.order().apply(rows.unwrap_or_default());
        let same = self.rows.iter().position(|row| Some(&row.id) == selected.as_ref());
        self.selected = same.unwrap_or(self.selected).min(self.rows.len().saturating_sub(1));
    }

    /// Switches to another view.
    fn show(&mut self, view: View, feed: &Feed) {
        self.view = view;
        self.rows.clear();
        self.selected = 0;
        feed.want_closed(view == View::Slow);
        self.arrange();
    }

    /// Performs the action of a key.
    pub(super) fn press(&mut self, key: KeyEvent, feed: &Feed, shown_columns: usize) -> Next {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Next::Interrupt;
        }
        if self.typed.is_some() {
            self.type_filter(key.code);
            return Next::Go;
        }
        if self.details.is_some() {
            return self.press_in_details(key.code);
        }
        match key.code {
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Char(digit @ '1'..='5') => {
                let index = digit as usize - '1' as usize;
                self.show(View::ALL[index], feed);
            }
            KeyCode::Tab => self.show(View::ALL[(self.view as usize + 1) % View::ALL.len()], feed),
            KeyCode::BackTab => {
                self.show(View::ALL[(self.view as usize + View::ALL.len() - 1) % View::ALL.len()], feed);
            }
            KeyCode::Char('s') => {
                let count = shown_columns.clamp(1, columns(self.view).len());
                let order = self.order_mut();
                order.column = (order.column + 1) % count;
                self.arrange();
            }
            KeyCode::Char('r') => {
                let order = self.order_mut();
                order.is_reversed = !order.is_reversed;
                self.arrange();
            }
            KeyCode::Char('p' | ' ') => {
                self.is_paused = !self.is_paused;
                feed.pause(self.is_paused);
            }
            KeyCode::Char('/') => self.typed = Some(self.order().filter.clone()),
            KeyCode::Esc => {
                self.order_mut().filter.clear();
                self.arrange();
            }
            KeyCode::Enter => self.open(feed),
            code => self.selected = moved(code, self.selected, self.rows.len(), self.room),
        }
        Next::Go
    }

    fn type_filter(&mut self, code: KeyCode) {
        let Some(typed) = &mut self.typed else { return };
        match code {
            KeyCode::Enter => self.typed = None,
            KeyCode::Esc => {
                self.typed = None;
                self.order_mut().filter.clear();
            }
            KeyCode::Backspace => drop(typed.pop()),
            KeyCode::Char(c) => typed.push(c),
            _ => {}
        }
        if let Some(typed) = self.typed.clone() {
            self.order_mut().filter = typed;
        }
        self.arrange();
    }

    fn press_in_details(&mut self, code: KeyCode) -> Next {
        let room = self.room;
        match (code, &mut self.details) {
            (KeyCode::Char('q') | KeyCode::Esc | KeyCode::Enter | KeyCode::Backspace, _) => {
                self.details = None
            }
            (code, Some(details)) => {
                let last = details.lines.len().saturating_sub(room) + 1;
                details.top = moved(code, details.top, last, room);
            }
            _ => {}
        }
        Next::Go
    }

    /// Opens the selected row: the consumers of a stream, or the details of anything else.
    fn open(&mut self, feed: &Feed) {
        let Some(row) = self.rows.get(self.selected) else { return };
        let id = row.id.clone();
        match self.view {
            View::Streams => {
                let name = row.cells.first().map(super::table::Cell::text).unwrap_or_default();
                self.orders[View::Consumers as usize].filter = name;
                self.show(View::Consumers, feed);
            }
            View::Connections | View::Slow => {
                if let Ok(cid) = id.parse() {
                    feed.ask_connection(cid);
                    let lines = vec!["asking the server".to_owned()];
                    self.details = Some(Details { title: format!("connection {cid}"), lines, top: 0 });
                }
            }
            View::Consumers | View::Buckets => {
                let found = self.figures.as_ref().and_then(|figures| figures.details(self.view, &id));
                let title = id.split('\n').skip(1).collect::<Vec<_>>().join(" > ");
                self.details = found.map(|value| Details { title, lines: told(&value), top: 0 });
            }
        }
    }
}

/// Returns the position in a list after a key.
fn moved(code: KeyCode, at: usize, count: usize, room: usize) -> usize {
    let last = count.saturating_sub(1);
    match code {
        KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => (at + 1).min(last),
        KeyCode::PageUp => at.saturating_sub(room),
        KeyCode::PageDown => (at + room).min(last),
        KeyCode::Home | KeyCode::Char('g') => 0,
        KeyCode::End | KeyCode::Char('G') => last,
        _ => at,
    }
}

/// Formats the fields of a value, one a line; the names of nested fields are joined by dots.
fn told(value: &Value) -> Vec<String> {
    fn add(lines: &mut Vec<String>, name: &str, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (inner, value) in fields {
                    let name = if name.is_empty() { inner.clone() } else { format!("{name}.{inner}") };
                    add(lines, &name, value);
                }
            }
            Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
                let items: Vec<String> = items.iter().map(plain).collect();
                lines.push(shown(&format!("{name}: {}", items.join("  "))));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| add(lines, &format!("{name}[{i}]"), item));
            }
            value => lines.push(shown(&format!("{name}: {}", plain(value)))),
        }
    }
    let mut lines = Vec::new();
    add(&mut lines, "", value);
    lines
}

/// Formats a value; texts without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_stay_within_the_list() {
        let keys =
            [KeyCode::Up, KeyCode::Down, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home, KeyCode::End];
        assert_eq!(keys.map(|key| moved(key, 5, 10, 3)), [4, 6, 2, 8, 0, 9]);
        assert_eq!(keys.map(|key| moved(key, 0, 0, 3)), [0; 6]);
    }

    #[test]
    fn details_are_lines_without_control_characters() {
        let value = json!({ "a": { "b\n": "\u{1b}[2J", "c": [1, "x"] }, "d": [{ "e": true }] });
        assert_eq!(told(&value), ["a.b\\n: \\u{1b}[2J", "a.c: 1  x", "d[0].e: true"]);
    }
}
