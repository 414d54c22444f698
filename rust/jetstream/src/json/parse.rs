//! A parser for JSON (RFC 8259). It has an explicit stack, so nested values cause no recursion.

use stonechat_store::visits;

use super::quote::go_character;
use super::{DecodeError, Document, Kind, Node};

/// How deep values may be nested.
const DEPTH_MAX: usize = 10_000;

/// Why a text is no JSON, in nats-server's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(String);

impl SyntaxError {
    fn eof() -> Self {
        Self("unexpected EOF".to_owned())
    }
}

/// The part of the text that the parser expects next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// A value or the end of the array.
    FirstElement,
    Key,
    /// A key or the end of the object.
    FirstKey,
    Colon,
    AfterElement,
    AfterMember,
}

/// Reads the value that begins at `from` in `text`, or behind white space there. Returns it with the position of its end; `None`
/// if only white space is left.
pub fn parse(text: &[u8], from: usize) -> Result<Option<(Document<'_>, usize)>, SyntaxError> {
    if text.len() > u32::MAX as usize {
        return Err(SyntaxError("text is too long".to_owned()));
    }
    let mut parser = Parser { text, at: from, nodes: Vec::new(), open: Vec::new() };
    parser.skip_white();
    if parser.at == text.len() {
        return Ok(None);
    }
    parser.run()?;
    Ok(Some((Document { text, nodes: parser.nodes }, parser.at)))
}

/// Reads a text that consists of one value, as Go's older decoder does: its errors name no offset.
pub fn parse_whole(text: &[u8]) -> Result<Document<'_>, DecodeError> {
    let cut_off = || DecodeError::Other("unexpected end of JSON input".to_owned());
    let (document, end) = match parse(text, 0) {
        Ok(read) => read.ok_or_else(cut_off)?,
        Err(e) if e == SyntaxError::eof() => return Err(cut_off()),
        Err(SyntaxError(text)) => {
            let place = text.rfind(" at offset ").unwrap_or(text.len());
            return Err(DecodeError::Other(text[..place].to_owned()));
        }
    };
    match text.get(end..).unwrap_or_default().trim_ascii() {
        [] => Ok(document),
        rest => {
            let (shown, _) = go_character(rest);
            Err(DecodeError::Other(format!("invalid character {shown} after top-level value")))
        }
    }
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    nodes: Vec<Node>,
    /// The open arrays and objects, by the positions of their nodes.
    open: Vec<usize>,
}

