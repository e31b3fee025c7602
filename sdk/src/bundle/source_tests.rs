//! Bundles in parts of files and in streams, friendly and not.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};

use super::tests::{sample, writer};
use super::*;
use crate::{Code, Error, Result};

/// A file that holds `content` at `offset`, with other bytes around it.
fn file_with(content: &[u8], offset: usize, after: usize) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![0xAA; offset]).unwrap();
    file.write_all(content).unwrap();
    file.write_all(&vec![0xBB; after]).unwrap();
    file
}

fn problem<T: std::fmt::Debug>(result: Result<T>) -> BundleError {
    match result {
        Err(Error::Bundle { problem, bundle }) => {
            assert!(bundle == "<reader>" || bundle == "<file>", "{bundle}");
            problem
        }
        other => panic!("an error of the bundle was expected, not {other:?}"),
    }
}

#[test]
fn a_bundle_inside_a_file() {
    let sample = sample();
    let length = sample.len() as u64;
    // Mapped where the offset allows it, read to memory elsewhere.
    for offset in [0, 64, 4096, 12_345 * 64, 1, 7, 63, 4095] {
        for (after, given) in [(0, None), (0, Some(length)), (5000, Some(length))] {
            let mut file = file_with(&sample, offset, after);
            file.seek(SeekFrom::Start(3)).unwrap();
            let shared = file.try_clone().unwrap();
            let bundle = Bundle::from_file(file, offset as u64, given).unwrap();
            assert_eq!((bundle.size(), bundle.name()), (length, "<file>"));
            assert_eq!(bundle.section(WEIGHTS).unwrap().as_ref(), [7; 100]);
            let mapped = bundle.section(WEIGHTS).unwrap().as_ptr() as usize;
            assert!(!offset.is_multiple_of(64) || mapped.is_multiple_of(64));
            assert_eq!((&shared).stream_position().unwrap(), 3, "the file's position is as it was");
        }
    }
}

#[test]
fn parts_of_files_that_are_no_bundle() {
    let sample = sample();
    let length = sample.len() as u64;
    for offset in [0, 128, 5] {
        let open = |length| Bundle::from_file(file_with(&sample, offset, 100), offset as u64, length);
        let trailing = problem(open(Some(length + 10)));
        assert_eq!(trailing, BundleError::TrailingBytes { extra: 10 });
        assert_eq!(problem(open(None)), BundleError::TrailingBytes { extra: 100 });
        let cut = problem(open(Some(length - 10)));
        assert_eq!(cut, BundleError::Truncated { what: "the bundle", expected: length, found: length - 10 });
        assert_eq!(problem(open(Some(0))).code(), Code::Truncated);
        assert_eq!(problem(open(Some(30))).code(), Code::Truncated);
        for length in [length + 101, u64::MAX] {
            let error = open(Some(length)).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{error}");
            assert!(error.to_string().contains("beyond the end of the file"), "{error}");
        }
        // Next to the bundle there is none.
        let beside = Bundle::from_file(file_with(&sample, offset, 100), offset as u64 + 64, Some(1000));
        assert_eq!(problem(beside).code(), Code::NotABundle);
    }
    for offset in [length + 1, u64::MAX] {
        for given in [None, Some(0), Some(length)] {
            let error = Bundle::from_file(file_with(&sample, 0, 0), offset, given).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        }
    }
    assert_eq!(problem(Bundle::from_file(file_with(&sample, 0, 0), length, None)).code(), Code::Truncated);
    let limited = Bundle::options().size_limit(length - 1);
    assert!(matches!(problem(limited.open_file(file_with(&sample, 1, 0), 1, None)), BundleError::LimitExceeded { .. }));
    limited.open_file(file_with(&sample, 64, 0), 64, None).expect("what is mapped has no limit");
}

#[cfg(unix)]
#[test]
fn files_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    for (file, offset) in [(File::open(folder.path()), 0), (File::open("/dev/zero"), 0), (File::open("/dev/zero"), 7)] {
        let error = Bundle::from_file(file.unwrap(), offset, None).unwrap_err();
        assert_eq!(error.code(), Code::Io);
        assert!(error.to_string().contains("<file>") && error.to_string().contains("regular"), "{error}");
    }
    // Opened for writing alone.
    let path = folder.path().join("a.limbeck");
    writer().write(&path).unwrap();
    for offset in [0, 1] {
        let file = File::options().write(true).open(&path).unwrap();
        assert_eq!(Bundle::from_file(file, offset, None).unwrap_err().code(), Code::Io);
    }
}

/// Gives `content` in pieces of `piece` bytes, interrupted now and then.
struct Pieces<'a> {
    content: &'a [u8],
    piece: usize,
    calls: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(3) {
            return Err(ErrorKind::Interrupted.into());
        }
        let length = self.piece.min(buffer.len());
        self.content.read(&mut buffer[..length])
    }
}

