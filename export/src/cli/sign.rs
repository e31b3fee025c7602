use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use limbeck::{Bundle, BundleWriter};
use serde_json::json;

use super::keys;

/// Sign a bundle, so that whoever has the public key can tell that it is yours and unchanged
#[derive(Args)]
#[command(
    after_help = "Examples:\n  limbeck sign sentiment.limbeck --key release.key\n  limbeck sign sentiment.limbeck --key release.key -o signed/sentiment.limbeck\n\nSignatures by other keys stay. `limbeck keygen` makes keys, `limbeck verify --key` checks signatures."
)]
pub(super) struct Sign {
    /// Bundle
    bundle: PathBuf,
    /// File of the signing key; may be repeated
    #[arg(long, required = true, value_name = "FILE.key")]
    key: Vec<PathBuf>,
    /// Where to write the signed bundle; default: in place of the other
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

impl Sign {
    pub(super) fn run(self) -> Result<ExitCode> {
        let signing = self.key.iter().map(|path| keys::signing_key(path)).collect::<Result<Vec<_>>>()?;
        // Signing needs no key for decryption: the signature is over what is stored.
        let bundle = Bundle::options().keep_encrypted().open(&self.bundle)?;
        let writer = signing.iter().fold(BundleWriter::from_bundle(&bundle), |writer, key| writer.sign(key));
        // Not to replace a file that is still mapped.
        drop(bundle);
        let output = self.output.unwrap_or(self.bundle);
        let bytes = writer.write(&output)?;
        let signers = Bundle::options().keep_encrypted().open(&output)?.signers()?;
        if self.json {
            super::print_json(&json!({"bundle": output, "bytes": bytes, "signed_by": signers}))?;
        } else {
            super::print(&format!("{}: signed by {}\n", output.display(), signers.join(", ")))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
