//! As much of ELF as the checks of a shared library need: little-endian files of 32 and 64 bits.

use anyhow::{Context, Result, bail};

/// What a shared library says of itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Elf {
    /// `EM_*`: 62 is x86-64, 183 aarch64, 40 arm.
    pub machine: u16,
    /// Whether it is a 64-bit file.
    pub is_64: bool,
    /// Alignment of each LOAD segment.
    pub load_alignments: Vec<u64>,
    /// The name that programs are linked to.
    pub soname: Option<String>,
    /// Libraries that are loaded with it.
    pub needed: Vec<String>,
    /// Symbols that other programs see, sorted.
    pub exported: Vec<String>,
    /// Versions of symbols that it wants of those libraries: `GLIBC_2.34`.
    pub wanted: Vec<String>,
}

impl Elf {
    /// The oldest glibc that has all it wants: `2.34`. None if it wants nothing of glibc.
    pub fn glibc(&self) -> Option<String> {
        // What packed relocations want is named after them, and came with 2.36.
        let versions =
            self.wanted.iter().map(|version| if version == "GLIBC_ABI_DT_RELR" { "GLIBC_2.36" } else { version });
        let versions = versions.filter_map(|version| version.strip_prefix("GLIBC_"));
        let numbers = |version: &&str| version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>();
        versions.max_by_key(numbers).map(str::to_owned)
    }
}

const PT_LOAD: u64 = 1;
const SHT_DYNAMIC: u64 = 6;
const SHT_DYNSYM: u64 = 11;
const SHT_GNU_VERNEED: u64 = 0x6fff_fffe;
const DT_NEEDED: u64 = 1;
const DT_SONAME: u64 = 14;

/// Reads a file.
///
/// # Errors
/// It is not a little-endian ELF file, or it is cut.
pub fn parse(bytes: &[u8]) -> Result<Elf> {
    if !bytes.starts_with(b"\x7fELF") {
        bail!("this is not an ELF file");
    }
    let is_64 = match bytes.get(4..6) {
        Some([1, 1]) => false,
        Some([2, 1]) => true,
        _ => bail!("this is not a little-endian ELF file"),
    };
    let file = File { bytes, is_64 };
    let machine = file.half(18)?;
    let sections = file.sections()?;
    let (mut soname, mut needed, mut exported, mut wanted) = (None, Vec::new(), Vec::new(), Vec::new());
    for section in &sections {
        let entries = |size| (0..section.size / size).map(move |number| section.offset + number * size);
        let strings = || sections.get(section.link).context("a section has no strings");
        match section.kind {
            SHT_DYNAMIC => {
                let strings = strings()?;
                for at in entries(if is_64 { 16 } else { 8 }) {
                    let (tag, value) = (file.word(at)?, file.word(at + file.word_bytes())?);
                    match tag {
                        0 => break,
                        DT_NEEDED => needed.push(file.text(strings, value)?),
                        DT_SONAME => soname = Some(file.text(strings, value)?),
                        _ => {}
                    }
                }
            }
            SHT_DYNSYM => {
                let strings = strings()?;
                for at in entries(if is_64 { 24 } else { 16 }) {
                    let info = if is_64 { at + 4 } else { at + 12 };
                    let is_local = file.byte(info)? >> 4 == 0;
                    // Hidden and internal ones are seen by nobody.
                    let is_hidden = matches!(file.byte(info + 1)? & 3, 1 | 2);
                    let is_undefined = file.half(info + 2)? == 0;
                    if !is_local && !is_hidden && !is_undefined {
                        exported.push(file.text(strings, u64::from(file.four(at)?))?);
                    }
                }
            }
            SHT_GNU_VERNEED => {
                let strings = strings()?;
                let mut library = section.offset;
                loop {
                    let mut at = library + u64::from(file.four(library + 8)?);
                    for _ in 0..file.half(library + 2)? {
                        wanted.push(file.text(strings, file.four(at + 8)?.into())?);
                        at += u64::from(file.four(at + 12)?);
                    }
                    match file.four(library + 12)? {
                        0 => break,
                        next => library += u64::from(next),
                    }
                }
            }
            _ => {}
        }
    }
    exported.sort();
    Ok(Elf { machine, is_64, load_alignments: file.load_alignments()?, soname, needed, exported, wanted })
}

struct File<'a> {
    bytes: &'a [u8],
    is_64: bool,
}

struct Section {
    kind: u64,
    offset: u64,
    size: u64,
    /// Number of the section with its strings.
    link: usize,
}

impl File<'_> {
    fn array<const N: usize>(&self, at: u64) -> Result<[u8; N]> {
        let at = usize::try_from(at)?;
        let found = at.checked_add(N).and_then(|end| self.bytes.get(at..end)).context("the ELF file is cut")?;
        Ok(found.try_into()?)
    }

    fn byte(&self, at: u64) -> Result<u8> {
        Ok(self.array::<1>(at)?[0])
    }

    fn half(&self, at: u64) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array(at)?))
    }

    fn four(&self, at: u64) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    fn word_bytes(&self) -> u64 {
        if self.is_64 { 8 } else { 4 }
    }

    /// An address, an offset or a size.
    fn word(&self, at: u64) -> Result<u64> {
        if self.is_64 { Ok(u64::from_le_bytes(self.array(at)?)) } else { Ok(self.four(at)?.into()) }
    }

    fn sections(&self) -> Result<Vec<Section>> {
        let (table, entry) = if self.is_64 { (40, 58) } else { (32, 46) };
        let (table, entry, count) = (self.word(table)?, u64::from(self.half(entry)?), u64::from(self.half(entry + 2)?));
        let section = |number| {
            let at = table.checked_add(number * entry).context("the ELF file is cut")?;
            let (offset, link) = if self.is_64 { (at + 24, at + 40) } else { (at + 16, at + 24) };
            Ok(Section {
                kind: self.four(at + 4)?.into(),
                offset: self.word(offset)?,
                size: self.word(offset + self.word_bytes())?.min(self.bytes.len() as u64),
                link: usize::try_from(self.four(link)?)?,
            })
        };
        (0..count).map(section).collect()
    }

    fn load_alignments(&self) -> Result<Vec<u64>> {
        let (table, entry) = if self.is_64 { (32, 54) } else { (28, 42) };
        let (table, entry, count) = (self.word(table)?, u64::from(self.half(entry)?), u64::from(self.half(entry + 2)?));
        let mut alignments = Vec::new();
        for number in 0..count {
            let at = table.checked_add(number * entry).context("the ELF file is cut")?;
            if u64::from(self.four(at)?) == PT_LOAD {
                alignments.push(self.word(at + if self.is_64 { 48 } else { 28 })?);
            }
        }
        Ok(alignments)
    }

    fn text(&self, strings: &Section, at: u64) -> Result<String> {
        let start = usize::try_from(strings.offset.saturating_add(at))?;
        let rest = self.bytes.get(start..).context("the ELF file is cut")?;
        let end = rest.iter().position(|byte| *byte == 0).context("the ELF file is cut")?;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }
}

#[cfg(test)]
#[path = "elf_tests.rs"]
mod tests;
