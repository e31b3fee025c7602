//! Keys, signatures and rollback from the command line, on a bundle of `tests/golden`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use limbeck::{BundleWriter, SectionKind};
use serde_json::Value;

use crate::cache;
use crate::world::{stderr, stdout};

struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    /// A folder with the bundle `a.limbeck`, of build 1.
    fn new() -> Desk {
        let desk = Desk { folder: tempfile::tempdir().unwrap() };
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/bundle-1.0");
        let expected: Value = serde_json::from_slice(&std::fs::read(golden.join("expected.json")).unwrap()).unwrap();
        std::fs::copy(golden.join(expected["bundle"].as_str().unwrap()), desk.path("a.limbeck")).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the program in the folder.
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_limbeck"))
            .args(arguments)
            .env("ORT_DYLIB_PATH", cache::onnxruntime())
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.succeeds(arguments)).unwrap()
    }

    /// The one line of the error.
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stdout(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        stderr(&output)
    }
}

#[test]
fn a_bundle_is_signed_and_verified() {
    let desk = Desk::new();
    let first = desk.json(&["keygen", "-o", "first", "--json"])["key_id"].as_str().unwrap().to_owned();
    let second = desk.json(&["keygen", "-o", "second.v2", "--json"])["key_id"].as_str().unwrap().to_owned();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |name: &str| desk.path(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("first.key"), mode("first.pub")), (0o600, 0o644));
    }
    let secret = std::fs::read_to_string(desk.path("first.key")).unwrap();
    let digits = secret.lines().nth(1).unwrap();

    let before = std::fs::read(desk.path("a.limbeck")).unwrap();
    let text = desk.succeeds(&["sign", "a.limbeck", "--key", "first.key", "-o", "b.limbeck"]);
    assert!(text.contains(&first) && !text.contains(digits), "{text}");
    assert_eq!(std::fs::read(desk.path("a.limbeck")).unwrap(), before);
    let json = desk.json(&["sign", "b.limbeck", "--key", "second.v2.key", "--json"]);
    assert_eq!(json["signed_by"], serde_json::json!([first, second]));

    let json = desk.json(&["verify", "b.limbeck", "--key", "second.v2.pub", "--min-build", "1", "--json"]);
    assert_eq!((&json["verified_key"], &json["ran"], &json["build"]), (&second.into(), &true.into(), &1.into()));
    assert!(desk.succeeds(&["verify", "b.limbeck", "--structure-only"]).contains("not checked"));
    assert!(desk.succeeds(&["verify", "a.limbeck", "--structure-only"]).contains("not signed"));
    assert!(desk.succeeds(&["inspect", "b.limbeck"]).contains(&first));

    desk.succeeds(&["keygen", "-o", "third"]);
    for (arguments, expected) in [
        (vec!["verify", "b.limbeck", "--key", "third.pub"], "no trusted key signed the bundle"),
        (vec!["verify", "a.limbeck", "--key", "first.pub"], "not signed"),
        (vec!["verify", "b.limbeck", "--key", "first.pub", "--min-build", "2"], "build 1, and 2 is the lowest"),
        (vec!["verify", "b.limbeck", "--key", "first.key"], "must stay secret"),
        (vec!["verify", "b.limbeck", "--key", "none.pub"], "none.pub"),
        (vec!["sign", "b.limbeck", "--key", "first.pub"], "first.pub"),
        (vec!["sign", "none.limbeck", "--key", "first.key"], "none.limbeck does not exist"),
        (vec!["keygen", "-o", "first"], "first.key is there already"),
    ] {
        let line = desk.fails(&arguments);
        assert!(line.contains(expected) && !line.contains(digits), "{arguments:?}: {line}");
    }
    assert_eq!(std::fs::read_to_string(desk.path("first.key")).unwrap(), secret);
    std::fs::remove_file(desk.path("first.key")).unwrap();
    assert!(desk.fails(&["keygen", "-o", "first"]).contains("first.pub is there already"));
    assert!(!desk.path("first.key").exists());

    let output = desk.run(&["verify", "b.limbeck", "--key", "third.pub", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &json["code"]), (Some(1), &"SIGNATURE".into()));
}

/// What this program cannot decrypt it can still sign and check.
#[test]
fn an_encrypted_bundle_is_signed_without_its_key() {
    let desk = Desk::new();
    let bundle = limbeck::Bundle::open(desk.path("a.limbeck")).unwrap();
    // A toy that stands in for a cipher.
    let toy_xor = |_: &str, _: &SectionKind, content: &[u8]| Ok(content.iter().map(|byte| byte ^ 0x5A).collect());
    let writer = BundleWriter::from_bundle(&bundle).encrypt([SectionKind::Weights], toy_xor);
    writer.write(desk.path("secret.limbeck")).unwrap();
    desk.succeeds(&["keygen", "-o", "mine"]);
    desk.succeeds(&["sign", "secret.limbeck", "--key", "mine.key"]);
    desk.succeeds(&["verify", "secret.limbeck", "--key", "mine.pub", "--structure-only"]);
    assert!(desk.fails(&["verify", "secret.limbeck", "--key", "mine.pub"]).contains("`model.onnx.data` is encrypted"));
    assert!(desk.succeeds(&["inspect", "secret.limbeck"]).contains(" encrypted\n"));
}