impl Parser<'_> {
    fn run(&mut self) -> Result<(), SyntaxError> {
        let mut next = Next::Value;
        loop {
            self.skip_white();
            let Some(&byte) = self.text.get(self.at) else { return Err(SyntaxError::eof()) };
            let closed = match (next, byte) {
                (Next::FirstElement | Next::AfterElement, b']')
                | (Next::FirstKey | Next::AfterMember, b'}') => {
                    self.at += 1;
                    self.close();
                    true
                }
                (Next::AfterElement, b',') => {
                    (self.at, next) = (self.at + 1, Next::Value);
                    continue;
                }
                (Next::AfterMember, b',') => {
                    (self.at, next) = (self.at + 1, Next::Key);
                    continue;
                }
                (Next::Colon, b':') => {
                    (self.at, next) = (self.at + 1, Next::Value);
                    continue;
                }
                (Next::FirstKey | Next::Key, b'"') => {
                    self.string()?;
                    next = Next::Colon;
                    continue;
                }
                (Next::FirstKey | Next::Key, _) => {
                    return Err(self.unexpected("looking for beginning of object key string"));
                }
                (Next::Colon, _) => return Err(self.unexpected("after object key")),
                (Next::AfterElement, _) => return Err(self.unexpected("after array element")),
                (Next::AfterMember, _) => return Err(self.unexpected("after object key:value pair")),
                (Next::Value | Next::FirstElement, b'{' | b'[') => {
                    let object = byte == b'{';
                    self.open(if object { Kind::Object } else { Kind::Array })?;
                    next = if object { Next::FirstKey } else { Next::FirstElement };
                    continue;
                }
                (Next::Value | Next::FirstElement, _) => {
                    self.scalar(byte)?;
                    true
                }
            };
            debug_assert!(closed);
            let Some(&outer) = self.open.last() else { return Ok(()) };
            next =
                if self.nodes[outer].kind == Kind::Object { Next::AfterMember } else { Next::AfterElement };
        }
    }

    fn skip_white(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Returns an error about the current character. Its offset is that behind the character.
    fn unexpected(&self, place: &str) -> SyntaxError {
        match &self.text[self.at.min(self.text.len())..] {
            [] => SyntaxError::eof(),
            rest => {
                let (shown, len) = go_character(rest);
                SyntaxError(format!("invalid character {shown} {place} at offset {}", self.at + len))
            }
        }
    }

    fn open(&mut self, kind: Kind) -> Result<(), SyntaxError> {
        if self.open.len() == DEPTH_MAX {
            return Err(SyntaxError(format!("exceeded max depth at offset {}", self.at + 1)));
        }
        visits::note();
        self.open.push(self.nodes.len());
        self.nodes.push(Node { kind, begin: self.at as u32, end: 0, next: 0 });
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        let next = self.nodes.len() as u32;
        if let Some(node) = self.open.pop().and_then(|i| self.nodes.get_mut(i)) {
            (node.end, node.next) = (self.at as u32, next);
        }
    }

    fn leaf(&mut self, kind: Kind, begin: usize) {
        visits::note();
        let next = self.nodes.len() as u32 + 1;
        self.nodes.push(Node { kind, begin: begin as u32, end: self.at as u32, next });
    }

    fn scalar(&mut self, byte: u8) -> Result<(), SyntaxError> {
        match byte {
            b'"' => self.string(),
            b't' => self.literal(Kind::Bool, "true"),
            b'f' => self.literal(Kind::Bool, "false"),
            b'n' => self.literal(Kind::Null, "null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn literal(&mut self, kind: Kind, word: &str) -> Result<(), SyntaxError> {
        let begin = self.at;
        for expected in word.bytes() {
            if self.text.get(self.at) != Some(&expected) {
                return Err(
                    self.unexpected(&format!("in literal {word} (expecting '{}')", char::from(expected)))
                );
            }
            self.at += 1;
        }
        self.leaf(kind, begin);
        Ok(())
    }

    fn number(&mut self) -> Result<(), SyntaxError> {
        let begin = self.at;
        self.skip(b"-");
        if !self.skip(b"0") {
            self.digits()?;
        }
        if self.skip(b".") {
            self.digits()?;
        }
        if self.skip(b"eE") {
            self.skip(b"+-");
            self.digits()?;
        }
        self.leaf(Kind::Number, begin);
        Ok(())
    }

    /// Skips the current byte if it is one of these.
    fn skip(&mut self, bytes: &[u8]) -> bool {
        let found = self.text.get(self.at).is_some_and(|b| bytes.contains(b));
        self.at += usize::from(found);
        found
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        if !self.skip(b"0123456789") {
            return Err(self.unexpected("in numeric literal"));
        }
        while self.skip(b"0123456789") {}
        Ok(())
    }

    fn string(&mut self) -> Result<(), SyntaxError> {
        let begin = self.at;
        self.at += 1;
        loop {
            match self.text.get(self.at) {
                None => return Err(SyntaxError::eof()),
                Some(b'"') => {
                    self.at += 1;
                    self.leaf(Kind::String, begin);
                    return Ok(());
                }
                Some(b'\\') => {
                    visits::note();
                    self.escape()?;
                }
                Some(0..=0x1f) => return Err(self.unexpected("in string")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        let len = match self.text.get(self.at + 1) {
            None => return Err(SyntaxError::eof()),
            Some(b'u') => 6,
            Some(_) => 2,
        };
        let Some(sequence) = self.text.get(self.at..self.at + len) else { return Err(SyntaxError::eof()) };
        self.at += len;
        let valid = match sequence[1] {
            b'u' => sequence[2..].iter().all(u8::is_ascii_hexdigit),
            other => b"\"\\/bfnrt".contains(&other),
        };
        if valid {
            return Ok(());
        }
        let shown = String::from_utf8_lossy(sequence);
        Err(SyntaxError(format!("invalid escape sequence `{shown}` in string at offset {}", self.at)))
    }
}
