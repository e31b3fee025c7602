//! An own writer of the format of `docs/bundle-format.md`, which writes whatever it is told to.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const PREFIX: usize = 64;

/// A section and what the header shall say about it.
#[derive(Clone)]
pub struct Section {
    pub name: String,
    pub kind: String,
    pub align: Option<u64>,
    pub required: bool,
    pub compression: String,
    pub encryption: Option<Value>,
    pub bytes: Vec<u8>,
}

impl Section {
    pub fn new(name: &str, kind: &str, bytes: impl Into<Vec<u8>>) -> Section {
        Section {
            name: name.to_owned(),
            kind: kind.to_owned(),
            align: None,
            required: true,
            compression: "none".to_owned(),
            encryption: None,
            bytes: bytes.into(),
        }
    }

    /// A section that a reader may skip.
    pub fn optional(name: &str, kind: &str, bytes: impl Into<Vec<u8>>) -> Section {
        Section { required: false, ..Section::new(name, kind, bytes) }
    }
}

/// A finished bundle and where its parts lie.
#[derive(Clone)]
pub struct Built {
    pub bytes: Vec<u8>,
    pub header_end: usize,
    /// First byte and first byte after it, of each section.
    pub places: Vec<(usize, usize)>,
}

impl Built {
    /// The bytes that no hash covers, each range with the index of the section after it.
    pub fn gaps(&self) -> Vec<(usize, usize, usize)> {
        let mut end = self.header_end;
        let mut gaps = Vec::new();
        for (index, &(start, next)) in self.places.iter().enumerate() {
            if start > end {
                gaps.push((end, start, index));
            }
            end = next;
        }
        gaps
    }
}

pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The header of `sections` as JSON, with `header_length` bytes of header assumed.
fn entries(sections: &[Section], header_length: usize) -> (Value, Vec<(usize, usize)>) {
    let mut end = PREFIX + header_length;
    let (mut list, mut places) = (Vec::new(), Vec::new());
    for section in sections {
        // What is not a power of two is a wrong statement for the reader; here it places nothing.
        let align = section.align.filter(|a| a.is_power_of_two() && (64..=1 << 20).contains(a)).unwrap_or(64) as usize;
        let start = end.next_multiple_of(align);
        end = start + section.bytes.len();
        places.push((start, end));
        let mut entry = json!({"name": section.name, "kind": section.kind, "offset": start,
            "length": section.bytes.len(), "sha256": hex(&section.bytes)});
        if let Some(align) = section.align {
            entry["align"] = json!(align);
        }
        entry["required"] = json!(section.required);
        entry["compression"] = json!(section.compression);
        if let Some(encryption) = &section.encryption {
            entry["encryption"] = encryption.clone();
        }
        list.push(entry);
    }
    (json!({ "sections": list }), places)
}

/// Builds a bundle whose header is `render` of the right one. The sections are placed behind the rendered
/// header, however long that is.
pub fn build_with(sections: &[Section], render: impl Fn(Value) -> Vec<u8>) -> Built {
    let mut header = Vec::new();
    loop {
        let (value, places) = entries(sections, header.len());
        let next = render(value);
        let settled = next.len() == header.len();
        header = next;
        if settled {
            return assemble(&header, sections, places);
        }
    }
}

/// Builds a right bundle.
pub fn build(sections: &[Section]) -> Built {
    build_with(sections, |header| header.to_string().into_bytes())
}

/// Builds a bundle after `change` of the header's list of sections.
pub fn build_changed(sections: &[Section], change: impl Fn(&mut Vec<Value>)) -> Built {
    build_with(sections, |mut header| {
        if let Some(list) = header["sections"].as_array_mut() {
            change(list);
        }
        header.to_string().into_bytes()
    })
}

fn assemble(header: &[u8], sections: &[Section], places: Vec<(usize, usize)>) -> Built {
    let header_end = PREFIX + header.len();
    let mut bytes = vec![0; PREFIX];
    bytes[..8].copy_from_slice(&[0x89, b'L', b'B', b'K', b'\r', b'\n', 0x1A, b'\n']);
    bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
    bytes[16..24].copy_from_slice(&(header.len() as u64).to_le_bytes());
    bytes.extend_from_slice(header);
    for (section, &(start, _)) in sections.iter().zip(&places) {
        bytes.resize(start, 0);
        bytes.extend_from_slice(&section.bytes);
    }
    let length = bytes.len() as u64;
    bytes[24..32].copy_from_slice(&length.to_le_bytes());
    let mut built = Built { bytes, header_end, places };
    seal(&mut built.bytes, header_end);
    built
}

/// Puts the right digest over the first half of the prefix and the header that ends at `header_end`.
pub fn seal(bytes: &mut [u8], header_end: usize) {
    let mut hash = Sha256::new();
    hash.update(&bytes[..32]);
    hash.update(&bytes[PREFIX..header_end]);
    let digest = hash.finalize();
    bytes[32..64].copy_from_slice(&digest);
}

/// Writes a number into the prefix and seals it again.
pub fn with_prefix(built: &Built, at: usize, value: &[u8], header_end: usize) -> Vec<u8> {
    let mut bytes = built.bytes.clone();
    bytes[at..at + value.len()].copy_from_slice(value);
    seal(&mut bytes, header_end);
    bytes
}
