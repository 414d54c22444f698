//! Scalars: numbers, booleans, dates, strings in their four forms, references to variables.

use super::{
    ParseError, Value,
    cursor::{Cursor, is_blank, is_line_end},
};

/// A scalar, or the name of the variable that holds it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Value(Value),
    Variable(String),
}

/// Parses a scalar at the cursor. White space and line ends before it were skipped.
pub(super) fn scalar(cursor: &mut Cursor<'_>) -> Result<Scalar, ParseError> {
    let text = |text| Ok(Scalar::Value(Value::String(text)));
    match cursor.peek() {
        Some('\'') => single_quoted(cursor).and_then(text),
        Some('"') => double_quoted(cursor).and_then(text),
        Some('(') => block(cursor).and_then(text),
        Some('-') => negative(cursor).map(Scalar::Value),
        Some('0'..='9') => number(cursor).map(Scalar::Value),
        Some('.') => Err(cursor.error("A float must start with a digit, not with '.'")),
        _ => bare(cursor),
    }
}

/// Returns whether a bare value ends before this character.
fn ends_bare(next: Option<char>) -> bool {
    next.is_none_or(|c| is_line_end(c) || is_blank(c) || matches!(c, ';' | ',' | ']' | '}'))
}

fn single_quoted(cursor: &mut Cursor<'_>) -> Result<String, ParseError> {
    quoted(cursor, '\'')
}

/// Parses the text between two `quote`s, without escapes: a string or a key.
pub(super) fn quoted(cursor: &mut Cursor<'_>, quote: char) -> Result<String, ParseError> {
    let unclosed = cursor.error("A quoted text is not closed before the end of the file");
    cursor.bump();
    let text = cursor.take_while(|c| c != quote).to_owned();
    if cursor.eat(quote) { Ok(text) } else { Err(unclosed) }
}

fn double_quoted(cursor: &mut Cursor<'_>) -> Result<String, ParseError> {
    let unclosed = cursor.error("A quoted text is not closed before the end of the file");
    cursor.bump();
    let mut bytes = Vec::new();
    loop {
        bytes.extend_from_slice(cursor.take_while(|c| c != '"' && c != '\\').as_bytes());
        match cursor.bump() {
            Some('\\') => bytes.push(escape(cursor)?),
            Some(_) => return utf8(bytes, cursor),
            None => return Err(unclosed),
        }
    }
}

