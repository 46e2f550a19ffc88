//! What an NVIDIA GPU did meanwhile, as its driver's management library (NVML) says; it is loaded only where it is installed.

use nvml_wrapper::Nvml;
use nvml_wrapper::enums::device::UsedGpuMemory;

use crate::inference::cuda;

/// The GPU's part in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuUse {
    /// Its name.
    pub name: String,
    /// Mean share of the time in which it was busy, by any program, 0..1; `None` where the driver does not say.
    pub utilisation: Option<f64>,
    /// Most memory that this program held, bytes; `None` where the driver does not say, or it held none.
    pub memory_bytes: Option<u64>,
}

/// Watches one GPU.
pub struct GpuMeter {
    nvml: Nvml,
    /// Where it lies: NVML counts GPUs in another order than CUDA, and those that CUDA may not use as well.
    pci_bus_id: &'static str,
    name: String,
    busy: (f64, u32),
    memory_bytes: Option<u64>,
}

impl GpuMeter {
    /// Watches the GPU that is CUDA's `number`th; `None` where there is no such GPU or no driver.
    #[must_use]
    pub fn start(number: i32) -> Option<Self> {
        let pci_bus_id = cuda::device(cuda::devices(), number)?.pci_bus_id.as_str();
        let nvml = Nvml::init().ok()?;
        let name = nvml.device_by_pci_bus_id(pci_bus_id).ok()?.name().ok()?;
        Some(Self { nvml, pci_bus_id, name, busy: (0.0, 0), memory_bytes: None })
    }

    /// Reads its counters.
    pub fn sample(&mut self) {
        let Ok(device) = self.nvml.device_by_pci_bus_id(self.pci_bus_id) else { return };
        if let Ok(rates) = device.utilization_rates() {
            self.busy = (self.busy.0 + f64::from(rates.gpu) / 100.0, self.busy.1 + 1);
        }
        let own = std::process::id();
        for process in device.running_compute_processes().into_iter().flatten().filter(|p| p.pid == own) {
            if let UsedGpuMemory::Used(bytes) = process.used_gpu_memory {
                self.memory_bytes = self.memory_bytes.max(Some(bytes));
            }
        }
    }

    /// What came of it.
    #[must_use]
    pub fn finish(self) -> GpuUse {
        let (sum, samples) = self.busy;
        let utilisation = (samples > 0).then(|| sum / f64::from(samples));
        GpuUse { name: self.name, utilisation, memory_bytes: self.memory_bytes }
    }
}
