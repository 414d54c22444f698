//! `stonechat server` with server flags: runs the server in this program, or the program `stonechat-server`.

use std::ffi::OsString;

/// Runs the server with these flags; the result is the exit code.
#[cfg(feature = "server")]
pub(crate) fn serve(args: Vec<OsString>) -> i32 {
    // The first argument is the program's name.
    stonechat_server::run(std::iter::once(OsString::from("stonechat-server")).chain(args))
}

/// Runs `stonechat-server` with these flags; the result is the exit code.
#[cfg(not(feature = "server"))]
pub(crate) fn serve(args: Vec<OsString>) -> i32 {
    use crate::console::say;
    use crate::error::EXIT_FAILURE;

    let Some(program) = find(std::env::current_exe().ok(), std::env::var_os("PATH")) else {
        say("stonechat: there is no stonechat-server beside this program or on PATH; install it with \
             \"pip install stonechat\", or take it from the archive of a release");
        return EXIT_FAILURE;
    };
    let mut command = std::process::Command::new(&program);
    command.args(args);
    run(&mut command).unwrap_or_else(|error| {
        say(format_args!("stonechat: cannot run {}: {error}", program.display()));
        EXIT_FAILURE
    })
}

/// Returns the server program beside this program, else the first one on `PATH`.
#[cfg(any(test, not(feature = "server")))]
fn find(own: Option<std::path::PathBuf>, path: Option<OsString>) -> Option<std::path::PathBuf> {
    let name = format!("stonechat-server{}", std::env::consts::EXE_SUFFIX);
    let beside = own.and_then(|own| own.parent().map(std::path::Path::to_owned));
    let folders = path.iter().flat_map(std::env::split_paths);
    beside.into_iter().chain(folders).map(|folder| folder.join(&name)).find(|program| program.is_file())
}

/// Replaces this process by the server, so that signals and the process id belong to the server.
#[cfg(all(unix, not(feature = "server")))]
fn run(command: &mut std::process::Command) -> std::io::Result<i32> {
    use std::os::unix::process::CommandExt;

    Err(command.exec())
}

/// Runs the server, and waits for its end.
#[cfg(all(not(unix), not(feature = "server")))]
fn run(command: &mut std::process::Command) -> std::io::Result<i32> {
    Ok(command.status()?.code().unwrap_or(crate::error::EXIT_FAILURE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_beside_comes_before_that_on_path() {
        let (beside, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let own = beside.path().join("stonechat");
        let path = std::env::join_paths([other.path()]).unwrap();
        let name = format!("stonechat-server{}", std::env::consts::EXE_SUFFIX);
        assert_eq!(find(Some(own.clone()), Some(path.clone())), None);
        std::fs::write(other.path().join(&name), "").unwrap();
        assert_eq!(find(Some(own.clone()), Some(path.clone())), Some(other.path().join(&name)));
        std::fs::write(beside.path().join(&name), "").unwrap();
        assert_eq!(find(Some(own), Some(path)), Some(beside.path().join(&name)));
        assert_eq!(find(None, None), None);
    }
}
