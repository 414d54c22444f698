//! `--signal`: the signal and its target process.

use std::fs;

use super::FlagError;

/// A signal of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalCommand {
    /// Kill at once.
    Stop,
    /// Shut down, as on an interrupt.
    Quit,
    /// Shut down.
    Term,
    /// Open the log file again.
    Reopen,
    /// Enter lame duck mode.
    LameDuck,
    /// Reload the configuration.
    Reload,
}

impl SignalCommand {
    /// All signals.
    pub const ALL: [Self; 6] =
        [Self::Stop, Self::Quit, Self::Term, Self::Reopen, Self::LameDuck, Self::Reload];

    /// Returns the word on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Quit => "quit",
            Self::Term => "term",
            Self::Reopen => "reopen",
            Self::LameDuck => "ldm",
            Self::Reload => "reload",
        }
    }
}

/// The value of `--signal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalRequest {
    /// The signal.
    pub command: SignalCommand,
    /// A process id, or a prefix of one followed by `*`; `None` for the only running server.
    pub target: Option<String>,
}

impl SignalRequest {
    /// Parses `command` or `command=pid`. If the pid is the path of a readable file, the file's content replaces it.
    ///
    /// # Errors
    /// Fails if the command is unknown or the pid is invalid.
    pub fn parse(text: &str) -> Result<Self, FlagError> {
        let mut parts = text.split('=');
        let word = parts.next().unwrap_or_default();
        let target = parts.next();
        let surplus: Vec<_> = parts.collect();
        if !surplus.is_empty() {
            return Err(FlagError::InvalidSignalParameters(surplus.join(" ")));
        }
        let command = SignalCommand::ALL
            .into_iter()
            .find(|command| command.word() == word)
            .ok_or_else(|| FlagError::UnknownSignal(word.to_owned()))?;
        let target = target.filter(|target| !target.is_empty()).map(read_pid_file);
        if let Some(target) = &target {
            let digits = target.strip_suffix('*').unwrap_or(target);
            if (digits.is_empty() && !target.ends_with('*')) || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(FlagError::InvalidPid(target.clone()));
            }
        }
        Ok(Self { command, target })
    }
}

fn read_pid_file(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| path.to_owned(), |pid| pid.trim().to_owned())
}
