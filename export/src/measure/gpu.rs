//! What the driver says of an NVIDIA GPU, through NVML.

use nvml_wrapper::Nvml;

/// A GPU, by its number among all of the machine (`CUDA_VISIBLE_DEVICES` does not count here).
pub struct Gpu {
    nvml: Nvml,
    index: u32,
}

impl Gpu {
    /// `None` where there is no driver or no such GPU.
    pub fn find(index: u32) -> Option<Self> {
        let nvml = Nvml::init().ok()?;
        nvml.device_by_index(index).ok()?;
        Some(Self { nvml, index })
    }

    fn device(&self) -> Option<nvml_wrapper::Device<'_>> {
        self.nvml.device_by_index(self.index).ok()
    }

    /// As the vendor names it.
    pub fn name(&self) -> Option<String> {
        self.device()?.name().ok()
    }

    /// Memory in use by all programs, in MB (10^6 bytes).
    pub fn used_memory_mb(&self) -> Option<f64> {
        Some(self.device()?.memory_info().ok()?.used as f64 / 1e6)
    }

    /// Energy used since the driver was loaded, in joules.
    pub fn joules(&self) -> Option<f64> {
        Some(self.device()?.total_energy_consumption().ok()? as f64 / 1e3)
    }
}
