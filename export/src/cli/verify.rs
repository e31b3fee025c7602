use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use limbeck::{Bundle, Model, PublicKey, SelfTestReport};
use serde_json::json;

use super::engines::Engine;
use super::keys;

/// Check every hash and, with keys, the signature of a bundle, and that it gives here what it gave where it was made
#[derive(Args)]
#[command(
    after_help = "Examples:\n  limbeck verify sentiment.limbeck\n  limbeck verify sentiment.limbeck --structure-only\n  limbeck verify sentiment.limbeck --key release.pub --min-build 12\n\nExit status 1 when the bundle is not sound, is signed by none of the keys, or is too old."
)]
pub(super) struct Verify {
    /// Bundle
    bundle: PathBuf,
    /// File of a trusted public key; with several, a signature by one of them will do
    #[arg(long, value_name = "FILE.pub")]
    key: Vec<PathBuf>,
    /// Lowest build number that will do
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_build: u64,
    /// Do not run it: needs no ONNX Runtime, and nothing to decrypt an encrypted bundle
    #[arg(long)]
    structure_only: bool,
    /// The result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: Engine,
}

/// What was found in a sound bundle.
struct Sound {
    sections: usize,
    build: u64,
    /// Keys that the bundle names.
    signers: Vec<String>,
    /// The trusted key whose signature was right.
    verified: Option<String>,
    /// The self-test, if it was run.
    tested: Option<SelfTestReport>,
}

impl Verify {
    pub(super) fn run(self) -> Result<ExitCode> {
        let keys = self.key.iter().map(|path| keys::public_key(path)).collect::<Result<Vec<_>>>()?;
        let result = self.check(&keys);
        if self.json {
            match &result {
                Ok(sound) => super::print_json(&json!({
                    "ok": true, "sections": sound.sections, "ran": !self.structure_only, "self_test": sound.tested, "build": sound.build,
                    "signed_by": sound.signers, "verified_key": sound.verified,
                }))?,
                Err(error) => {
                    super::print_json(
                        &json!({"ok": false, "code": error.code().name(), "message": error.to_string()}),
                    )?;
                }
            }
            return Ok(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        let sound = result?;
        let ran = match sound.tested {
            None => "not run".to_owned(),
            Some(SelfTestReport { vectors: 0, .. }) => "ran once; it has no self-test".to_owned(),
            Some(test) => format!(
                "self-test of {} texts passed, largest difference {:.0e} of {:.0e}",
                test.vectors, test.largest_difference, test.tolerance
            ),
        };
        let signed = match (&sound.verified, sound.signers.as_slice()) {
            (Some(key), _) => format!("signed by the trusted key {key}"),
            (None, []) => "not signed".to_owned(),
            (None, signers) => format!("signature by {} not checked, for want of --key", signers.join(", ")),
        };
        super::print(&format!(
            "{}: sound ({} sections, all hashes equal; {ran}; {signed})\n",
            self.bundle.display(),
            sound.sections
        ))?;
        Ok(ExitCode::SUCCESS)
    }

    fn check(&self, keys: &[PublicKey]) -> limbeck::Result<Sound> {
        let mut options = Bundle::options().minimum_build(self.min_build).keep_encrypted();
        if !keys.is_empty() {
            options = options.trusted_keys(keys.iter().copied());
        }
        let bundle = options.open(&self.bundle)?;
        let mut sound = Sound {
            sections: bundle.sections().len(),
            build: bundle.manifest().build,
            signers: bundle.signers()?,
            verified: if keys.is_empty() { None } else { Some(bundle.verify(keys)?) },
            tested: None,
        };
        if !self.structure_only {
            limbeck::runtime::load(self.engine.path().as_deref())?;
            let model = Model::builder().open_bundle(bundle)?;
            model.warm_up()?;
            sound.tested = Some(model.self_test()?);
        }
        Ok(sound)
    }
}
