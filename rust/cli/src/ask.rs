//! Questions on the terminal. Without a terminal, a question is an error.

use std::io::{self, BufRead, IsTerminal, Write};

use tokio::sync::oneshot;

use crate::error::CliError;

/// Whether standard input is a terminal, so that a question can be answered.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal()
}

/// Asks whether to go on. An empty answer is `default`.
///
/// # Errors
/// Standard input is not a terminal.
pub(crate) async fn confirm(question: &str, default: bool) -> Result<bool, CliError> {
    if !is_interactive() {
        return Err(CliError::NotConfirmed);
    }
    let choice = if default { "[Y/n]" } else { "[y/N]" };
    let answer = read_answer(&format!("{question} {choice} ")).await?;
    Ok(match answer.to_ascii_lowercase().as_str() {
        "" => default,
        answer => matches!(answer, "y" | "yes"),
    })
}

/// Asks before a removal; with `force` it does not ask.
///
/// # Errors
/// [`CliError::Refused`] if the answer is no; [`CliError::NotConfirmed`] without a terminal.
pub(crate) async fn agree(question: &str, force: bool) -> Result<(), CliError> {
    match force || confirm(question, false).await? {
        true => Ok(()),
        false => Err(CliError::Refused),
    }
}

/// Asks for a text. An empty answer is the default; without a default the question is repeated.
///
/// # Errors
/// [`CliError::NotAsked`] without a terminal; it names the `flag` that answers in advance.
pub(crate) async fn input(question: &str, default: Option<&str>, flag: &str) -> Result<String, CliError> {
    if !is_interactive() {
        return Err(CliError::NotAsked { question: question.to_owned(), flag: flag.to_owned() });
    }
    let prompt = match default.filter(|text| !text.is_empty()) {
        Some(default) => format!("{question} ({default}) "),
        None => format!("{question} "),
    };
    loop {
        let answer = read_answer(&prompt).await?;
        match (answer.is_empty(), default) {
            (false, _) => return Ok(answer),
            (true, Some(default)) => return Ok(default.to_owned()),
            (true, None) => {}
        }
    }
}

/// Asks until the answer can be parsed.
///
/// # Errors
/// As [`input`].
pub(crate) async fn value<T>(
    question: &str,
    default: &str,
    flag: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, CliError> {
    loop {
        let answer = input(question, Some(default), flag).await?;
        match parse(&answer) {
            Ok(value) => return Ok(value),
            Err(reason) => crate::console::say(reason),
        }
    }
}

/// Asks for one of several texts, by number or name; the first is the default.
///
/// # Errors
/// As [`input`].
pub(crate) async fn choose(question: &str, options: &[String], flag: &str) -> Result<String, CliError> {
    if is_interactive() {
        for (i, option) in options.iter().enumerate() {
            crate::console::say(format_args!("  {}) {}", i + 1, crate::output::shown(option)));
        }
    }
    loop {
        let answer = input(question, options.first().map(String::as_str), flag).await?;
        let numbered = answer.parse::<usize>().ok().and_then(|number| options.get(number.wrapping_sub(1)));
        let found = numbered.or_else(|| options.iter().find(|option| option.eq_ignore_ascii_case(&answer)));
        if let Some(option) = found {
            return Ok(option.clone());
        }
        crate::console::say(format_args!("answer with one of the {} names, or its number", options.len()));
    }
}

/// Prints the prompt and reads a line, on its own thread, so that Ctrl-C can end the command meanwhile.
async fn read_answer(prompt: &str) -> Result<String, CliError> {
    let mut output = io::stderr().lock();
    write!(output, "{prompt}").and_then(|()| output.flush()).map_err(CliError::Output)?;
    drop(output);
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line).map(|bytes| (bytes, line));
        let _ = sender.send(read);
    });
    match receiver.await {
        Ok(Ok((0, _))) | Err(_) => Err(CliError::Refused),
        Ok(Ok((_, line))) => Ok(line.trim().to_owned()),
        Ok(Err(error)) => Err(CliError::Stdin(error)),
    }
}
