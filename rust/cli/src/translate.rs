//! Translation of messages' bodies by a command before output (`--translate`).

use std::io::Write;
use std::process::{Command, Stdio};

use crate::error::CliError;

/// Splits a command line like a shell: with single and double quotes, and backslashes.
///
/// # Errors
/// A quote is not closed, or the line contains no word.
pub(crate) fn split_words(line: &str) -> Result<Vec<String>, CliError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match (quote, words.is_empty()) {
        (None, false) => Ok(words),
        _ => {
            Err(CliError::Client(format!("cannot run the command {line:?}: it is empty, or a quote is open")))
        }
    }
}

/// Returns the output of a command for a body. `{{Subject}}` and `{{Stream}}` in the command line stand for those of the message.
///
/// # Errors
/// The command can't be started, or fails.
pub(crate) fn translate(line: &str, body: &[u8], subject: &str, stream: &str) -> Result<Vec<u8>, CliError> {
    // Replaced after the split, so that a subject from another client remains one word.
    let words = split_words(&line.replace("{{ ", "{{").replace(" }}", "}}"))?;
    let filled = |word: &String| word.replace("{{Subject}}", subject).replace("{{Stream}}", stream);
    let words: Vec<String> = words.iter().map(filled).collect();
    let wrong = |reason: String| CliError::Client(format!("cannot translate with {line:?}: {reason}"));
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| wrong(error.to_string()))?;
    let input = child.stdin.take();
    let body = body.to_vec();
    // The command may write before it has read all input, so a thread writes its input.
    let writer = std::thread::spawn(move || input.is_none_or(|mut input| input.write_all(&body).is_ok()));
    let output = child.wait_with_output().map_err(|error| wrong(error.to_string()))?;
    let _ = writer.join();
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(wrong(output.status.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_in_a_shell() {
        assert_eq!(
            split_words(r#"jq '.a b' "c \" d" e\ f ''"#).unwrap(),
            ["jq", ".a b", "c \" d", "e f", ""]
        );
        assert!(split_words("a 'b").is_err() && split_words("  ").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_body_runs_through_a_command() {
        assert_eq!(translate("tr a-z A-Z", b"hello", "s", "S").unwrap(), b"HELLO");
        assert_eq!(translate("echo {{Subject}} {{ Stream }}", b"", "a.b", "S").unwrap(), b"a.b S\n");
        assert!(translate("false", b"", "s", "S").is_err());
        assert!(translate("/nothing/there", b"", "s", "S").is_err());
    }
}
