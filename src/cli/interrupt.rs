//! Ctrl-C and SIGTERM: the first asks to stop after the current part, the second stops at once.

use std::io::{self, Write};

use crate::{
    error::Error,
    progress::{Cancel, Progress},
};

/// Installs the handler. It runs on a thread of its own, so it may print and take locks.
pub(super) fn install(cancel: &Cancel, progress: &Progress) -> Result<(), Error> {
    let (cancel, progress) = (cancel.clone(), progress.clone());
    ctrlc::set_handler(move || {
        if cancel.request() {
            progress.suspend(|| {
                let _ = writeln!(
                    io::stderr(),
                    "finishing the current part; press again to drop it"
                );
            });
            return;
        }
        // Parts are atomic, so there is nothing to tidy up. `exit` would run the destructors of libtorch's
        // globals while its threads still work, which can crash and spoil the exit status.
        let _ = writeln!(
            io::stderr(),
            "dropped the current part; the finished parts are kept: run the same command again to go on"
        );
        // SAFETY: _exit has no preconditions; it ends the process without running any of its code.
        unsafe { libc::_exit(i32::from(Error::Interrupted.exit_code())) }
    })
    .map_err(|error| Error::Io {
        path: "the interrupt handler".into(),
        action: "installing",
        source: io::Error::other(error),
    })
}