/// Parses the characters after a backslash. Each escape stands for one byte.
fn escape(cursor: &mut Cursor<'_>) -> Result<u8, ParseError> {
    let byte = match cursor.peek() {
        Some('t') => b'\t',
        Some('n') => b'\n',
        Some('r') => b'\r',
        Some('"') => b'"',
        Some('\\') => b'\\',
        Some('x') => {
            cursor.bump();
            return hexadecimal(cursor);
        }
        _ => {
            let found = cursor.found();
            return Err(cursor
                .error(format!(r#"{found} can't be escaped; the escapes are \xHH, \t, \n, \r, \" and \\"#)));
        }
    };
    cursor.bump();
    Ok(byte)
}

fn hexadecimal(cursor: &mut Cursor<'_>) -> Result<u8, ParseError> {
    let mut byte = 0;
    for _ in 0..2 {
        let Some(digit) = cursor.peek().and_then(|c| c.to_digit(16)) else {
            let found = cursor.found();
            return Err(cursor.error(format!("Two hexadecimal digits must follow '\\x', not {found}")));
        };
        byte = byte << 4 | digit as u8;
        cursor.bump();
    }
    Ok(byte)
}

fn utf8(bytes: Vec<u8>, cursor: &Cursor<'_>) -> Result<String, ParseError> {
    String::from_utf8(bytes).map_err(|_| cursor.error("The escapes of a string don't make up UTF-8 text"))
}

/// Parses `( ... )`, with the closing parenthesis alone on its line.
fn block(cursor: &mut Cursor<'_>) -> Result<String, ParseError> {
    let unclosed = cursor.error("A block is not closed by a ')' alone on its line");
    cursor.bump();
    let start = cursor.offset();
    loop {
        cursor.take_while(|c| c != '\n');
        if cursor.bump().is_none() {
            return Err(unclosed);
        }
        if cursor.at(")\n") || cursor.rest() == ")" || cursor.at(")\r\n") {
            let text = cursor.since(start).to_owned();
            cursor.bump();
            return Ok(text);
        }
    }
}

/// Parses text without quotes: a boolean, `$VARIABLE`, or simply text.
fn bare(cursor: &mut Cursor<'_>) -> Result<Scalar, ParseError> {
    let mut bytes = Vec::new();
    let mut is_plain = true;
    loop {
        let part = cursor.take_while(|c| !ends_bare(Some(c)) && c != '\\' && c != '\'');
        bytes.extend_from_slice(part.as_bytes());
        match cursor.peek() {
            Some('\\') => {
                cursor.bump();
                bytes.push(escape(cursor)?);
                is_plain = false;
            }
            // A quote ends the text too. Such a text is neither a boolean nor a variable.
            Some('\'') => {
                cursor.bump();
                is_plain = false;
                break;
            }
            _ => break,
        }
    }
    let text = utf8(bytes, cursor)?;
    Ok(if is_plain { plain_text(text) } else { Scalar::Value(Value::String(text)) })
}

fn plain_text(text: String) -> Scalar {
    let is_any = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_any(["true", "yes", "on"]) {
        return Scalar::Value(Value::Bool(true));
    }
    if is_any(["false", "no", "off"]) {
        return Scalar::Value(Value::Bool(false));
    }
    match text.strip_prefix('$') {
        // A bcrypt hash, which must not need quotes, and not a variable.
        Some(rest) if matches!(rest.as_bytes(), [b'2', b'a' | b'b' | b'x' | b'y', b'$', ..]) => {
            Scalar::Value(Value::String(text))
        }
        Some(name) => Scalar::Variable(name.to_owned()),
        None => Scalar::Value(Value::String(text)),
    }
}

fn negative(cursor: &mut Cursor<'_>) -> Result<Value, ParseError> {
    let start = cursor.offset();
    cursor.bump();
    if !cursor.peek().is_some_and(|c| c.is_ascii_digit()) {
        let found = cursor.found();
        return Err(cursor.error(format!("A digit must follow '-', not {found}")));
    }
    cursor.take_while(|c| c.is_ascii_digit());
    match cursor.peek() {
        Some('.') => fraction(cursor, start),
        Some(c) if is_suffix(c) => {
            suffixed(cursor, start).map(|value| value.unwrap_or_else(|| finish_text(cursor, start)))
        }
        _ => integer(cursor, start),
    }
}

/// Parses a value that begins with a digit: an integer, a float, a date, an address, or text.
fn number(cursor: &mut Cursor<'_>) -> Result<Value, ParseError> {
    let start = cursor.offset();
    let digits = cursor.take_while(|c| c.is_ascii_digit()).len();
    match cursor.peek() {
        next if ends_bare(next) => integer(cursor, start),
        Some('.') => fraction(cursor, start),
        Some('-') if digits == 4 => date(cursor, start),
        Some('-') => Err(cursor.error("A date must be written as 2006-01-02T15:04:05Z")),
        Some(c) if is_suffix(c) => match suffixed(cursor, start)? {
            Some(value) => Ok(value),
            None => text_from(cursor, start),
        },
        _ => {
            // The character right after the digits stands for itself, even a backslash.
            cursor.bump();
            text_from(cursor, start)
        }
    }
}

/// Parses the rest of a text that began like a number.
fn text_from(cursor: &mut Cursor<'_>, start: usize) -> Result<Value, ParseError> {
    let head = cursor.since(start).to_owned();
    Ok(match bare(cursor)? {
        Scalar::Value(Value::String(tail)) => Value::String(head + &tail),
        // The tail only looks like a boolean or a variable.
        Scalar::Value(_) | Scalar::Variable(_) => Value::String(cursor.since(start).to_owned()),
    })
}

fn finish_text(cursor: &mut Cursor<'_>, start: usize) -> Value {
    cursor.take_while(|c| !ends_bare(Some(c)));
    Value::String(cursor.since(start).to_owned())
}

fn integer(cursor: &Cursor<'_>, start: usize) -> Result<Value, ParseError> {
    let digits = cursor.since(start);
    digits
        .parse()
        .map(Value::Integer)
        .map_err(|_| cursor.error(format!("integer '{digits}' is out of the range")))
}

fn is_suffix(character: char) -> bool {
    matches!(character.to_ascii_lowercase(), 'k' | 'm' | 'g' | 't' | 'p' | 'e')
}

/// Parses an integer with a size suffix; `None` if it is text that only looks like one.
fn suffixed(cursor: &mut Cursor<'_>, start: usize) -> Result<Option<Value>, ParseError> {
    let digits = cursor.since(start);
    let suffix_start = cursor.offset();
    cursor.bump();
    cursor.take_while(|c| matches!(c, 'b' | 'B' | 'i' | 'I'));
    let suffix = cursor.since(suffix_start).to_ascii_lowercase();
    // Before `]`, nats-server takes such a value for text. Tags like `5g` depend on this.
    if !ends_bare(cursor.peek()) || cursor.peek() == Some(']') {
        return Ok(None);
    }
    let base: i64 = match suffix.get(1..) {
        Some("") => 1000,
        Some("b" | "i" | "ib") => 1024,
        _ => return Err(cursor.error(format!("'{suffix}' is not a size suffix"))),
    };
    let power = "kmgtpe".find(&suffix[..1]).map_or(0, |index| index as u32 + 1);
    let number = digits.parse::<i64>().ok().and_then(|n| n.checked_mul(base.checked_pow(power)?));
    match number {
        Some(number) => Ok(Some(Value::Integer(number))),
        None => Err(cursor.error(format!("integer '{digits}{suffix}' is out of the range"))),
    }
}

/// Parses a float from its decimal point on, or an address if another point follows.
fn fraction(cursor: &mut Cursor<'_>, start: usize) -> Result<Value, ParseError> {
    cursor.bump();
    if !cursor.peek().is_some_and(|c| c.is_ascii_digit()) {
        let found = cursor.found();
        return Err(cursor.error(format!("A digit must follow the '.' of a float, not {found}")));
    }
    cursor.take_while(|c| c.is_ascii_digit());
    if cursor.peek() == Some('.') {
        cursor.take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':' | '-'));
        return Ok(Value::String(cursor.since(start).to_owned()));
    }
    let digits = cursor.since(start);
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Value::Float(number)),
        _ => Err(cursor.error(format!("float '{digits}' is out of the range"))),
    }
}

