//! Sessions, one a tensor shape where that pays, and running a batch without copying it.

use std::collections::HashMap;
use std::path::PathBuf;

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

use super::provider::{candidates, dispatch};
use super::{InferenceError, ProviderChoice, ProviderOptions, ProviderReport, Runtime};
use crate::model::ModelFile;
use crate::tensor::{InputShape, OutputView};

/// Sessions compiled for one shape that are kept at once; a further shape is fed to the dynamic session.
const FIXED_SESSIONS: usize = 4;

/// A model on a provider. Owned by the one thread that runs it; `run` takes `&mut self` as a session's buffers are reused.
pub struct Engine {
    runtime: Runtime,
    file: ModelFile,
    input_name: String,
    dynamic_names: [Option<String>; 3],
    options: ProviderOptions,
    report: ProviderReport,
    any_shape: Option<Session>,
    fixed: HashMap<InputShape, Session>,
    input: Vec<f32>,
}

impl Engine {
    /// Chooses the provider and makes the session for `shape`. `dynamic_names` are the symbolic names of batch, height and
    /// width in the graph.
    ///
    /// # Errors
    /// When no provider (or not the one asked for) takes the model.
    pub fn new(
        runtime: &Runtime,
        file: &ModelFile,
        input_name: &str,
        dynamic_names: &[Option<String>; 3],
        options: &ProviderOptions,
        shape: InputShape,
    ) -> Result<Self, InferenceError> {
        let mut rejected = Vec::new();
        let mut last = None;
        for provider in candidates(options.choice) {
            let report = ProviderReport {
                requested: options.choice,
                actual: provider,
                detail: String::new(),
                rejected: Vec::new(),
            };
            let mut engine = Self {
                runtime: runtime.clone(),
                file: file.clone(),
                input_name: input_name.to_owned(),
                dynamic_names: dynamic_names.clone(),
                options: options.clone(),
                report,
                any_shape: None,
                fixed: HashMap::new(),
                input: Vec::new(),
            };
            match engine.prepare(shape, true) {
                Ok(()) => {
                    engine.report.rejected = rejected;
                    return Ok(engine);
                }
                Err(error) => {
                    let reason = match &error {
                        InferenceError::Provider { problem, .. } => problem.clone(),
                        other => other.to_string(),
                    };
                    rejected.push((provider, reason));
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| InferenceError::Run("no execution provider".into())))
    }

    /// Which provider runs.
    #[must_use]
    pub fn report(&self) -> &ProviderReport {
        &self.report
    }

    /// Makes the session for `shape` ready. `fixed` compiles for exactly this shape, which `OpenVINO` and `TensorRT` run
    /// faster; without it (folders of pictures, many shapes) one session takes all.
    ///
    /// # Errors
    /// When the provider cannot take the model.
    pub fn prepare(&mut self, shape: InputShape, fixed: bool) -> Result<(), InferenceError> {
        let compiles = matches!(self.report.actual, ProviderChoice::Openvino | ProviderChoice::Tensorrt);
        if fixed && compiles {
            if !self.fixed.contains_key(&shape) && self.fixed.len() < FIXED_SESSIONS {
                let session = self.open(Some(shape))?;
                self.fixed.insert(shape, session);
            }
            if self.fixed.contains_key(&shape) {
                return Ok(());
            }
        }
        if self.any_shape.is_none() {
            self.any_shape = Some(self.open(None)?);
        }
        Ok(())
    }

    fn open(&mut self, shape: Option<InputShape>) -> Result<Session, InferenceError> {
        let provider = self.report.actual;
        let (dispatch, detail) = dispatch(provider, &self.runtime, &self.options)?;
        self.report.detail = detail;
        let fail =
            |e: &dyn std::fmt::Display| InferenceError::Provider { provider: provider.name(), problem: e.to_string() };
        let mut builder = Session::builder(&self.runtime.environment).map_err(|e| fail(&e))?;
        if let Some(threads) = self.options.threads {
            builder = builder.with_intra_threads(threads).map_err(|e| fail(&e))?;
        }
        if provider == ProviderChoice::Cpu {
            // Threads that spin while they wait for work keep decoder and encoder from theirs. Measured on two cores with
            // a 1080p clip saved at 384x640: 21 frames/s against 18, a quarter less CPU time.
            builder = builder.with_intra_op_spinning(false).map_err(|e| fail(&e))?;
        }
        if let Some(prefix) = &self.options.trace {
            builder = builder.with_profiling(prefix).map_err(|e| fail(&e))?;
        }
        if self.options.as_written {
            builder = builder.with_optimization_level(GraphOptimizationLevel::Disable).map_err(|e| fail(&e))?;
        }
        builder = builder.with_execution_providers([dispatch]).map_err(|e| fail(&e))?;
        if let Some(shape) = shape {
            let [batch, _, height, width] = shape.dims();
            for (name, size) in self.dynamic_names.iter().zip([batch, height, width]) {
                if let Some(name) = name.as_deref().filter(|n| !n.is_empty()) {
                    let size = i64::try_from(size).unwrap_or(i64::MAX);
                    builder = builder.with_dimension_override(name, size).map_err(|e| fail(&e))?;
                }
            }
        }
        match &self.file {
            ModelFile::Path(path) => builder.commit_from_file(path),
            ModelFile::Embedded(bytes) => builder.commit_from_memory(bytes),
        }
        .map_err(|e| fail(&e))
    }

    /// Finishes the trace of the session for `shape`; its path. Nothing is recorded from then on.
    ///
    /// # Errors
    /// When there is no such session, or its trace cannot be written.
    pub fn end_profiling(&mut self, shape: InputShape) -> Result<PathBuf, InferenceError> {
        let session = self.session(shape)?;
        session.end_profiling().map(PathBuf::from).map_err(|e| InferenceError::Run(e.to_string()))
    }

    fn session(&mut self, shape: InputShape) -> Result<&mut Session, InferenceError> {
        self.fixed
            .get_mut(&shape)
            .or(self.any_shape.as_mut())
            .ok_or_else(|| InferenceError::Run("no session was prepared".into()))
    }

    /// The input buffer for `shape`, f32 `[B,3,H,W]`, reused from run to run: the caller writes every element.
    pub fn input(&mut self, shape: InputShape) -> &mut [f32] {
        let len = shape.batch * shape.frame_len();
        if self.input.len() < len {
            self.input.resize(len, 0.0);
        }
        &mut self.input[..len]
    }

    /// Runs the batch in the input buffer and shows the outputs to `read`. Neither side is copied.
    ///
    /// # Errors
    /// When the run fails or an output is not f32.
    pub fn run<R>(
        &mut self,
        shape: InputShape,
        read: impl FnOnce(&[OutputView<'_>]) -> R,
    ) -> Result<R, InferenceError> {
        let fail = |e: &dyn std::fmt::Display| InferenceError::Run(e.to_string());
        let session = match self.fixed.get_mut(&shape) {
            Some(session) => session,
            None => self.any_shape.as_mut().ok_or_else(|| InferenceError::Run("no session was prepared".into()))?,
        };
        let len = shape.batch * shape.frame_len();
        let tensor = TensorRef::from_array_view((shape.dims(), &self.input[..len])).map_err(|e| fail(&e))?;
        let outputs = session.run(ort::inputs![self.input_name.as_str() => tensor]).map_err(|e| fail(&e))?;
        let mut shapes: Vec<(String, Vec<usize>, &[f32])> = Vec::with_capacity(outputs.len());
        let values: Vec<_> = outputs.iter().collect();
        for (name, value) in &values {
            let (shape, data) = value.try_extract_tensor::<f32>().map_err(|e| fail(&e))?;
            let dims = shape.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect();
            shapes.push(((*name).to_owned(), dims, data));
        }
        let views: Vec<OutputView<'_>> =
            shapes.iter().map(|(name, shape, data)| OutputView { name, shape, data }).collect();
        Ok(read(&views))
    }
}