#[test]
fn a_bundle_from_a_stream() {
    let sample = sample();
    for piece in [1, 63, 4096, usize::MAX] {
        for hint in [None, Some(sample.len() as u64)] {
            let bundle = Bundle::from_reader(Pieces { content: &sample, piece, calls: 0 }, hint).unwrap();
            assert_eq!((bundle.size(), bundle.name()), (sample.len() as u64, "<reader>"));
            assert_eq!(bundle.section(WEIGHTS).unwrap().as_ref(), [7; 100]);
        }
    }
    let signed = writer().sign(&SigningKey::generate().unwrap()).to_bytes().unwrap();
    let stranger = SigningKey::generate().unwrap().public_key();
    let refused = Bundle::options().trusted_keys([stranger]).open_reader(signed.as_slice(), None);
    assert!(matches!(problem(refused), BundleError::NoTrustedSignature { .. }));
}

#[test]
fn streams_that_end_too_early_or_too_late() {
    let sample = sample();
    for length in (0..1500).chain([sample.len() - 1]) {
        assert_eq!(problem(Bundle::from_reader(&sample[..length], None)).code(), Code::Truncated, "{length} bytes");
    }
    let longer = [&sample[..], &[0; 3000]].concat();
    assert!(matches!(problem(Bundle::from_reader(longer.as_slice(), None)), BundleError::TrailingBytes { .. }));
    // The hint speaks before the bytes do.
    let length = sample.len() as u64;
    let hinted = |hint| problem(Bundle::from_reader(sample.as_slice(), Some(hint)));
    let found = length - 1;
    assert_eq!(hinted(found), BundleError::Truncated { what: "the bundle", expected: length, found });
    assert_eq!(hinted(length + 7), BundleError::TrailingBytes { extra: 7 });
    assert_eq!(hinted(u64::MAX), BundleError::TrailingBytes { extra: u64::MAX - length });
}

/// Counts what is read from it and gives bytes for ever.
struct Endless<'a> {
    first: &'a [u8],
    given: &'a mut u64,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut got = self.first.read(buffer)?;
        if got == 0 {
            buffer.fill(0);
            got = buffer.len();
        }
        *self.given += got as u64;
        Ok(got)
    }
}

/// What was read of an endless stream that begins like this, and what came of it.
fn endless(first: &[u8], options: &BundleOptions) -> (u64, BundleError) {
    let mut given = 0;
    let outcome = options.open_reader(Endless { first, given: &mut given }, None);
    (given, problem(outcome))
}

/// A sealed header that says the file has `length` bytes, all of one section.
fn claiming(length: u64) -> Vec<u8> {
    let header = r#"{"sections":[]}"#.to_owned();
    [&layout::prefix(header.as_bytes(), length)[..], header.as_bytes()].concat()
}

#[test]
fn endless_streams_end() {
    let options = Bundle::options();
    let (given, problem) = endless(&[], &options);
    assert!(matches!(problem, BundleError::NotABundle(_)) && given <= 64, "{given} {problem:?}");
    let sample = sample();
    let (given, problem) = endless(&sample, &options);
    assert!(matches!(problem, BundleError::TrailingBytes { .. }), "{problem:?}");
    assert_eq!(given, sample.len() as u64 + 1);
    // A header as long as it may be, and never the right one.
    let mut long = layout::prefix(&[0; 1 << 20], u64::MAX).to_vec();
    long[40] ^= 1;
    let (given, problem) = endless(&long, &options);
    assert!(matches!(problem, BundleError::HashMismatch { .. }) && given <= 64 + (1 << 20), "{given} {problem:?}");

    // Sealed, and larger than is believed.
    for length in [u64::MAX, 1 << 40, (4 << 30) + 1] {
        let (given, problem) = endless(&claiming(length), &options);
        assert_eq!(
            problem,
            BundleError::LimitExceeded { what: "the length of the bundle".into(), found: length, limit: 4 << 30 }
        );
        assert!(given < 1000, "{given} bytes read");
    }
    // As large as is believed: then so much is read, and no more.
    let (given, problem) = endless(&claiming(1 << 20), &options.size_limit(1 << 20));
    assert!(matches!(problem, BundleError::TrailingBytes { .. }), "{problem:?}");
    assert_eq!(given, (1 << 20) + 1);
}

/// A stream that claims gigabytes and gives little costs little.
#[test]
fn memory_follows_what_is_given() {
    let first = claiming(4 << 30);
    let cut = Bundle::from_reader(first.as_slice(), None);
    assert_eq!(
        problem(cut),
        BundleError::Truncated { what: "the bundle", expected: 4 << 30, found: first.len() as u64 }
    );
}

#[test]
fn streams_that_fail_or_lie() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::new(ErrorKind::NotFound, "the line went dead")),
                got => Ok(got),
            }
        }
    }
    struct Lying;
    impl Read for Lying {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            Ok(buffer.len() + 1)
        }
    }
    let sample = sample();
    for length in [0, 20, 64, 100, 5000, sample.len()] {
        let error = Bundle::from_reader(Failing(&sample[..length]), None).unwrap_err();
        assert_eq!(error.code(), Code::Io, "{length}: {error}");
        assert!(error.to_string().contains("<reader>") && error.to_string().contains("went dead"), "{error}");
    }
    let error = Bundle::from_reader(Lying, None).unwrap_err();
    assert_eq!(error.code(), Code::Io);
    assert!(error.to_string().contains("more bytes than it was asked for"), "{error}");
}
