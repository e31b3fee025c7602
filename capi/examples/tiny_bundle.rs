//! Writes the bundle that the C programs of tests/c are run with:
//! `cargo run -p limbeck-capi --example tiny_bundle -- FILE`

#[path = "../tests/support/tiny.rs"]
mod tiny;

fn main() {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: tiny_bundle FILE");
        std::process::exit(2);
    };
    tiny::write(path.as_ref());
}
