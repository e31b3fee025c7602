//! OPENING A BUNDLE

use std::ffi::{c_char, c_int, c_void};
use std::io;

use limbeck_sdk::{Bundle, BundleOptions, PublicKey, SectionInfo};

use crate::bundle::limbeck_bundle;
use crate::descriptor::duplicate;
use crate::error::limbeck_error;
use crate::ffi::{self, Failure, Growing, UserData, guard};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// Reads up to `capacity` bytes into `buffer` and returns how many came: 0 at the
/// end, a negative number on failure, which is named in the message. It is called
/// on the thread of the call that it was given to, and must return to it: no
/// longjmp and no C++ exception may leave it.
pub type limbeck_read_function =
    Option<unsafe extern "C" fn(data: *mut c_void, buffer: *mut u8, capacity: usize) -> i64>;

/// Where a decrypt function puts what it has decrypted. Lives as long as the
/// call of that function, for its thread alone.
pub struct limbeck_sink {
    bytes: Vec<u8>,
}

/// Decrypts a section: it gets the section's name and its `length` stored bytes,
/// writes the content to `sink`, and returns 0, or another number on failure,
/// which is named in the message. Called as a limbeck_read_function is.
pub type limbeck_decrypt_function = Option<
    unsafe extern "C" fn(
        data: *mut c_void,
        section: limbeck_str,
        stored: *const u8,
        length: usize,
        sink: *mut limbeck_sink,
    ) -> i32,
>;

/// What must hold for a bundle, and what helps to read it. Only read during the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_bundle_options {
    /// Size of this struct; set by limbeck_bundle_options_init.
    pub size: usize,
    /// Public keys of 64 hex digits each: one of them must have signed the
    /// bundle, which is checked before anything else in it is read. NULL: no
    /// signature is asked for, and hashes show damage but not forgery.
    pub keys: *const limbeck_str,
    /// How many keys there are.
    pub key_count: usize,
    /// The lowest build number that will do; a lower one is LIMBECK_ROLLBACK.
    pub minimum_build: u64,
    /// The longest bundle that is read to memory, in bytes. 0: 4 GiB.
    pub size_limit: u64,
    /// Decrypts the sections that are encrypted. NULL: such a bundle is refused.
    pub decrypt: limbeck_decrypt_function,
    /// Handed to `decrypt`.
    pub decrypt_data: *mut c_void,
}

// SAFETY: repr(C), size first; on 64-bit systems no padding, on others only where
// zeros are written by `init`; every field takes any bits but `decrypt`, which the
// caller fills with a function or NULL; zeros are the defaults.
unsafe impl Growing for limbeck_bundle_options {
    const FIRST_SIZE: usize = size_of::<limbeck_bundle_options>();
}

/// Fills `options` with the defaults; pass sizeof(limbeck_bundle_options).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_options_init(options: *mut limbeck_bundle_options, size: usize) {
    // SAFETY: `options` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(options, size) }
}

