//! What the tests share.

pub mod bare_runtime;
pub mod bundles;
pub mod cache;
pub mod models;

/// Seeds libtorch's default generator. It belongs to the whole process, and tests run side by side: the one that
/// holds this guard is the only one that draws.
pub fn seeded(seed: i64) -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    tch::manual_seed(seed);
    // Tiny models are slower on two threads, which would also wait busily while other tests want the core.
    tch::set_num_threads(1);
    turn
}

/// Whether the processor has products of int8 that do not saturate (VNNI; dot products of ARM), for which ONNX Runtime has its best
/// kernels.
pub fn has_int8_products() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni")
    }
    #[cfg(not(target_arch = "x86_64"))]
    true
}
