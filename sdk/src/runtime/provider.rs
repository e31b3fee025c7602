//! Which hardware runs a model: asked for by name, and told as it truly is.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fmt;
use std::ptr;
use std::str::FromStr;

use ort::AsPointer;
use ort::ep::{self, ExecutionProviderDispatch};
use ort::session::Session;
use ort::session::builder::SessionBuilder;

use super::log::{self, LogLevel};
use crate::{Error, Result};

/// A backend of ONNX Runtime ("execution provider").
///
/// Which of them a library has was decided when it was built; official builds for desktops have the CPU alone. Any
/// operator that a provider does not know runs on the CPU: bundles of the portable graph profile suit them best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Provider {
    /// The processor. Always there, always the last resort.
    Cpu,
    /// XNNPACK: floating point kernels for Arm and x86 processors.
    Xnnpack,
    /// NNAPI: accelerators of Android.
    NnApi,
    /// Core ML: accelerators of Apple's systems.
    CoreMl,
    /// Qualcomm's neural processors.
    Qnn,
    /// NVIDIA GPUs.
    Cuda,
}

impl Provider {
    /// All of them.
    pub const ALL: [Provider; 6] =
        [Provider::Cpu, Provider::Xnnpack, Provider::NnApi, Provider::CoreMl, Provider::Qnn, Provider::Cuda];

    /// The name by which it is asked for: `cpu`, `xnnpack`, `nnapi`, `coreml`, `qnn`, `cuda`.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Cpu => "cpu",
            Provider::Xnnpack => "xnnpack",
            Provider::NnApi => "nnapi",
            Provider::CoreMl => "coreml",
            Provider::Qnn => "qnn",
            Provider::Cuda => "cuda",
        }
    }

    /// The provider for a session; none if this library was built without it.
    fn dispatch(self) -> Option<ExecutionProviderDispatch> {
        let dispatch: ExecutionProviderDispatch = match self {
            // The arena keeps what the longest text needed, and then stays as it is. Without it the system's heap
            // is cut up by tensors of ever other sizes: resident memory then goes up and down by a tenth, and its
            // peak is higher.
            Provider::Cpu => ep::CPU::default().with_arena_allocator(true).build(),
            #[cfg(feature = "xnnpack")]
            Provider::Xnnpack => ep::XNNPACK::default().build(),
            #[cfg(feature = "nnapi")]
            Provider::NnApi => ep::NNAPI::default().build(),
            #[cfg(feature = "coreml")]
            Provider::CoreMl => ep::CoreML::default().build(),
            #[cfg(feature = "qnn")]
            Provider::Qnn => ep::QNN::default().build(),
            #[cfg(feature = "cuda")]
            Provider::Cuda => ep::CUDA::default().build(),
            #[allow(unreachable_patterns, reason = "with all features there is no other")]
            _ => return None,
        };
        Some(dispatch.error_on_failure())
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provider {
    type Err = Error;

    fn from_str(name: &str) -> Result<Provider> {
        let found = Provider::ALL.into_iter().find(|provider| provider.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let names: Vec<&str> = Provider::ALL.iter().map(|provider| provider.name()).collect();
            Error::InvalidArgument(format!("there is no provider `{name}`; there are {}", names.join(", ")))
        })
    }
}

/// Which providers were asked for, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProviderReport {
    /// Asked for, in the order of preference.
    pub requested: Vec<Provider>,
    /// Asked for and not to be had, with the reason. Their part runs on the next provider, in the end the CPU.
    pub refused: Vec<(Provider, String)>,
    /// Which provider runs how many nodes of the graph, by ONNX Runtime's name for it (`CPUExecutionProvider`).
    /// Empty if nothing but the CPU was asked for, which then runs them all.
    pub nodes: BTreeMap<String, usize>,
}

/// Registers the providers asked for, then the CPU. Those that cannot be had are reported.
pub(super) fn register(
    mut builder: SessionBuilder,
    requested: &[Provider],
) -> ort::Result<(SessionBuilder, ProviderReport)> {
    let mut report = ProviderReport { requested: requested.to_vec(), ..ProviderReport::default() };
    for &provider in requested.iter().filter(|&&provider| provider != Provider::Cpu) {
        let reason = match provider.dispatch() {
            None => "this library was built without it".to_owned(),
            Some(dispatch) => match builder.with_execution_providers([dispatch]) {
                Ok(with) => {
                    builder = with;
                    continue;
                }
                Err(error) => {
                    let reason = error.message().to_owned();
                    builder = error.recover();
                    reason
                }
            },
        };
        log::tell(LogLevel::Warning, &format!("the provider {provider} is not to be had: {reason}"));
        report.refused.push((provider, reason));
    }
    if asks_for_others(requested) {
        builder = builder.with_config_entry("session.record_ep_graph_assignment_info", "1")?;
    }
    Ok((builder.with_execution_providers(Provider::Cpu.dispatch().as_slice())?, report))
}

/// Whether anything but the CPU is asked for.
fn asks_for_others(requested: &[Provider]) -> bool {
    requested.iter().any(|&provider| provider != Provider::Cpu)
}

/// Fills in which provider runs how many nodes.
pub(super) fn count_nodes(session: &Session, report: &mut ProviderReport) -> ort::Result<()> {
    if !asks_for_others(&report.requested) {
        return Ok(());
    }
    let (mut parts, mut count) = (ptr::null(), 0);
    // SAFETY: the session is alive, and recording was switched on when it was made. The array and what it points to
    // belong to the session and live as long.
    let parts = unsafe {
        let status = (ort::api().Session_GetEpGraphAssignmentInfo)(session.ptr(), &mut parts, &mut count);
        ort::Error::result_from_status(status)?;
        if parts.is_null() { &[] } else { std::slice::from_raw_parts(parts, count) }
    };
    for &part in parts {
        let (mut name, mut nodes, mut node_count) = (ptr::null(), ptr::null(), 0);
        // SAFETY: `part` came from the array above; the name is a C string of the session's.
        let name = unsafe {
            let status = (ort::api().EpAssignedSubgraph_GetEpName)(part, &mut name);
            ort::Error::result_from_status(status)?;
            let status = (ort::api().EpAssignedSubgraph_GetNodes)(part, &mut nodes, &mut node_count);
            ort::Error::result_from_status(status)?;
            if name.is_null() { "unknown".into() } else { CStr::from_ptr(name).to_string_lossy() }
        };
        *report.nodes.entry(name.into_owned()).or_default() += node_count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for provider in Provider::ALL {
            assert_eq!(provider.name().to_uppercase().parse::<Provider>().unwrap(), provider);
        }
        let error = "gpu".parse::<Provider>().unwrap_err().to_string();
        assert!(error.contains("cuda"), "{error}");
    }
}
