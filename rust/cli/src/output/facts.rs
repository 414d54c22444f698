//! Names and values in two columns, divided into sections.

use std::fmt::Write;

use serde_json::Value;

use super::api::text_or_empty;
use super::text::shown;

/// One line of [`Facts`].
#[derive(Debug)]
enum Row {
    Section(String),
    Fact(String, String),
}

/// A heading, and names with their values: the output of `info` commands.
#[derive(Debug)]
pub(crate) struct Facts {
    heading: String,
    rows: Vec<Row>,
}

impl Facts {
    pub(crate) fn new(heading: String) -> Self {
        Self { heading, rows: Vec::new() }
    }

    /// Begins a section.
    pub(crate) fn section(&mut self, title: &str) {
        self.rows.push(Row::Section(title.to_owned()));
    }

    /// Adds a name and its value.
    pub(crate) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.rows.push(Row::Fact(shown(name), value.into()));
    }

    /// Adds a value, if there is one.
    pub(crate) fn add_some(&mut self, name: &str, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    /// Adds a section with the user's metadata. The server's own entries, which begin with `_nats.`, are left out.
    pub(crate) fn add_metadata(&mut self, metadata: &Value) {
        let pairs = metadata.as_object().into_iter().flatten();
        let mut own = pairs.filter(|(name, _)| !name.starts_with("_nats.")).peekable();
        if own.peek().is_some() {
            self.section("Metadata");
        }
        own.for_each(|(name, value)| self.add(name, text_or_empty(value)));
    }

    /// Returns the text; names are aligned at their ends.
    pub(crate) fn render(&self) -> String {
        let width = |name: &str| name.chars().count();
        let longest = self.rows.iter().map(|row| match row {
            Row::Fact(name, _) => width(name),
            Row::Section(_) => 0,
        });
        let longest = longest.max().unwrap_or(0);
        let mut text = format!("{}\n\n", self.heading);
        for (i, row) in self.rows.iter().enumerate() {
            // Writing to a string can't fail.
            let _ = match row {
                Row::Section(title) if i == 0 => writeln!(text, "{title}:\n"),
                Row::Section(title) => writeln!(text, "\n{title}:\n"),
                Row::Fact(name, value) => {
                    writeln!(text, "{}{name}: {value}", " ".repeat(longest - width(name) + 2))
                }
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_at_the_same_column() {
        let mut facts = Facts::new("Bucket A".to_owned());
        facts.section("Configuration");
        facts.add("Name", "A");
        facts.add_some("Description", None::<String>);
        facts.section("State");
        facts.add("Values", "3");
        assert_eq!(facts.render(), "Bucket A\n\nConfiguration:\n\n    Name: A\n\nState:\n\n  Values: 3\n");
    }
}
