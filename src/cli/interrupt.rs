//! Ctrl-C and SIGTERM: the first asks to stop after the current part, the second stops at once.

use std::io::{self, Write};

use prospect_common::Error;
use prospect_engine::progress::{Cancel, Progress};

/// What the user reads after the first and after the second wish to stop.
pub(super) struct Words {
    pub first: &'static str,
    pub second: &'static str,
}

/// Of commands that work in parts.
pub(super) const PARTS: Words = Words {
    first: "finishing the current part; press again to drop it",
    second: "dropped the current part; finished parts are kept: run the same command again to resume",
};

/// Installs the handler. It runs on a thread of its own, so it may print and take locks.
pub(super) fn install(cancel: &Cancel, progress: &Progress, words: Words) -> Result<(), Error> {
    let (cancel, progress) = (cancel.clone(), progress.clone());
    let detached = hangups_are_ignored();
    ctrlc::set_handler(move || {
        if cancel.request() {
            progress.suspend(|| {
                let _ = writeln!(io::stderr(), "{}", words.first);
            });
            return;
        }
        // What is finished is atomic, so there is nothing to tidy up. `exit` would run the destructors of libtorch's
        // globals while its threads still work, which can crash and spoil the exit status.
        let _ = writeln!(io::stderr(), "{}", words.second);
        // SAFETY: _exit has no preconditions; it ends the process without running any of its code.
        unsafe { libc::_exit(i32::from(Error::Interrupted.exit_code())) }
    })
    .map_err(|error| Error::Io {
        path: "the interrupt handler".into(),
        action: "installing",
        source: io::Error::other(error),
    })?;
    if detached {
        // SAFETY: SIG_IGN is a valid disposition and nothing depends on the one it replaces.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    }
    Ok(())
}

/// Whether we were started by `nohup` or the like: closing the terminal must then not stop the run, but the handler's
/// installation would undo that.
fn hangups_are_ignored() -> bool {
    // SAFETY: all zeros is a valid sigaction, and with a null new action the call only writes the old one there.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}
