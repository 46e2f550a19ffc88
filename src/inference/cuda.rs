//! This machine's NVIDIA GPUs, as the CUDA driver counts them.
//!
//! `--device N` is the driver's Nth GPU everywhere: what `CUDA_VISIBLE_DEVICES` leaves, in the order of `CUDA_DEVICE_ORDER`, by
//! default the fastest first. NVML counts all GPUs, by PCI bus id. A GPU is therefore looked up there by its PCI bus id.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::sync::OnceLock;

use libloading::Library;

/// A GPU that CUDA programs may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuDevice {
    /// What it is: `NVIDIA H200`.
    pub name: String,
    /// Where it is: `0000:01:00.0`, as NVML finds it too.
    pub pci_bus_id: String,
}

/// The GPUs in the driver's order; none where there is no driver, or it does not work.
#[must_use]
pub fn devices() -> &'static [GpuDevice] {
    static DEVICES: OnceLock<Vec<GpuDevice>> = OnceLock::new();
    DEVICES.get_or_init(|| ask("libcuda.so.1").unwrap_or_default())
}

/// `--device`: the `number`th of them.
#[must_use]
pub fn device(devices: &[GpuDevice], number: i32) -> Option<&GpuDevice> {
    devices.get(usize::try_from(number).ok()?)
}

/// Bytes for a name or an id; both are shorter.
const TEXT: usize = 256;

type Text = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;

fn ask(library: &str) -> Option<Vec<GpuDevice>> {
    // SAFETY: the driver's library may be loaded by any program; what runs with it is the driver's own.
    let driver = unsafe { Library::new(library) }.ok()?;
    // It is not made to be unloaded.
    let driver = Box::leak(Box::new(driver));
    // SAFETY: the types are those of cuda.h; every status is an enum, every device an int.
    let (init, count, get, bus_id, name) = unsafe {
        (
            driver.get::<unsafe extern "C" fn(c_uint) -> c_int>(b"cuInit\0").ok()?,
            driver.get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cuDeviceGetCount\0").ok()?,
            driver.get::<unsafe extern "C" fn(*mut c_int, c_int) -> c_int>(b"cuDeviceGet\0").ok()?,
            // NAME(char *text, int length, CUdevice), and cuDeviceGetName's arguments are the same.
            driver.get::<Text>(b"cuDeviceGetPCIBusId\0").ok()?,
            driver.get::<Text>(b"cuDeviceGetName\0").ok()?,
        )
    };
    let mut devices = 0;
    // SAFETY: flags have to be 0; the count is written to a variable that is ours.
    let works = unsafe { init(0) == 0 && count(&raw mut devices) == 0 };
    if !works {
        return None;
    }
    let text = |of: &Text, device: c_int| {
        let mut buffer = [0 as c_char; TEXT];
        let length = c_int::try_from(TEXT - 1).ok()?;
        // SAFETY: it writes no more than it is told, and the last byte stays zero.
        let (status, written) = unsafe { (of(buffer.as_mut_ptr(), length, device), CStr::from_ptr(buffer.as_ptr())) };
        (status == 0).then(|| written.to_string_lossy().into_owned())
    };
    let device = |number: c_int| {
        let mut device = 0;
        // SAFETY: the handle is written to a variable that is ours.
        let known = unsafe { get(&raw mut device, number) } == 0;
        let pci_bus_id = known.then(|| text(&bus_id, device)).flatten()?;
        Some(GpuDevice { name: text(&name, device).unwrap_or_default(), pci_bus_id })
    };
    // A number counts what lies before it: one that is not known leaves none behind it.
    Some((0..devices).map_while(device).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(pci_bus_id: &str) -> GpuDevice {
        GpuDevice { name: "a GPU".into(), pci_bus_id: pci_bus_id.into() }
    }

    /// The driver's order need not be that of the bus, which NVML's is.
    #[test]
    fn device_n_is_cudas_nth_gpu_wherever_it_lies() {
        let fastest_first = [gpu("0000:81:00.0"), gpu("0000:01:00.0")];
        let at = |number| device(&fastest_first, number).map(|gpu| gpu.pci_bus_id.as_str());
        assert_eq!([at(0), at(1)], [Some("0000:81:00.0"), Some("0000:01:00.0")]);
        assert_eq!([at(2), at(-1)], [None, None]);
        assert_eq!(device(&[], 0), None);
    }

    #[test]
    fn a_machine_without_the_driver_has_no_gpus() {
        assert_eq!(ask("libcuda-that-is-not-there.so.1"), None);
        // A library that is there, and no driver.
        assert_eq!(ask("libc.so.6"), None);
    }
}
