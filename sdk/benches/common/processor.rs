//! Time by the processor, for benchmarks on a machine that others use too.

/// Seconds that this process had a processor, as Python's `process_time` has it; 0 where the system is another.
#[cfg(target_os = "linux")]
pub fn processor_seconds() -> f64 {
    #[repr(C)]
    #[derive(Default)]
    struct Time {
        seconds: std::ffi::c_long,
        nanoseconds: std::ffi::c_long,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: std::ffi::c_int, time: *mut Time) -> std::ffi::c_int;
    }
    const PROCESS: std::ffi::c_int = 2;
    let mut time = Time::default();
    // SAFETY: the struct is that of this system, and is written before the function returns.
    unsafe { clock_gettime(PROCESS, &raw mut time) };
    time.seconds as f64 + time.nanoseconds as f64 / 1e9
}

#[cfg(not(target_os = "linux"))]
pub fn processor_seconds() -> f64 {
    0.0
}
