//! Which execution provider and which precision are asked for.

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

    /// The library that holds it, beside ONNX Runtime's own.
    pub(super) fn library(self) -> Option<&'static str> {
        match self {
            Self::Auto | Self::Cpu => None,
            Self::Openvino => Some("libonnxruntime_providers_openvino.so"),
            Self::Cuda => Some("libonnxruntime_providers_cuda.so"),
            Self::Tensorrt => Some("libonnxruntime_providers_tensorrt.so"),
        }
    }
}

/// Arithmetic inside the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// bf16 where the CPU has AMX or AVX512-BF16 and the provider uses it; fp16 on `TensorRT`; fp32 else.
    #[default]
    Auto,
    /// 32-bit float.
    Fp32,
    /// bfloat16 (`OpenVINO`).
    Bf16,
    /// 16-bit float (`TensorRT`).
    Fp16,
}
