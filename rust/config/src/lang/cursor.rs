//! A position in a text that moves forward and counts lines and columns.

use std::sync::Arc;

use super::{ParseError, ParseErrorKind, Position};

/// A reader of a text, character by character.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    line: u32,
    /// The offset from which columns of this line are counted: the line break before it.
    line_start: usize,
    file: Arc<str>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str, file: Arc<str>) -> Self {
        Self { text, offset: 0, line: 1, line_start: 0, file }
    }

    /// Returns the next character, if there is one.
    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Returns the text from the cursor on.
    pub(super) fn rest(&self) -> &'a str {
        // The offset is always between two characters.
        self.text.get(self.offset..).unwrap_or("")
    }

    /// Returns whether the rest of the text begins with `prefix`.
    pub(super) fn at(&self, prefix: &str) -> bool {
        self.rest().starts_with(prefix)
    }

    /// Consumes the next character.
    pub(super) fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        if next == '\n' {
            self.line += 1;
            self.line_start = self.offset;
        }
        self.offset += next.len_utf8();
        Some(next)
    }

    /// Consumes the next character if it is `wanted`.
    pub(super) fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.bump();
        }
        found
    }

    /// Consumes characters while `suits` is true.
    pub(super) fn take_while(&mut self, mut suits: impl FnMut(char) -> bool) -> &'a str {
        let start = self.offset;
        while self.peek().is_some_and(&mut suits) {
            self.bump();
        }
        self.since(start)
    }

    /// Returns the current offset, for [`since`](Self::since).
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Returns the text from `start` to the cursor.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.offset).unwrap_or("")
    }

    /// Returns the position of the cursor.
    pub(super) fn position(&self) -> Position {
        let column = u32::try_from(self.offset - self.line_start).unwrap_or(u32::MAX);
        Position { file: self.file.clone(), line: self.line, column }
    }

    /// Returns a syntax error at the cursor.
    pub(super) fn error(&self, message: impl Into<String>) -> ParseError {
        let position = self.position();
        let kind = ParseErrorKind::Syntax { line: position.line, message: message.into() };
        ParseError { position: Some(position), kind }
    }

    /// Describes the next character for an error message.
    pub(super) fn found(&self) -> String {
        match self.peek() {
            None => "the end of the file".into(),
            Some('\n' | '\r') => "the end of the line".into(),
            Some(other) => format!("'{}'", other.escape_debug()),
        }
    }
}

/// Returns whether the character is a space or a tab, which separate within a line.
pub(super) fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

/// Returns whether the character is a line break.
pub(super) fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\r')
}
