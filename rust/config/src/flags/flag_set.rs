//! Sets of given flags with their values.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use super::{
    FlagError,
    table::{Flag, Kind, Spec},
};

/// A flag's value.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Int(i64),
    Text(String),
}

/// The flags that were given explicitly. They override the configuration file, also at each reload.
#[derive(Clone, Default, PartialEq)]
pub struct FlagSet {
    values: BTreeMap<Flag, Value>,
}

impl FlagSet {
    /// Returns the path of the configuration file, from `-c`.
    #[must_use]
    pub fn config_file(&self) -> Option<&Path> {
        self.text(Flag::Config).filter(|path| !path.is_empty()).map(Path::new)
    }

    /// Sets the path of the configuration file, like `-c`.
    pub fn set_config_file(&mut self, path: impl Into<PathBuf>) {
        let path = path.into().to_string_lossy().into_owned();
        self.values.insert(Flag::Config, Value::Text(path));
    }

    pub(super) fn is_given(&self, flag: Flag) -> bool {
        self.values.contains_key(&flag)
    }

    pub(super) fn is_on(&self, flag: Flag) -> bool {
        self.boolean(flag) == Some(true)
    }

    pub(super) fn boolean(&self, flag: Flag) -> Option<bool> {
        match self.values.get(&flag) {
            Some(Value::Bool(truth)) => Some(*truth),
            _ => None,
        }
    }

    pub(super) fn integer(&self, flag: Flag) -> Option<i64> {
        match self.values.get(&flag) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn text(&self, flag: Flag) -> Option<&str> {
        match self.values.get(&flag) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn set(&mut self, spec: &Spec, name: &str, text: &str) -> Result<(), FlagError> {
        let value = match spec.kind {
            Kind::Text => Value::Text(text.to_owned()),
            Kind::Bool => Value::Bool(parse_bool(text).ok_or_else(|| FlagError::InvalidBoolean {
                flag: name.to_owned(),
                value: text.to_owned(),
            })?),
            Kind::Int => Value::Int(parse_int(text).map_err(|reason| FlagError::InvalidValue {
                flag: name.to_owned(),
                value: text.to_owned(),
                reason,
            })?),
        };
        self.values.insert(spec.flag, value);
        Ok(())
    }
}

impl fmt::Debug for FlagSet {
    /// Formats only the names, because some values are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// Parses flags up to the first argument that is no flag. Returns the arguments from there on.
pub(super) fn parse_flags(
    args: &[String],
    find: fn(&str) -> Option<&'static Spec>,
) -> Result<(FlagSet, &[String]), FlagError> {
    let mut flags = FlagSet::default();
    let mut rest = args;
    while let [arg, after @ ..] = rest {
        let Some(flag) = arg.strip_prefix('-').filter(|flag| !flag.is_empty()) else { break };
        rest = after;
        if arg == "--" {
            break;
        }
        let flag = flag.strip_prefix('-').unwrap_or(flag);
        if flag.is_empty() || flag.starts_with(['-', '=']) {
            return Err(FlagError::BadSyntax(arg.clone()));
        }
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        let spec = find(name).ok_or_else(|| FlagError::Undefined(name.to_owned()))?;
        match (value, spec.kind, rest) {
            (Some(value), ..) => flags.set(spec, name, value)?,
            (None, Kind::Bool, _) => flags.set(spec, name, "true")?,
            (None, _, [value, after @ ..]) => {
                flags.set(spec, name, value)?;
                rest = after;
            }
            (None, _, []) => return Err(FlagError::NeedsArgument(name.to_owned())),
        }
    }
    Ok((flags, rest))
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Parses an integer of Go: decimal, or in another base with `0x`, `0o`, `0b` or a leading zero.
fn parse_int(text: &str) -> Result<i64, &'static str> {
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => ("-", &text[1..]),
        Some(b'+') => ("", &text[1..]),
        _ => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let bases = [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8)];
    let (digits, base) = bases
        .into_iter()
        .find_map(|(prefix, base)| lower.strip_prefix(prefix).map(|rest| (rest, base)))
        .filter(|(rest, _)| !rest.is_empty())
        .unwrap_or((&lower, 10));
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return Err("parse error");
    }
    i64::from_str_radix(&format!("{sign}{digits}"), base).map_err(|_| "value out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_go_integers() {
        let cases = [
            ("0", Ok(0)),
            ("-1", Ok(-1)),
            ("+7", Ok(7)),
            ("0x10", Ok(16)),
            ("0B11", Ok(3)),
            ("010", Ok(8)),
            ("0o17", Ok(15)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("9223372036854775808", Err("value out of range")),
            ("", Err("parse error")),
            ("-", Err("parse error")),
            ("0x", Err("parse error")),
            ("08", Err("parse error")),
            ("--1", Err("parse error")),
            ("4222x", Err("parse error")),
        ];
        for (text, number) in cases {
            assert_eq!(parse_int(text), number, "{text:?}");
        }
    }
}
