//! The table of a view: its columns, and the selection and order of its rows.

use std::cmp::Ordering;

use super::args::View;
use crate::output::{bytes, commas};

/// A field of a row.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Text(String),
    Number(f64),
    Bytes(f64),
    /// A number a second.
    Rate(f64),
}

impl Cell {
    /// Returns the text of the cell.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => commas(*number as u64),
            Self::Bytes(number) => bytes(*number as u64),
            Self::Rate(number) => rate(*number),
        }
    }

    /// Returns the number to sort by; zero for a text.
    pub(super) fn number(&self) -> f64 {
        match self {
            Self::Text(_) => 0.0,
            Self::Number(number) | Self::Bytes(number) | Self::Rate(number) => *number,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            // The greatest number comes first.
            _ => other.number().total_cmp(&self.number()),
        }
    }

    fn contains(&self, filter: &str) -> bool {
        match self {
            Self::Text(text) => text.to_lowercase().contains(filter),
            _ => self.text().contains(filter),
        }
    }
}

/// Formats a rate like `12.3`, `4,567` or `1.2M`.
pub(super) fn rate(number: f64) -> String {
    match number {
        number if number < 99.95 => format!("{:.1}", number),
        number if number < 999_999.5 => commas(number.round() as u64),
        number => format!("{:.2}M", number / 1e6),
    }
}

/// A line of a table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Identity of the row's object, the same in all figures.
    pub(super) id: String,
    pub(super) cells: Vec<Cell>,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Minimum width in characters.
    pub(super) width: u16,
    /// Whether the column takes the remaining width.
    pub(super) is_wide: bool,
    /// Whether its texts are aligned to the right.
    pub(super) is_number: bool,
}

const fn number(title: &'static str, width: u16) -> Column {
    Column { title, width, is_wide: false, is_number: true }
}

const fn text(title: &'static str, width: u16) -> Column {
    Column { title, width, is_wide: false, is_number: false }
}

const fn wide(title: &'static str, width: u16) -> Column {
    Column { title, width, is_wide: true, is_number: false }
}

const CONNECTIONS: &[Column] = &[
    number("cid", 7),
    wide("connection", 22),
    number("in/s", 8),
    number("out/s", 8),
    number("pending", 8),
    number("subs", 6),
    text("uptime", 8),
    text("account", 8),
    text("user", 8),
    text("rtt", 9),
    text("client", 14),
    number("in", 8),
    number("out", 8),
    text("idle", 8),
];

const STREAMS: &[Column] = &[
    wide("stream", 20),
    number("messages", 12),
    number("size", 8),
    number("in/s", 8),
    number("consumers", 9),
    number("subjects", 10),
    text("storage", 7),
    number("first", 12),
    number("last", 12),
    text("account", 8),
    text("of", 16),
];

const CONSUMERS: &[Column] = &[
    wide("stream", 14),
    wide("consumer", 14),
    number("lag", 10),
    number("unacked", 8),
    number("again", 6),
    number("waiting", 7),
    text("mode", 5),
    number("delivered", 12),
    number("acked to", 12),
    text("acks", 8),
    text("account", 8),
];

const BUCKETS: &[Column] = &[
    wide("bucket", 20),
    text("kind", 7),
    number("keys", 10),
    number("values", 10),
    number("size", 8),
    number("history", 7),
    number("watchers", 8),
    number("revision", 12),
    text("account", 8),
];

const SLOW: &[Column] = &[
    number("cid", 7),
    wide("connection", 24),
    number("pending", 9),
    text("state", 6),
    text("reason", 24),
    text("account", 8),
];

/// Returns the columns of a view; if the screen is too narrow, the last ones are left out.
pub(super) fn columns(view: View) -> &'static [Column] {
    match view {
        View::Connections => CONNECTIONS,
        View::Streams => STREAMS,
        View::Consumers => CONSUMERS,
        View::Buckets => BUCKETS,
        View::Slow => SLOW,
    }
}

/// Selection and order of the rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// Index of the column to sort by.
    pub(super) column: usize,
    pub(super) is_reversed: bool,
    /// Only rows that contain this text are shown.
    pub(super) filter: String,
}

impl Order {
    /// Returns the initial order of a view: rows that may need attention come first.
    pub(super) fn of(view: View) -> Self {
        let column = match view {
            View::Connections => 3,
            View::Streams => 1,
            View::Consumers | View::Slow => 2,
            View::Buckets => 3,
        };
        Self { column, ..Self::default() }
    }

    /// Returns the selected rows, sorted.
    pub(super) fn apply(&self, mut rows: Vec<Row>) -> Vec<Row> {
        let filter = self.filter.to_lowercase();
        if !filter.is_empty() {
            rows.retain(|row| row.cells.iter().any(|cell| cell.contains(&filter)));
        }
        rows.sort_by(|one, other| {
            let order = match (one.cells.get(self.column), other.cells.get(self.column)) {
                (Some(one), Some(other)) => one.compare(other),
                _ => Ordering::Equal,
            };
            let order = if self.is_reversed { order.reverse() } else { order };
            // Rows that compare equal keep their order from one update to the next.
            order.then_with(|| one.id.len().cmp(&other.id.len())).then_with(|| one.id.cmp(&other.id))
        });
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |id: &str, number| Row {
            id: id.to_owned(),
            cells: vec![Cell::Text(id.to_owned()), Cell::Number(number)],
        };
        vec![row("b", 1.0), row("a", 5.0), row("C10", 5.0), row("d", f64::NAN)]
    }

    fn shown(order: &Order) -> String {
        order.apply(rows()).iter().map(|row| row.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rows_are_sorted_and_filtered() {
        assert_eq!(shown(&Order { column: 1, ..Order::default() }), "d a C10 b");
        assert_eq!(shown(&Order { column: 1, is_reversed: true, ..Order::default() }), "b a C10 d");
        assert_eq!(shown(&Order { column: 0, ..Order::default() }), "C10 a b d");
        assert_eq!(shown(&Order { filter: "c1".to_owned(), ..Order::default() }), "C10");
        assert_eq!(shown(&Order { column: 99, ..Order::default() }), "a b d C10");
    }

    #[test]
    fn every_view_begins_with_a_column_that_it_has() {
        for view in View::ALL {
            assert!(Order::of(view).column < columns(view).len());
            let least: u16 = columns(view).iter().take(5).map(|column| column.width + 1).sum();
            assert!(least <= 80, "{view:?} has {least} columns");
        }
        assert_eq!([0.04, 99.9, 12_345.6, 2e6].map(rate), ["0.0", "99.9", "12,346", "2.00M"]);
    }
}
