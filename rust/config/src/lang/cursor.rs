//! A place in a text that moves forward and knows its line and column.

use std::sync::Arc;

use super::{ParseError, ParseErrorKind, Position};

/// Reads a text character by character.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    line: u32,
    /// Where columns of this line are counted from: the line break before it.
    line_start: usize,
    file: Arc<str>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str, file: Arc<str>) -> Self {
        Self { text, offset: 0, line: 1, line_start: 0, file }
    }

    /// The next character, if there is one.
    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// The text from here on.
    pub(super) fn rest(&self) -> &'a str {
        // Offsets are only ever moved over whole characters.
        self.text.get(self.offset..).unwrap_or("")
    }

    /// Whether the text goes on with `prefix`.
    pub(super) fn at(&self, prefix: &str) -> bool {
        self.rest().starts_with(prefix)
    }

    /// Takes the next character.
    pub(super) fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        if next == '\n' {
            self.line += 1;
            self.line_start = self.offset;
        }
        self.offset += next.len_utf8();
        Some(next)
    }

    /// Takes the next character if it is the one.
    pub(super) fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.bump();
        }
        found
    }

    /// Takes characters as long as they suit.
    pub(super) fn take_while(&mut self, mut suits: impl FnMut(char) -> bool) -> &'a str {
        let start = self.offset;
        while self.peek().is_some_and(&mut suits) {
            self.bump();
        }
        self.since(start)
    }

    /// The place to come back to, for [`since`](Self::since).
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The text from `start` to here.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.offset).unwrap_or("")
    }

    /// Where the cursor is.
    pub(super) fn position(&self) -> Position {
        let column = u32::try_from(self.offset - self.line_start).unwrap_or(u32::MAX);
        Position { file: self.file.clone(), line: self.line, column }
    }

    /// A syntax error here.
    pub(super) fn error(&self, message: impl Into<String>) -> ParseError {
        let position = self.position();
        let kind = ParseErrorKind::Syntax { line: position.line, message: message.into() };
        ParseError { position: Some(position), kind }
    }

    /// The next character for an error message.
    pub(super) fn found(&self) -> String {
        match self.peek() {
            None => "the end of the file".into(),
            Some('\n' | '\r') => "the end of the line".into(),
            Some(other) => format!("'{}'", other.escape_debug()),
        }
    }
}

/// Space and tab: what separates within a line.
pub(super) fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

/// A line break.
pub(super) fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\r')
}