/// Parses a date from the first hyphen on.
fn date(cursor: &mut Cursor<'_>, start: usize) -> Result<Value, ParseError> {
    for wanted in "-00-00T00:00:00Z".chars() {
        let suits = |c: char| if wanted == '0' { c.is_ascii_digit() } else { c == wanted };
        if !cursor.peek().is_some_and(suits) {
            let found = cursor.found();
            return Err(
                cursor.error(format!("A date must be written as 2006-01-02T15:04:05Z, found {found}"))
            );
        }
        cursor.bump();
    }
    let text = cursor.since(start);
    if is_calendar_date(text) {
        Ok(Value::Datetime(text.to_owned()))
    } else {
        Err(cursor.error(format!("expected Zulu formatted DateTime, but got '{text}'")))
    }
}

/// Returns whether the numbers of a well-formed date exist in the calendar and on the clock.
fn is_calendar_date(text: &str) -> bool {
    let part = |from: usize, to: usize| text.get(from..to).and_then(|t| t.parse::<u32>().ok()).unwrap_or(0);
    let (year, month, day) = (part(0, 4), part(5, 7), part(8, 10));
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day) && part(11, 13) < 24 && part(14, 16) < 60 && part(17, 19) < 60
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Scalar, String> {
        scalar(&mut Cursor::new(text, "t".into())).map_err(|error| error.to_string())
    }

    fn string(text: &str) -> Value {
        Value::String(text.into())
    }

    #[test]
    fn values_by_their_text() {
        let cases = [
            ("1", Value::Integer(1)),
            ("-1", Value::Integer(-1)),
            ("0123 x", Value::Integer(123)),
            ("9223372036854775807", Value::Integer(i64::MAX)),
            ("-9223372036854775808", Value::Integer(i64::MIN)),
            ("4k", Value::Integer(4000)),
            ("4KB", Value::Integer(4096)),
            ("4ki", Value::Integer(4096)),
            ("4KiB", Value::Integer(4096)),
            ("-2m", Value::Integer(-2_000_000)),
            ("3gb", Value::Integer(3 << 30)),
            ("2T", Value::Integer(2_000_000_000_000)),
            ("1pib", Value::Integer(1 << 50)),
            ("1e", Value::Integer(1_000_000_000_000_000_000)),
            ("1.25", Value::Float(1.25)),
            ("-1.5]", Value::Float(-1.5)),
            ("on", Value::Bool(true)),
            ("Yes", Value::Bool(true)),
            ("FALSE}", Value::Bool(false)),
            ("'true'", string("true")),
            ("\"no\"", string("no")),
            ("truely", string("truely")),
            ("4kx", string("4kx")),
            ("10s", string("10s")),
            ("1m30s", string("1m30s")),
            (r"12\n\n", string("12\\n\n")),
            ("12'x", string("12'x")),
            ("1yes", string("1yes")),
            ("1$x", string("1$x")),
            ("127.0.0.1:4222", string("127.0.0.1:4222")),
            ("0.0.0.0", string("0.0.0.0")),
            ("localhost:4222,", string("localhost:4222")),
            ("http://x//y#z w", string("http://x//y#z")),
            ("'a\\n\"b\nc'", string("a\\n\"b\nc")),
            (r#""\t\n\r\"\\\x41\xe2\x82\xac""#, string("\t\n\r\"\\A€")),
            (r"a\x20b", string("a b")),
            (r"tru\x65", string("true")),
            ("ab'cd", string("ab")),
            ("(\nx )\n ) \n)\n", string("\nx )\n ) \n")),
            ("(x\n)", string("x\n")),
            ("(\n)\r\n", string("\n")),
            ("$2a$10$abc", string("$2a$10$abc")),
            ("$2y$10$abc", string("$2y$10$abc")),
            ("2016-02-29T23:59:59Z", Value::Datetime("2016-02-29T23:59:59Z".into())),
            ("1]", Value::Integer(1)),
            ("1k]", string("1k")),
            ("", string("")),
        ];
        for (text, value) in cases {
            assert_eq!(read(text), Ok(Scalar::Value(value)), "{text:?}");
        }
        assert_eq!(read("$HOME "), Ok(Scalar::Variable("HOME".into())));
    }

    #[test]
    fn what_is_no_value() {
        let cases = [
            (".5", "t:1:0: Parse error on line 1: 'A float must start with a digit, not with '.''"),
            ("5.", "the end of the file"),
            ("5.x", "'x'"),
            ("-x", "A digit must follow '-'"),
            ("9223372036854775808", "out of the range"),
            ("10e", "'10e' is out of the range"),
            ("1kbb", "'kbb' is not a size suffix"),
            ("12-34", "A date must be written"),
            ("2016-02-30T00:00:00Z", "expected Zulu formatted DateTime"),
            ("2016-02-03 00:00", "found ' '"),
            ("2016-02-03T24:00:00Z", "expected Zulu"),
            ("'abc", "not closed"),
            ("\"abc", "not closed"),
            ("\"\\q\"", "'q' can't be escaped"),
            ("\"\\x4g\"", "Two hexadecimal digits"),
            ("\"\\xff\"", "UTF-8"),
            ("(\nabc)\n", "not closed by a ')'"),
        ];
        for (text, part) in cases {
            let message = read(text).unwrap_err();
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }
}
