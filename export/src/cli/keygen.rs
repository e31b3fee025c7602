use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use limbeck::SigningKey;
use limbeck_export::files::write_new;
use serde_json::json;

/// Make a pair of keys for signing bundles
#[derive(Args)]
#[command(
    after_help = "Example:\n  limbeck keygen -o release\n\nWrites release.key, which signs bundles and must stay secret (only you can read it), and release.pub,\nwhich checks signatures and may be published. Files that are there are not overwritten."
)]
pub(super) struct Keygen {
    /// Name of the two files, without `.key` and `.pub`
    #[arg(short, long, value_name = "NAME")]
    output: PathBuf,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

impl Keygen {
    pub(super) fn run(self) -> Result<ExitCode> {
        let (secret, public) = (with_ending(&self.output, ".key"), with_ending(&self.output, ".pub"));
        for file in [&secret, &public] {
            if file.symlink_metadata().is_ok() {
                bail!("{} is there already and is not overwritten: choose another name", file.display());
            }
        }
        let key = SigningKey::generate()?;
        let public_key = key.public_key();
        write_new(&secret, key.to_text().as_bytes(), true)?;
        if let Err(error) = write_new(&public, format!("{}\n", public_key.to_hex()).as_bytes(), false) {
            // Half a pair is of no use, and the next try shall not stumble over it.
            let _ = std::fs::remove_file(&secret);
            return Err(error);
        }
        if self.json {
            super::print_json(
                &json!({"key": secret, "pub": public, "key_id": key.id(), "public_key": public_key.to_hex()}),
            )?;
        } else {
            super::print(&format!(
                "{}: keep it secret and keep a copy\n{}: key {}, give it to whoever checks your bundles\n\
                 Next: limbeck sign BUNDLE --key {}\n",
                secret.display(),
                public.display(),
                key.id(),
                secret.display()
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Not `with_extension`, which would cut a name at its last dot.
fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
