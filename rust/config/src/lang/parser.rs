//! The parser for keys, blocks, lists, variables and includes.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use super::{
    DEPTH_MAX, FILE_BYTES_MAX, Map, NODES_MAX, Node, ParseError, ParseErrorKind, Position, Source, Value,
    cursor::{Cursor, is_blank, is_line_end},
    scalar::{Scalar, quoted, scalar},
    source::describe_io_error,
};

/// The maximum number of files of one configuration; a file counts each time it is included.
const FILES_MAX: usize = 1024;
/// The key under which the text of an environment variable is parsed.
const VARIABLE_KEY: &str = "pk";

pub(super) fn parse_file(path: &Path, source: &dyn Source) -> Result<Map, ParseError> {
    Context::new(source).file(path)
}

pub(super) fn parse_text(bytes: &[u8], name: &str, source: &dyn Source) -> Result<Map, ParseError> {
    Context::new(source).text(bytes, name, PathBuf::new())
}

/// The state that the files and variables of one configuration share.
struct Context<'a> {
    source: &'a dyn Source,
    /// The files that are being parsed, outermost first.
    open_files: Vec<PathBuf>,
    files: usize,
    /// The environment variables that are being parsed.
    open_variables: Vec<String>,
    /// Levels of lists, blocks, includes and variables around the cursor.
    depth: usize,
    nodes: usize,
}

impl<'a> Context<'a> {
    fn new(source: &'a dyn Source) -> Self {
        Self { source, open_files: Vec::new(), files: 0, open_variables: Vec::new(), depth: 0, nodes: 0 }
    }

    fn file(&mut self, path: &Path) -> Result<Map, ParseError> {
        let error = |kind| ParseError { position: None, kind };
        self.files += 1;
        if self.files > FILES_MAX {
            return Err(error(ParseErrorKind::TooLarge("too many files are included")));
        }
        if self.open_files.iter().any(|open| open == path) {
            return Err(error(ParseErrorKind::IncludeCycle(path.display().to_string())));
        }
        let bytes = self
            .source
            .read(path)
            .map_err(|cause| error(ParseErrorKind::Unreadable(describe_io_error(path, &cause))))?;
        let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
        self.open_files.push(path.to_path_buf());
        let tree = self.text(&bytes, &path.to_string_lossy(), directory);
        self.open_files.pop();
        tree
    }

    fn text(&mut self, bytes: &[u8], name: &str, directory: PathBuf) -> Result<Map, ParseError> {
        let file: Arc<str> = name.into();
        if bytes.len() > FILE_BYTES_MAX {
            let kind = ParseErrorKind::TooLarge("the file is too large for a configuration");
            return Err(ParseError { position: None, kind });
        }
        let text = check_text(bytes, &file)?;
        let cursor = Cursor::new(text.strip_prefix('\u{feff}').unwrap_or(text), file);
        Parser { context: self, cursor, directory, scopes: vec![Map::new()] }.document()
    }
}

/// Returns the text of a file; fails unless it is UTF-8 without NUL.
fn check_text<'t>(bytes: &'t [u8], file: &Arc<str>) -> Result<&'t str, ParseError> {
    let (valid, message) = match std::str::from_utf8(bytes) {
        Ok(text) => match text.find('\0') {
            None => return Ok(text),
            Some(offset) => (&bytes[..offset], "Unexpected NUL character"),
        },
        Err(error) => (&bytes[..error.valid_up_to()], "The text is not UTF-8"),
    };
    let mut cursor = Cursor::new(std::str::from_utf8(valid).unwrap_or(""), file.clone());
    while cursor.bump().is_some() {}
    Err(cursor.error(message))
}

/// The place of an entry, which decides its allowed layout.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the file, outside of braces.
    Top,
    /// In braces around the whole file.
    Braces,
    /// In a block.
    Block,
}

