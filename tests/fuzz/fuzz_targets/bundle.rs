//! The reader, on bytes of any kind. Hashes would stop nearly every change at the door, so those that can be found are
//! made right first: what is left is the parser, which must refuse or accept and never panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use limbeck::Bundle;
use serde_json::Value;
use sha2::{Digest, Sha256};

#[allow(dead_code)]
#[path = "../../attacks/raw.rs"]
mod raw;

fn length(bytes: &[u8], at: usize) -> Option<usize> {
    let word: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(word)).ok()
}

/// Makes the hashes of sections and header right, as far as the header can be read.
fn rehash(bytes: &mut [u8]) -> Option<()> {
    let end = raw::PREFIX.checked_add(length(bytes, 16)?)?;
    let header: Value = serde_json::from_slice(bytes.get(raw::PREFIX..end)?).ok()?;
    for section in header.get("sections")?.as_array()? {
        let number = |key: &str| usize::try_from(section.get(key)?.as_u64()?).ok();
        let place = || {
            let from = number("offset")?;
            bytes.get(from..from.checked_add(number("length")?)?)
        };
        let (Some(content), Some(old)) = (place(), section.get("sha256").and_then(Value::as_str)) else { continue };
        let new = raw::hex(&Sha256::digest(content));
        let header = &mut bytes[raw::PREFIX..end];
        if old.len() == new.len()
            && let Some(at) = header.windows(old.len()).position(|window| window == old.as_bytes())
        {
            header[at..at + new.len()].copy_from_slice(new.as_bytes());
        }
    }
    raw::seal(bytes, end);
    Some(())
}

fuzz_target!(|bytes: &[u8]| {
    let _ = Bundle::from_bytes(bytes);
    let mut bytes = bytes.to_vec();
    rehash(&mut bytes);
    if let Ok(bundle) = Bundle::from_bytes(bytes) {
        let total: u64 = bundle.sections().iter().map(|section| section.length).sum();
        assert!(total <= bundle.size());
        for section in bundle.sections() {
            let content = bundle.section(&section.name).expect("a section that is listed");
            assert_eq!(content.len() as u64, section.length);
        }
        let _ = bundle.self_test();
    }
});
