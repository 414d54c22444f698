//! `--signal`: finds a running server and sends it a signal.

use stonechat_config::flags::SignalRequest;

/// Sends the signal; returns the exit code.
#[cfg(unix)]
pub(super) fn send(request: &SignalRequest) -> i32 {
    match unix::send(request) {
        Ok(()) => 0,
        Err(text) => {
            super::console::err(format_args!("nats-server: {text}"));
            1
        }
    }
}

/// Reports that signals are not supported; returns the exit code.
#[cfg(not(unix))]
pub(super) fn send(_: &SignalRequest) -> i32 {
    super::console::err("nats-server: signals to other processes are not supported on this system");
    1
}

#[cfg(unix)]
mod unix {
    use std::fs;
    use std::process::Command;
    use stonechat_config::flags::{SignalCommand, SignalRequest};

    /// Process names of a server.
    const NAMES: &str = "nats-server|stonechat-serve";

    pub(super) fn send(request: &SignalRequest) -> Result<(), String> {
        let pids = match request.target.as_deref().filter(|t| !t.is_empty()) {
            Some(target) => targets(target)?,
            None => vec![only_running()?],
        };
        for pid in pids {
            let signal = format!("-{}", signal_name(request.command));
            let sent = Command::new("kill").args([signal.as_str(), &pid.to_string()]).output();
            if !sent.is_ok_and(|o| o.status.success()) {
                return Err(format!("\nsignal \"{}\" {pid}: no such process", request.command.word()));
            }
        }
        Ok(())
    }

    fn signal_name(command: SignalCommand) -> &'static str {
        match command {
            SignalCommand::Stop => "KILL",
            SignalCommand::Quit => "INT",
            SignalCommand::Term => "TERM",
            SignalCommand::Reopen => "USR1",
            SignalCommand::Reload => "HUP",
            SignalCommand::LameDuck => "USR2",
        }
    }

    /// Returns the process ids for a process id, a file that holds one, or a prefix of ids followed by `*`.
    fn targets(target: &str) -> Result<Vec<u32>, String> {
        if let Some(prefix) = target.strip_suffix('*') {
            let pids: Vec<u32> =
                running().into_iter().filter(|p| p.to_string().starts_with(prefix)).collect();
            return if pids.is_empty() { Err("no nats-server processes running".into()) } else { Ok(pids) };
        }
        let text = fs::read_to_string(target).unwrap_or_else(|_| target.to_string());
        text.trim().parse().map(|pid| vec![pid]).map_err(|_| format!("invalid pid: {target}"))
    }

    fn only_running() -> Result<u32, String> {
        let pids = running();
        match pids.as_slice() {
            [] => Err("no nats-server processes running".into()),
            [pid] => Ok(*pid),
            _ => {
                let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
                Err(format!("multiple nats-server processes running:\n{}", list.join("\n")))
            }
        }
    }

    fn running() -> Vec<u32> {
        let Ok(found) = Command::new("pgrep").arg(NAMES).output() else { return Vec::new() };
        let own = std::process::id();
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        text.lines().filter_map(|l| l.trim().parse().ok()).filter(|pid| *pid != own).collect()
    }
}