struct Parser<'c, 'a, 't> {
    context: &'c mut Context<'a>,
    cursor: Cursor<'t>,
    /// The directory to which includes are relative.
    directory: PathBuf,
    /// The blocks around the cursor, innermost last, with their entries so far. Variables refer to them.
    scopes: Vec<Map>,
}

impl Parser<'_, '_, '_> {
    fn document(mut self) -> Result<Map, ParseError> {
        let mut braces = 0_usize;
        loop {
            self.skip_filler();
            match self.cursor.peek() {
                // Like nats-server, accepts a braced file without its closing brace.
                None => return Ok(self.scopes.swap_remove(0)),
                Some('{') => braces += 1,
                Some('}') if braces > 0 => braces -= 1,
                Some('}') if self.cursor.rest().trim() == "}" => {}
                Some(',' | ';') if braces > 0 => {}
                Some(_) => {
                    let place = if braces > 0 { Place::Braces } else { Place::Top };
                    self.entry(place)?;
                    continue;
                }
            }
            self.cursor.bump();
        }
    }

    /// Skips white space, line ends and comments.
    fn skip_filler(&mut self) {
        loop {
            self.cursor.take_while(char::is_whitespace);
            if !self.skip_comment() {
                return;
            }
        }
    }

    fn skip_comment(&mut self) -> bool {
        let is_comment = self.cursor.at("#") || self.cursor.at("//");
        if is_comment {
            self.cursor.take_while(|c| !is_line_end(c));
        }
        is_comment
    }

    /// Parses a key with its value, or an include, up to the end of the entry.
    fn entry(&mut self, place: Place) -> Result<(), ParseError> {
        let Some((key, position)) = self.key(place)? else {
            self.include()?;
            return self.entry_end(place);
        };
        self.before_value(place, &position)?;
        let node = Node { value: self.value()?, position, is_used_variable: false };
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(key, node);
        }
        self.entry_end(place)
    }

    /// Parses a key with its position; `None` for the word `include`.
    fn key(&mut self, place: Place) -> Result<Option<(String, Position)>, ParseError> {
        match self.cursor.peek() {
            Some(quote @ ('"' | '\'')) => {
                let mut position = self.cursor.position();
                position.column += 1;
                return Ok(Some((quoted(&mut self.cursor, quote)?, position)));
            }
            Some(found @ (':' | '=')) => {
                return Err(self.cursor.error(format!("Unexpected key separator '{found}'")));
            }
            Some('/') => return Err(self.cursor.error("A key can't begin with '/'")),
            _ => {}
        }
        let position = self.cursor.position();
        let start = self.cursor.offset();
        self.cursor.bump();
        self.cursor.take_while(|c| !c.is_whitespace() && !is_separator(c));
        let key = self.cursor.since(start);
        let ended_by_space = self.cursor.peek().is_some_and(char::is_whitespace);
        if ended_by_space && key.eq_ignore_ascii_case("include") {
            return Ok(None);
        }
        if place == Place::Block && self.cursor.peek().is_none() {
            return Err(self.cursor.error("A block is not closed before the end of the file"));
        }
        Ok(Some((key.to_owned(), position)))
    }

    /// Skips white space and the separator between key and value.
    fn before_value(&mut self, place: Place, key: &Position) -> Result<(), ParseError> {
        self.cursor.take_while(char::is_whitespace);
        let separated = self.cursor.peek().is_some_and(is_separator);
        if separated {
            self.cursor.bump();
        } else if self.cursor.peek().is_none() {
            let kind = ParseErrorKind::MissingValue(self.cursor.position());
            return Err(ParseError { position: Some(key.clone()), kind });
        }
        if place == Place::Block {
            self.cursor.take_while(char::is_whitespace);
            return match self.cursor.peek() {
                Some(found @ (',' | '}')) => {
                    Err(self.cursor.error(format!("Expected a value, but found '{found}'")))
                }
                _ => Ok(()),
            };
        }
        self.cursor.take_while(is_blank);
        if self.cursor.peek().is_some_and(is_line_end) {
            return Err(self.cursor.error("Expected value but found new line"));
        }
        Ok(())
    }

    /// Parses the end of an entry: a separator, a comment, the end of the line or of the block.
    fn entry_end(&mut self, place: Place) -> Result<(), ParseError> {
        self.cursor.take_while(is_blank);
        if self.skip_comment() {
            return Ok(());
        }
        match self.cursor.peek() {
            Some(';' | ',' | '\n' | '\r') => {
                self.cursor.bump();
                Ok(())
            }
            Some('}') => {
                // A surplus brace ends a value at the top, as in nats-server.
                if place == Place::Top {
                    self.cursor.bump();
                }
                Ok(())
            }
            None if place != Place::Block => Ok(()),
            _ => {
                let found = self.cursor.found();
                let wanted = match place {
                    Place::Top => "a new line, comment or the end of the file",
                    Place::Braces | Place::Block => "',', ';', a new line, a comment or '}'",
                };
                Err(self.cursor.error(format!("Expected {wanted} after a value, but got {found} instead")))
            }
        }
    }

    fn value(&mut self) -> Result<Value, ParseError> {
        self.count_nodes(1)?;
        match self.cursor.peek() {
            Some('[') => self.nested(Self::array),
            Some('{') => self.nested(Self::block),
            _ => {
                let position = self.cursor.position();
                match scalar(&mut self.cursor)? {
                    Scalar::Value(value) => Ok(value),
                    Scalar::Variable(name) => self.variable(&name, position),
                }
            }
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, ParseError>) -> Result<Value, ParseError> {
        self.check_depth(1)?;
        self.context.depth += 1;
        self.cursor.bump();
        let value = read(self);
        self.context.depth -= 1;
        value
    }

    fn array(&mut self) -> Result<Value, ParseError> {
        let mut items = Vec::new();
        loop {
            self.skip_filler();
            match self.cursor.peek() {
                Some(']') => {
                    self.cursor.bump();
                    return Ok(Value::Array(items));
                }
                Some(',') => return Err(self.cursor.error("Unexpected array value terminator ','")),
                None => return Err(self.cursor.error("A list is not closed before the end of the file")),
                Some(first) => {
                    let mut position = self.cursor.position();
                    position.column += u32::from(matches!(first, '"' | '\'' | '(' | '$'));
                    items.push(Node { value: self.value()?, position, is_used_variable: false });
                }
            }
            self.cursor.take_while(is_blank);
            match self.cursor.peek() {
                Some(',' | '\n' | '\r') => {
                    self.cursor.bump();
                }
                Some(']' | '#') => {}
                _ if self.cursor.at("//") => {}
                _ => {
                    let found = self.cursor.found();
                    let message =
                        format!("Expected ',', a new line or ']' in a list, but got {found} instead");
                    return Err(self.cursor.error(message));
                }
            }
        }
    }

    fn block(&mut self) -> Result<Value, ParseError> {
        self.scopes.push(Map::new());
        loop {
            self.skip_filler();
            match self.cursor.peek() {
                Some('}') => {
                    self.cursor.bump();
                    return Ok(Value::Map(self.scopes.pop().unwrap_or_default()));
                }
                Some(']') => return Err(self.cursor.error("Unexpected array end ']' in a block")),
                None => return Err(self.cursor.error("A block is not closed before the end of the file")),
                Some(_) => self.entry(Place::Block)?,
            }
        }
    }

    fn include(&mut self) -> Result<(), ParseError> {
        let position = self.cursor.position();
        self.cursor.take_while(is_blank);
        let path = match self.cursor.peek() {
            Some(quote @ ('"' | '\'')) => quoted(&mut self.cursor, quote)?,
            Some('[' | '{' | '(' | '\\' | '-' | '0'..='9' | '\n' | '\r') | None => {
                let found = self.cursor.found();
                return Err(self
                    .cursor
                    .error(format!("Expected the path of a file to include, but got {found}")));
            }
            Some(_) => {
                let ends = |c: char| is_line_end(c) || is_blank(c) || matches!(c, ';' | '}' | '\'');
                self.cursor.take_while(|c| !ends(c)).to_owned()
            }
        };
        self.check_depth(1)?;
        self.context.depth += 1;
        let included = self.context.file(&join(&self.directory, &path));
        self.context.depth -= 1;
        match included {
            Ok(entries) => {
                if let Some(scope) = self.scopes.last_mut() {
                    scope.extend(entries);
                }
                Ok(())
            }
            Err(source) => {
                let kind = ParseErrorKind::Include { path, source: Box::new(source) };
                Err(ParseError { position: Some(position), kind })
            }
        }
    }

    /// Returns the value of `$name`: from the blocks around, inner ones first, else from the environment.
    fn variable(&mut self, name: &str, position: Position) -> Result<Value, ParseError> {
        let defined = self.scopes.iter_mut().rev().find_map(|scope| scope.get_mut(name));
        let value = match defined {
            Some(node) => {
                node.is_used_variable = true;
                node.value.clone()
            }
            None => self.environment_variable(name, position)?,
        };
        self.count_nodes(value.node_count())?;
        self.check_depth(value.depth())?;
        Ok(value)
    }

    fn environment_variable(&mut self, name: &str, position: Position) -> Result<Value, ParseError> {
        let line = position.line;
        let error = |kind| ParseError { position: Some(position.clone()), kind };
        let not_found = || error(ParseErrorKind::VariableNotFound { name: name.to_owned(), line });
        if self.context.open_variables.iter().any(|open| open == name) {
            return Err(error(ParseErrorKind::VariableCycle(name.to_owned())));
        }
        let text = self.context.source.variable(name).ok_or_else(not_found)?;
        self.check_depth(1)?;
        self.context.open_variables.push(name.to_owned());
        self.context.depth += 1;
        let text = format!("{VARIABLE_KEY}={text}");
        let parsed = self.context.text(text.as_bytes(), &format!("${name}"), PathBuf::new());
        self.context.depth -= 1;
        self.context.open_variables.pop();
        match parsed {
            Ok(mut tree) => tree.remove(VARIABLE_KEY).map(|node| node.value).ok_or_else(not_found),
            Err(source) => {
                let kind = ParseErrorKind::VariableUnparsable {
                    name: name.to_owned(),
                    line,
                    source: Box::new(source),
                };
                Err(error(kind))
            }
        }
    }

    fn check_depth(&self, more: usize) -> Result<(), ParseError> {
        self.limit(self.context.depth + more <= DEPTH_MAX, "the configuration is nested too deeply")
    }

    fn count_nodes(&mut self, more: usize) -> Result<(), ParseError> {
        self.context.nodes += more;
        self.limit(self.context.nodes <= NODES_MAX, "the configuration has too many values")
    }

    fn limit(&self, is_kept: bool, message: &'static str) -> Result<(), ParseError> {
        let position = || Some(self.cursor.position());
        if is_kept {
            Ok(())
        } else {
            Err(ParseError { position: position(), kind: ParseErrorKind::TooLarge(message) })
        }
    }
}

fn is_separator(character: char) -> bool {
    matches!(character, ':' | '=')
}

/// Joins the path of an include to the including file's directory, without `.` and, where possible, `..`. As in
/// nats-server, a leading slash makes no difference.
fn join(directory: &Path, path: &str) -> PathBuf {
    let mut joined = PathBuf::new();
    for component in directory.components().chain(Path::new(path.trim_start_matches('/')).components()) {
        match component {
            Component::CurDir => {}
            Component::ParentDir
                if joined.components().next_back().is_some_and(|c| matches!(c, Component::Normal(_))) =>
            {
                joined.pop();
            }
            other => joined.push(other),
        }
    }
    if joined.as_os_str().is_empty() { PathBuf::from(".") } else { joined }
}

#[cfg(test)]
mod tests;