/// Opens a bundle file and verifies all of it. The path is `path_length` bytes: as
/// the system has them on Unix, UTF-8 on Windows; it has no NUL inside. The file is
/// mapped: do not change or cut it while the bundle or its models are open; replace
/// it by renaming a new file over it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_open(
    path: *const c_char,
    path_length: usize,
    options: *const limbeck_bundle_options,
    out: *mut *mut limbeck_bundle,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, path, options) = unsafe {
            let out = ffi::out(out, "out")?;
            (out, ffi::path(path, path_length, "path")?, bundle_options(options, "options")?)
        };
        ffi::give(out, limbeck_bundle::new(options.open(path)?));
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Opens a bundle of `length` bytes in memory and verifies all of it. The bytes
/// are copied, so yours may go when the call returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_open_bytes(
    bytes: *const u8,
    length: usize,
    options: *const limbeck_bundle_options,
    out: *mut *mut limbeck_bundle,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, bytes, options) = unsafe {
            let out = ffi::out(out, "out")?;
            (out, ffi::slice(bytes, length, "bytes")?, bundle_options(options, "options")?)
        };
        ffi::give(out, limbeck_bundle::new(options.open_bytes(bytes)?));
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Opens a bundle that lies in an open file: `length` bytes from `offset` on, or
/// all up to its end if `length` is 0. So an uncompressed asset inside an app's
/// package needs no copy: at an `offset` that is a multiple of 64 it is mapped, else
/// read to memory. The descriptor stays yours and may be closed when the call
/// returns; the file's position is of no matter. Not on Windows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_open_fd(
    descriptor: c_int,
    offset: u64,
    length: u64,
    options: *const limbeck_bundle_options,
    out: *mut *mut limbeck_bundle,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, options) = unsafe { (ffi::out(out, "out")?, bundle_options(options, "options")?) };
        let file = duplicate(descriptor).map_err(Failure::argument)?;
        let length = Some(length).filter(|length| *length != 0);
        ffi::give(out, limbeck_bundle::new(options.open_file(file, offset, length)?));
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Reads a bundle to memory through `read`, which gets `data`, up to its end. If
/// the length is known, give it as `length_hint`, so that a bundle of another length
/// is refused before it is read. 0: not known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_open_reader(
    read: limbeck_read_function,
    data: *mut c_void,
    length_hint: u64,
    options: *const limbeck_bundle_options,
    out: *mut *mut limbeck_bundle,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, options) = unsafe { (ffi::out(out, "out")?, bundle_options(options, "options")?) };
        let function = read.ok_or_else(|| Failure::null("read"))?;
        let hint = Some(length_hint).filter(|length| *length != 0);
        ffi::give(out, limbeck_bundle::new(options.open_reader(Reader { function, data }, hint)?));
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Appends `length` bytes of content. Only from inside a decrypt function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_sink_write(
    sink: *mut limbeck_sink,
    bytes: *const u8,
    length: usize,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (sink, bytes) = unsafe {
            let sink = sink.as_mut().ok_or_else(|| Failure::null("sink"))?;
            (sink, ffi::slice(bytes, length, "bytes")?)
        };
        sink.bytes.try_reserve(length).map_err(|_| Failure::argument("there is no memory for the content"))?;
        sink.bytes.extend_from_slice(bytes);
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// # Safety
/// `options` is NULL or as the header says.
pub(crate) unsafe fn bundle_options(
    options: *const limbeck_bundle_options,
    name: &str,
) -> Result<BundleOptions, Failure> {
    // SAFETY: by this function's contract.
    let raw: limbeck_bundle_options = unsafe { ffi::read(options, name) }?;
    let mut options = Bundle::options().minimum_build(raw.minimum_build);
    if !raw.keys.is_null() || raw.key_count != 0 {
        // SAFETY: by this function's contract.
        let keys = unsafe { ffi::texts(raw.keys, raw.key_count, &format!("{name}->keys")) }?;
        options =
            options.trusted_keys(keys.into_iter().map(PublicKey::from_hex).collect::<limbeck_sdk::Result<Vec<_>>>()?);
    }
    if raw.size_limit != 0 {
        options = options.size_limit(raw.size_limit);
    }
    if let Some(decrypt) = raw.decrypt {
        let data = UserData(raw.decrypt_data);
        options = options.decrypt(move |section, stored| decrypted(decrypt, &data, section, stored));
    }
    Ok(options)
}

fn decrypted(
    decrypt: unsafe extern "C" fn(*mut c_void, limbeck_str, *const u8, usize, *mut limbeck_sink) -> i32,
    data: &UserData,
    section: &SectionInfo,
    stored: &[u8],
) -> Result<Vec<u8>, String> {
    let mut sink = limbeck_sink { bytes: Vec::new() };
    // SAFETY: the caller promised a function that takes these; all outlive the call.
    let status = unsafe { decrypt(data.0, limbeck_str::view(&section.name), stored.as_ptr(), stored.len(), &mut sink) };
    match status {
        0 => Ok(sink.bytes),
        status => Err(format!("the decrypt function returned {status}")),
    }
}

struct Reader {
    function: unsafe extern "C" fn(*mut c_void, *mut u8, usize) -> i64,
    data: *mut c_void,
}

impl io::Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the caller promised a function that writes at most that many bytes.
        let count = unsafe { (self.function)(self.data, buffer.as_mut_ptr(), buffer.len()) };
        match usize::try_from(count) {
            Ok(count) if count <= buffer.len() => Ok(count),
            Ok(count) => Err(io::Error::other(format!(
                "the read function returned {count}, more than the {} bytes there was room for",
                buffer.len()
            ))),
            Err(_) => Err(io::Error::other(format!("the read function returned {count}"))),
        }
    }
}
