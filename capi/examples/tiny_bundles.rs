//! Writes the bundles that the C programs of tests/c and the examples are tried with, one a task:
//! `cargo run -p limbeck-capi --example tiny_bundles -- FOLDER`

#[allow(dead_code)] // the tests use more of it
#[path = "../tests/support/tiny.rs"]
mod tiny;

fn main() {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: tiny_bundles FOLDER");
        std::process::exit(2);
    };
    tiny::write_all(folder.as_ref());
}
