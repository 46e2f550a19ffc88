//! Which execution provider and which precision are asked for, and which provider can do what.

use super::InferenceError;

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProviderChoice {
    /// The best that runs here.
    #[default]
    Auto,
    /// ONNX Runtime's own CPU kernels, float32.
    Cpu,
    /// Intel `OpenVINO`, on the CPU.
    Openvino,
    /// NVIDIA CUDA.
    Cuda,
    /// NVIDIA `TensorRT`.
    Tensorrt,
}

impl ProviderChoice {
    /// Those that run a model, fastest first.
    pub const ALL: [Self; 4] = [Self::Tensorrt, Self::Cuda, Self::Openvino, Self::Cpu];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Openvino => "openvino",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
        }
    }

    /// The one that ONNX Runtime calls so.
    pub(super) fn of_runtime(name: &str) -> Option<Self> {
        let provider = match name.strip_suffix("ExecutionProvider")? {
            "CPU" => Self::Cpu,
            "OpenVINO" => Self::Openvino,
            "CUDA" => Self::Cuda,
            "Tensorrt" => Self::Tensorrt,
            _ => return None,
        };
        Some(provider)
    }

    /// The library that holds it, beside ONNX Runtime's own.
    pub(super) fn library(self) -> Option<&'static str> {
        match self {
            Self::Auto | Self::Cpu => None,
            Self::Openvino => Some("libonnxruntime_providers_openvino.so"),
            Self::Cuda => Some("libonnxruntime_providers_cuda.so"),
            Self::Tensorrt => Some("libonnxruntime_providers_tensorrt.so"),
        }
    }

    /// Whether it runs on an NVIDIA GPU.
    #[must_use]
    pub fn is_gpu(self) -> bool {
        matches!(self, Self::Cuda | Self::Tensorrt)
    }

    /// The providers to try for `precision`, in order.
    ///
    /// # Errors
    /// [`InferenceError::Precision`] when none of them has that precision.
    pub(super) fn candidates(
        self,
        precision: Precision,
        arithmetic: Arithmetic,
    ) -> Result<Vec<(Self, Precision)>, InferenceError> {
        let asked = if self == Self::Auto { &Self::ALL[..] } else { std::slice::from_ref(&self) };
        let able: Vec<(Self, Precision)> =
            asked.iter().filter_map(|provider| Some((*provider, provider.resolve(precision, arithmetic)?))).collect();
        if able.is_empty() { Err(self.refusal(precision, arithmetic)) } else { Ok(able) }
    }

    /// What it runs in where `precision` is asked for; `None`: it cannot.
    fn resolve(self, precision: Precision, arithmetic: Arithmetic) -> Option<Precision> {
        let able = self.precisions(arithmetic);
        match precision {
            Precision::Auto => able.first().copied(),
            asked => able.contains(&asked).then_some(asked),
        }
    }

    /// What it can run in, what `auto` means first.
    fn precisions(self, arithmetic: Arithmetic) -> &'static [Precision] {
        use Precision::{Bf16, Fp16, Fp32, Int8, Tf32};
        match (self, arithmetic) {
            (Self::Openvino, Arithmetic { bf16: true, .. }) => &[Bf16, Fp32],
            (Self::Cuda, Arithmetic { tf32: true, .. }) => &[Tf32, Fp32],
            (Self::Auto | Self::Cpu | Self::Openvino | Self::Cuda, _) => &[Fp32],
            // Its builder uses TF32 for what is fp32, and ONNX Runtime has no option against that.
            (Self::Tensorrt, Arithmetic { tf32: true, .. }) => &[Fp16, Tf32, Bf16, Int8],
            (Self::Tensorrt, Arithmetic { tf32: false, .. }) => &[Fp16, Fp32, Bf16, Int8],
        }
    }

    fn refusal(self, precision: Precision, arithmetic: Arithmetic) -> InferenceError {
        let able: Vec<&str> = self.precisions(arithmetic).iter().map(|able| able.name()).collect();
        let others: Vec<&str> = Self::ALL
            .into_iter()
            .filter(|other| *other != self && other.resolve(precision, arithmetic).is_some())
            .map(Self::name)
            .collect();
        let why = match (self, precision) {
            (Self::Openvino, Precision::Bf16) => " on a CPU without AVX512-BF16 and AMX-BF16",
            (Self::Tensorrt, Precision::Fp32) => " unless TF32 is off (NVIDIA_TF32_OVERRIDE=0)",
            (Self::Cuda | Self::Tensorrt, Precision::Tf32) => " where NVIDIA_TF32_OVERRIDE=0 turns it off",
            _ => "",
        };
        InferenceError::Precision {
            provider: self.name(),
            precision: precision.name(),
            why,
            able: able.join(", "),
            others: if others.is_empty() { String::new() } else { format!(", or --provider {}", others.join(" or ")) },
        }
    }
}

