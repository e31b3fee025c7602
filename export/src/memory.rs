//! How a program that trains should get memory from the system.

/// Tells glibc's allocator to keep freed memory in place of giving it back. A training step frees and takes the same
/// tensors again, the largest of which (the embeddings' gradient) glibc maps anew each time, so that the system clears
/// every page of it in every step. Without effect where the C library is another.
///
/// For programs, at their start; a library must leave its host's allocator alone.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::ffi::c_int;
        unsafe extern "C" {
            fn mallopt(parameter: c_int, value: c_int) -> c_int;
        }
        // malloc.h
        const M_TRIM_THRESHOLD: c_int = -1;
        const M_MMAP_MAX: c_int = -4;
        // Not where the user has chosen.
        if std::env::var_os("GLIBC_TUNABLES").is_some()
            || std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("MALLOC_"))
        {
            return;
        }
        // SAFETY: mallopt has no precondition; it returns 0 for what it does not know, which changes nothing.
        unsafe {
            mallopt(M_MMAP_MAX, 0);
            mallopt(M_TRIM_THRESHOLD, -1);
        }
    }
}
