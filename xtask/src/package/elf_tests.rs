use super::*;

/// A file with one LOAD segment, dynamic symbols and a dynamic section.
fn made(is_64: bool) -> Vec<u8> {
    let word = |value: u64| if is_64 { value.to_le_bytes().to_vec() } else { (value as u32).to_le_bytes().to_vec() };
    let four = |value: u32| value.to_le_bytes().to_vec();
    let half = |value: u16| value.to_le_bytes().to_vec();
    let strings = b"\0limbeck_b\0limbeck_a\0hidden\0libc.so.6\0libx.so.0\0".to_vec();
    let symbol = |name: u32, info: u8, other: u8, section: u16| match is_64 {
        true => [four(name), vec![info, other], half(section), vec![0; 16]].concat(),
        false => [four(name), vec![0; 8], vec![info, other], half(section)].concat(),
    };
    let symbols = [
        symbol(0, 0, 0, 0),
        symbol(1, 0x12, 0, 7),
        symbol(11, 0x22, 0, 7),
        symbol(21, 0x12, 2, 7), // hidden
        symbol(21, 0x02, 0, 7), // local
        symbol(21, 0x12, 0, 0), // not defined here
    ]
    .concat();
    let entry = |tag: u64, value: u64| [word(tag), word(value)].concat();
    let dynamic = [entry(1, 28), entry(14, 38), entry(0, 0), entry(1, 1)].concat();

    let header = if is_64 { 64 } else { 52 };
    let segment_bytes: usize = if is_64 { 56 } else { 32 };
    let parts = [&strings, &symbols, &dynamic];
    let mut at = header + segment_bytes;
    let offsets = parts.map(|part| {
        at += part.len();
        at - part.len()
    });
    let section = |kind: u32, part: Option<usize>, link: u32| {
        let (offset, size) = part.map_or((0, 0), |part| (offsets[part] as u64, parts[part].len() as u64));
        [four(0), four(kind), word(0), word(0), word(offset), word(size), four(link), four(0), word(0), word(0)]
            .concat()
    };
    let sections =
        [section(0, None, 0), section(3, Some(0), 0), section(11, Some(1), 1), section(6, Some(2), 1)].concat();
    let segment = match is_64 {
        true => [four(1), vec![0; 44], word(0x4000)].concat(),
        false => [four(1), vec![0; 24], word(0x1000)].concat(),
    };
    let mut file = b"\x7fELF".to_vec();
    file.extend([if is_64 { 2 } else { 1 }, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([half(3), half(183), four(1), word(0), word(header as u64), word(at as u64), four(0)].concat());
    let sizes = [header, segment_bytes, 1, if is_64 { 64 } else { 40 }, 4, 0];
    file.extend(sizes.iter().flat_map(|size| half(*size as u16)));
    file.extend([segment, strings, symbols, dynamic, sections].concat());
    file
}

#[test]
fn both_widths_are_read() {
    for is_64 in [true, false] {
        let expected = Elf {
            machine: 183,
            is_64,
            load_alignments: vec![if is_64 { 0x4000 } else { 0x1000 }],
            soname: Some("libx.so.0".to_owned()),
            needed: vec!["libc.so.6".to_owned()],
            exported: vec!["limbeck_a".to_owned(), "limbeck_b".to_owned()],
            wanted: vec![],
        };
        assert_eq!(parse(&made(is_64)).unwrap(), expected);
    }
}

#[test]
fn a_cut_or_damaged_file_is_an_error_and_no_panic() {
    for is_64 in [true, false] {
        let whole = made(is_64);
        // The last fields of the last section are not looked at.
        for length in 0..whole.len() - 20 {
            assert!(parse(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] = 0xff;
            let _ = parse(&damaged);
        }
    }
    assert!(parse(b"\xcf\xfa\xed\xfe").unwrap_err().to_string().contains("not an ELF"));
}

/// What the system's linker makes.
#[cfg(target_os = "linux")]
#[test]
fn a_linked_library_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("x.c"), folder.path().join("x.so"));
    std::fs::write(
        &source,
        "#include <stdlib.h>\nint limbeck_one(void) { return rand(); }\nstatic int two(void) { return 2; }\nint (*limbeck_two)(void) = two;\n",
    )
    .unwrap();
    let mut cc = std::process::Command::new("cc");
    cc.args(["-shared", "-fPIC", "-Wl,-soname,libx.so.0", "-Wl,-z,max-page-size=16384", "-o"])
        .arg(&library)
        .arg(source);
    assert!(cc.status().unwrap().success());
    let elf = parse(&std::fs::read(&library).unwrap()).unwrap();
    assert_eq!(elf.soname.as_deref(), Some("libx.so.0"));
    assert_eq!(elf.exported, ["limbeck_one", "limbeck_two"]);
    assert!(elf.load_alignments.iter().all(|alignment| *alignment == 16384), "{elf:?}");
    // rand is one of the oldest functions; some processors came to glibc late.
    assert!(elf.glibc().is_some_and(|version| version.starts_with("2.")), "{elf:?}");
    assert!(elf.needed.iter().any(|needed| needed.starts_with("libc.so")), "{elf:?}");
}

#[test]
fn the_newest_wanted_version_is_the_oldest_that_will_do() {
    let mut elf = parse(&made(true)).unwrap();
    assert_eq!(elf.glibc(), None);
    elf.wanted = ["GLIBC_2.4", "GCC_4.2.0", "GLIBC_2.34", "GLIBC_2.17"].map(str::to_owned).to_vec();
    assert_eq!(elf.glibc().as_deref(), Some("2.34"));
    elf.wanted.push("GLIBC_ABI_DT_RELR".to_owned());
    assert_eq!(elf.glibc().as_deref(), Some("2.36"));
}