/// Arithmetic inside the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// fp16 on `TensorRT`, tf32 on CUDA; bf16 with `OpenVINO` where the CPU has AMX-BF16 or AVX512-BF16; fp32 else.
    #[default]
    Auto,
    /// 32-bit float.
    Fp32,
    /// 32-bit float whose products are of `TensorFloat`-32, 10 bits of mantissa (CUDA, `TensorRT`).
    Tf32,
    /// bfloat16 (`OpenVINO`, `TensorRT`).
    Bf16,
    /// 16-bit float (`TensorRT`).
    Fp16,
    /// 8-bit integer where the model is quantised, fp16 elsewhere (`TensorRT`).
    Int8,
}

impl Precision {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

/// What this machine computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arithmetic {
    /// The CPU multiplies bfloat16 natively (AMX-BF16 or AVX512-BF16).
    pub bf16: bool,
    /// NVIDIA's libraries may use TF32: `NVIDIA_TF32_OVERRIDE=0` turns it off in all of them, whatever a program asks for.
    pub tf32: bool,
}

impl Arithmetic {
    /// Of this machine.
    pub fn here() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        Self {
            bf16: flags.split_whitespace().any(|flag| flag == "avx512_bf16" || flag == "amx_bf16"),
            tf32: std::env::var_os("NVIDIA_TF32_OVERRIDE").is_none_or(|value| value != "0"),
        }
    }
}

/// Whether `provider` has `precision`.
///
/// # Errors
/// [`InferenceError::Precision`] when it does not, with those that it has.
pub fn check_precision(provider: ProviderChoice, precision: Precision) -> Result<(), InferenceError> {
    provider.candidates(precision, Arithmetic::here()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Arithmetic = Arithmetic { bf16: true, tf32: true };

    fn refused(provider: ProviderChoice, precision: Precision, arithmetic: Arithmetic) -> String {
        provider.candidates(precision, arithmetic).expect_err("it cannot").to_string()
    }

    #[test]
    fn auto_tries_only_providers_that_have_the_precision() {
        let tried = |precision| {
            let tried = ProviderChoice::Auto.candidates(precision, ALL).expect("some can");
            tried.into_iter().map(|(provider, precision)| (provider.name(), precision.name())).collect::<Vec<_>>()
        };
        assert_eq!(
            tried(Precision::Auto),
            [("tensorrt", "fp16"), ("cuda", "tf32"), ("openvino", "bf16"), ("cpu", "fp32")]
        );
        assert_eq!(tried(Precision::Fp32), [("cuda", "fp32"), ("openvino", "fp32"), ("cpu", "fp32")]);
        assert_eq!(tried(Precision::Bf16), [("tensorrt", "bf16"), ("openvino", "bf16")]);
        assert_eq!(tried(Precision::Int8), [("tensorrt", "int8")]);
    }

    #[test]
    fn a_precision_that_a_provider_lacks_is_refused_with_those_it_has() {
        assert_eq!(
            refused(ProviderChoice::Cpu, Precision::Bf16, ALL),
            "the cpu execution provider has no bf16: it has fp32\n  give --precision fp32, or --provider tensorrt or openvino"
        );
        assert_eq!(
            refused(ProviderChoice::Cuda, Precision::Fp16, ALL),
            "the cuda execution provider has no fp16: it has tf32, fp32\n  give --precision tf32, fp32, or --provider tensorrt"
        );
        let old = Arithmetic { bf16: false, ..ALL };
        assert!(refused(ProviderChoice::Openvino, Precision::Bf16, old).contains("on a CPU without AVX512-BF16"));
    }

    #[test]
    fn fp32_is_not_said_where_tf32_is_on() {
        assert!(refused(ProviderChoice::Tensorrt, Precision::Fp32, ALL).contains("NVIDIA_TF32_OVERRIDE=0"));
        let off = Arithmetic { tf32: false, ..ALL };
        let runs = |provider: ProviderChoice, precision| provider.resolve(precision, off).map(Precision::name);
        assert_eq!(runs(ProviderChoice::Tensorrt, Precision::Fp32), Some("fp32"));
        assert_eq!(runs(ProviderChoice::Cuda, Precision::Auto), Some("fp32"));
        assert_eq!(runs(ProviderChoice::Cuda, Precision::Tf32), None);
    }
}
