//! Writes libtorch's folder into the rpath of the binary, the tests and the benchmarks, so that they run without
//! environment variables. Every crate whose tests link libtorch shares this script: a linker argument reaches only the crate
//! whose script gives it.

use std::{env, fs, path::PathBuf, process::exit};

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let named = PathBuf::from(env::var_os("LIBTORCH").unwrap_or_else(|| ".libtorch".into()));
    let Ok(libtorch) = fs::canonicalize(&named) else {
        eprintln!(
            "libtorch is not at {}: run `bash jobs/setup.sh`, or set LIBTORCH to the folder that holds lib/ and include/",
            named.display()
        );
        exit(1);
    };
    println!(
        "cargo:rustc-link-arg=-Wl,-rpath,{}",
        libtorch.join("lib").display()
    );
}
