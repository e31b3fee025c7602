//! Memory of this process, from the operating system.

/// A field of `/proc/self/status` in MB (10^6 bytes); `None` where there is no such file.
fn status_mb(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// Largest resident memory so far, in MB.
pub fn peak_memory_mb() -> Option<f64> {
    status_mb("VmHWM:")
}

/// Resident memory now, in MB.
pub fn resident_memory_mb() -> Option<f64> {
    status_mb("VmRSS:")
}
