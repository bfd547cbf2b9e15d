//! Ctrl-C and SIGTERM: the first stops after the current part, the second at once.

use std::io::{self, Write};

use prospect_common::Error;
use prospect_engine::progress::{Cancel, Progress};

/// Messages printed at the first and at the second interrupt.
pub(super) struct Messages {
    pub first: &'static str,
    pub second: &'static str,
}

/// For commands that work in parts.
pub(super) const PARTS: Messages = Messages {
    first: "finishing the current part; press again to discard it",
    second: "discarded the current part and kept the finished ones; run the same command again to resume",
};

/// Installs the handler. It runs on its own thread, so it may print and take locks.
pub(super) fn install(
    cancel: &Cancel,
    progress: &Progress,
    messages: Messages,
) -> Result<(), Error> {
    let (cancel, progress) = (cancel.clone(), progress.clone());
    let detached = hangups_are_ignored();
    ctrlc::set_handler(move || {
        if cancel.request() {
            progress.suspend(|| {
                let _ = writeln!(io::stderr(), "{}", messages.first);
            });
            return;
        }
        // Finished parts are atomic, so no cleanup is needed. `exit` would run the destructors of libtorch's globals
        // while its threads still work, which can crash and change the exit status.
        let _ = writeln!(io::stderr(), "{}", messages.second);
        // SAFETY: _exit has no preconditions; it ends the process without running any of its code.
        unsafe { libc::_exit(i32::from(Error::Interrupted.exit_code())) }
    })
    .map_err(|error| Error::Io {
        path: "the interrupt handler".into(),
        action: "installing",
        source: io::Error::other(error),
    })?;
    if detached {
        // SAFETY: SIG_IGN is a valid disposition, and nothing depends on the one it replaces.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    }
    Ok(())
}

/// Whether SIGHUP is ignored, as under `nohup`. Closing the terminal must then not stop the run, but installing the handler
/// resets that.
fn hangups_are_ignored() -> bool {
    // SAFETY: all zeros is a valid sigaction, and with a null new action the call only writes the old one to it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}
