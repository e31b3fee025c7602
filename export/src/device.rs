//! Where training runs.

use anyhow::{Result, bail};
use tch::Device;

use crate::shim::no_cudnn_attention;

/// A training device by name: `cpu`, `cuda`, or `auto` (CUDA when there is one).
///
/// # Errors
/// CUDA was asked for and is not there.
pub fn training_device(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" | "cuda" => {
            load_cuda_library();
            let device = Device::cuda_if_available();
            if name == "cuda" && device == Device::Cpu {
                bail!("no CUDA device: a CUDA build of libtorch 2.11 and an NVIDIA GPU are needed; use --device cpu");
            }
            if device.is_cuda() {
                no_cudnn_attention();
            }
            Ok(device)
        }
        other => bail!("unknown device \"{other}\"; use auto, cpu or cuda"),
    }
}

/// libtorch looks for its CUDA half once, at the first query, and only among loaded libraries. The
/// linker drops that half from our binary (nothing names its symbols), so it is loaded here, first.
fn load_cuda_library() {
    #[cfg(target_os = "linux")]
    {
        use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
        // SAFETY: libtorch_cuda's initialisers register kernels with the libtorch that is already
        // loaded; they have no other precondition. A missing library is an ordinary error.
        if let Ok(library) = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) } {
            std::mem::forget(library);
        }
    }
}
