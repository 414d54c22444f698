//! Decoding of JSON into the fields of a request, with the errors of Go's types.

use std::borrow::Cow;

use super::quote::go_text;
use super::{Kind, SyntaxError, Value};

/// Why a request can't be read, in nats-server's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The request is no JSON.
    #[error("{0}")]
    Syntax(#[from] SyntaxError),
    /// A field with an unknown name.
    #[error("json: unknown field {}", go_text(.0.as_bytes()))]
    UnknownField(String),
    /// A value of another kind than the field's, or one that does not fit.
    #[error("json: cannot unmarshal {found} into Go {place} of type {wanted}")]
    Type {
        /// The kind of the value: `string`, `number 1.5`, `array` ...
        found: String,
        /// The place of the value: `struct field Request.field`, or `value`.
        place: String,
        /// Go's name of the field's type.
        wanted: &'static str,
    },
    /// As `Type`, for an element of a list.
    #[error("json: cannot unmarshal {found} into {place} of type {wanted}")]
    Element {
        /// The kind of the value.
        found: String,
        /// The place of the value: `Request.field.0`.
        place: String,
        /// Go's name of the elements' type.
        wanted: &'static str,
    },
    /// An error of one of nats-server's own types.
    #[error("{0}")]
    Other(String),
}

/// The path of a value, for errors: the request's type and the names of the fields.
#[derive(Debug, Clone)]
pub struct Path {
    text: String,
    /// Whether the last step is an element of a list.
    element: bool,
}

impl Path {
    /// The root path: a request's type, by Go's name within its package.
    pub fn of(request: &str) -> Self {
        Self { text: request.to_owned(), element: false }
    }

    fn field(&self, name: &str) -> Self {
        Self { text: format!("{}.{name}", self.text), element: false }
    }

    fn element(&self, index: usize) -> Self {
        Self { text: format!("{}.{index}", self.text), element: true }
    }
}

/// A value with its path.
#[derive(Debug, Clone)]
pub struct Field<'d> {
    value: Value<'d>,
    path: Path,
}

/// The members of an object.
pub type Fields<'d> = Box<dyn Iterator<Item = (Cow<'d, str>, Field<'d>)> + 'd>;

impl<'d> Field<'d> {
    /// A request's outermost value; `request` is its type as Go names it.
    pub fn root(value: Value<'d>, request: &str) -> Self {
        Self { value, path: Path::of(request) }
    }

    /// Whether the value is `null`, which leaves most fields unchanged.
    pub fn is_null(&self) -> bool {
        self.value.kind() == Kind::Null
    }

    /// The text of the value.
    pub fn raw(&self) -> &'d [u8] {
        self.value.raw()
    }

    /// The members of an outermost object; none of `null`. `wanted` is Go's name of the type.
    pub fn request(&self, wanted: &'static str) -> Result<Fields<'d>, DecodeError> {
        match self.value.kind() {
            Kind::Null => Ok(Box::new(std::iter::empty())),
            Kind::Object => self.object(wanted),
            _ => Err(DecodeError::Type { found: self.kind().to_owned(), place: "value".to_owned(), wanted }),
        }
    }

    /// The members of an object. The names are as in the text; compare them without regard to case.
    pub fn object(&self, wanted: &'static str) -> Result<Fields<'d>, DecodeError> {
        if self.value.kind() != Kind::Object {
            return Err(self.wrong(self.kind(), wanted));
        }
        let path = self.path.clone();
        Ok(Box::new(self.value.members().map(move |(name, value)| {
            let path = path.field(&name.to_lowercase());
            (name, Field { value, path })
        })))
    }

    /// The elements of a list; none of `null`.
    pub fn list(&self, wanted: &'static str) -> Result<Vec<Field<'d>>, DecodeError> {
        match self.value.kind() {
            Kind::Null => Ok(Vec::new()),
            Kind::Array => Ok(self
                .value
                .elements()
                .enumerate()
                .map(|(i, value)| Field { value, path: self.path.element(i) })
                .collect()),
            _ => Err(self.wrong(self.kind(), wanted)),
        }
    }

    /// The elements of a list of strings; none of `null`. The path of an element is built for an error only.
    pub fn texts(&self, wanted: &'static str) -> Result<Vec<String>, DecodeError> {
        match self.value.kind() {
            Kind::Null => Ok(Vec::new()),
            Kind::Array => {
                let texts = self.value.elements().enumerate();
                texts
                    .map(|(i, value)| match value.kind() {
                        Kind::Null => Ok(String::new()),
                        Kind::String => Ok(value.text().into_owned()),
                        _ => Field { value, path: self.path.element(i) }.string(),
                    })
                    .collect()
            }
            _ => Err(self.wrong(self.kind(), wanted)),
        }
    }

    /// A string; empty for `null`.
    pub fn string(&self) -> Result<String, DecodeError> {
        match self.value.kind() {
            Kind::Null => Ok(String::new()),
            Kind::String => Ok(self.value.text().into_owned()),
            _ => Err(self.wrong(self.kind(), "string")),
        }
    }

    /// `true` or `false`; the latter for `null`.
    pub fn bool(&self) -> Result<bool, DecodeError> {
        match self.value.kind() {
            Kind::Null => Ok(false),
            Kind::Bool => Ok(self.value.is_true()),
            _ => Err(self.wrong(self.kind(), "bool")),
        }
    }

    /// A whole number of the type `N`, which Go calls `wanted`; 0 for `null`.
    pub fn integer<N: std::str::FromStr + Default>(&self, wanted: &'static str) -> Result<N, DecodeError> {
        match self.value.kind() {
            Kind::Null => Ok(N::default()),
            Kind::Number => {
                let text = std::str::from_utf8(self.raw()).unwrap_or_default();
                text.parse().map_err(|_| self.wrong(&format!("number {text}"), wanted))
            }
            _ => Err(self.wrong(self.kind(), wanted)),
        }
    }

    /// A map from names to strings.
    pub fn strings(&self) -> Result<Vec<(String, String)>, DecodeError> {
        if self.is_null() {
            return Ok(Vec::new());
        }
        let members = self.value.members().map(|(name, value)| {
            let text = Field { value, path: self.path.field(&name) }.string()?;
            Ok((name.into_owned(), text))
        });
        if self.value.kind() == Kind::Object {
            members.collect()
        } else {
            Err(self.wrong(self.kind(), "map[string]string"))
        }
    }

    /// Reads one of the given words. Other words and kinds of value give the error of nats-server's own types.
    pub fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, DecodeError> {
        let found =
            words.iter().find(|(word, _)| self.value.kind() == Kind::String && self.value.text() == *word);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| DecodeError::Other(format!("can not unmarshal {}", go_text(self.raw()))))
    }

    /// Returns the error that this field has a value of another type.
    pub fn wrong(&self, found: &str, wanted: &'static str) -> DecodeError {
        let found = found.to_owned();
        if self.path.element {
            DecodeError::Element { found, place: self.path.text.clone(), wanted }
        } else {
            DecodeError::Type { found, place: format!("struct field {}", self.path.text), wanted }
        }
    }

    /// Go's word for the kind of the value.
    pub fn kind(&self) -> &'static str {
        match self.value.kind() {
            Kind::Null => "null",
            Kind::Bool => "bool",
            Kind::Number => "number",
            Kind::String => "string",
            Kind::Array => "array",
            Kind::Object => "object",
        }
    }
}
