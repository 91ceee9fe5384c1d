//! The process's resident memory in MiB, as Linux tells it; zero elsewhere.

use std::fs;

/// Now.
pub(crate) fn now() -> f64 {
    status("VmRSS:")
}

/// The most since the start or [`forget_peak`].
pub(crate) fn peak() -> f64 {
    status("VmHWM:")
}

/// Begins a new peak. Some systems forbid it: the peak is then that of the whole process.
pub(crate) fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn status(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
