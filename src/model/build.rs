//! Builds the C++ shim against the libtorch that tch uses.

use std::{env, fs, path::PathBuf, process::exit};

fn main() {
    println!("cargo:rerun-if-changed=shim.cpp");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let named = PathBuf::from(env::var_os("LIBTORCH").unwrap_or_else(|| ".libtorch".into()));
    let Ok(libtorch) = fs::canonicalize(&named) else {
        eprintln!(
            "no libtorch at {}: run `bash jobs/setup.sh`, or set LIBTORCH to the folder with lib/ and include/",
            named.display()
        );
        exit(1);
    };
    let lib = libtorch.join("lib");
    let include = libtorch.join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .file("shim.cpp")
        .compile("prospect_shim");
    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo:rustc-link-lib=dylib=torch_cpu");
    println!("cargo:rustc-link-lib=dylib=c10");
}
