//! Sessions, one a tensor shape where that pays, and running a batch without copying it (f32, channels first; whatever
//! else a model takes or gives is converted).

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;

use super::assigned;
use super::choice::{Arithmetic, Precision};
use super::convert::{ConvertedInput, OutputReader};
use super::provider::{ShapeProfile, registrations};
use super::{InferenceError, ProviderChoice, ProviderOptions, ProviderReport, Runtime, said};
use crate::clock::{self, Deadline};
use crate::geometry::Size;
use crate::model::ModelFile;
use crate::tensor::{InputPort, InputShape, InputTensor, OutputView};

/// Sessions compiled for one shape that are kept at once; a further shape is fed to the dynamic session. Batches of up to 64 of
/// one tensor size need seven, those of two streams of unlike sizes twice as many.
const FIXED_SESSIONS: usize = 16;
/// Runs without it after which such a session gives way to another: streams come and go for months. Some minutes of a camera.
const UNUSED: u64 = 10_000;

/// How long another process may take to compile a model: `TensorRT` takes minutes.
const COMPILING: Duration = Duration::from_mins(10);
const LOCK_CHECK: Duration = Duration::from_millis(50);
/// How long nothing is said of waiting for it.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// What sessions are made from, on any thread.
#[derive(Clone)]
struct Recipe {
    runtime: Runtime,
    file: ModelFile,
    port: InputPort,
    options: ProviderOptions,
    /// What is registered first.
    provider: ProviderChoice,
    precision: Precision,
    /// The model's file when the engine was made.
    stamp: Option<Stamp>,
}

/// What tells that a file was replaced or written: device, inode, size, and the time of its last change.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(file: &ModelFile) -> Option<Stamp> {
    let ModelFile::Path(path) = file else { return None };
    let file = path.metadata().ok()?;
    Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

/// A session, and the shape it is compiled for; `None`: any.
struct Made {
    shape: Option<InputShape>,
    session: Session,
    /// Nodes by the runtime's name of the provider that runs them.
    nodes: Vec<(String, usize)>,
}

/// A session for one shape, and the run it was last used for.
struct Fixed {
    session: Session,
    used: u64,
}

/// Sessions that an engine lacks, to be made on another thread while it runs.
pub struct LackingSessions {
    recipe: Recipe,
    shapes: Vec<Option<InputShape>>,
}

/// Sessions that were made on another thread.
pub struct NewSessions(Vec<Made>);

impl LackingSessions {
    /// Makes them.
    ///
    /// # Errors
    /// When the provider cannot take the model.
    pub fn make(self) -> Result<NewSessions, InferenceError> {
        let Self { recipe, shapes } = self;
        Ok(NewSessions(shapes.into_iter().map(|shape| recipe.open(shape)).collect::<Result<_, _>>()?))
    }
}

/// A model on a provider. Owned by the one thread that runs it; `run` takes `&mut self` as a session's buffers are reused.
pub struct Engine {
    recipe: Recipe,
    report: ProviderReport,
    any_shape: Option<Session>,
    fixed: HashMap<InputShape, Fixed>,
    runs: u64,
    converted_input: ConvertedInput,
    outputs: OutputReader,
}

impl Engine {
    /// Chooses the provider and makes the session for `shape`, `fixed` as in [`prepare`](Self::prepare). `port` says what the graph
    /// takes.
    ///
    /// # Errors
    /// When no provider (or not the one asked for) takes the model.
    pub fn new(
        runtime: &Runtime,
        file: &ModelFile,
        port: &InputPort,
        options: &ProviderOptions,
        (shape, fixed): (InputShape, Option<usize>),
    ) -> Result<Self, InferenceError> {
        let mut rejected: Vec<(ProviderChoice, String)> = Vec::new();
        let (mut last, stamp) = (None, stamp(file));
        for (provider, precision) in options.choice.candidates(options.precision, Arithmetic::here())? {
            let report = ProviderReport {
                requested: options.choice,
                actual: provider,
                detail: precision.name().to_owned(),
                nodes: Vec::new(),
                rejected: Vec::new(),
                notice: None,
            };
            let recipe = Recipe {
                runtime: runtime.clone(),
                file: file.clone(),
                port: port.clone(),
                options: options.clone(),
                provider,
                precision,
                stamp,
            };
            let mut engine = Self {
                recipe,
                report,
                any_shape: None,
                fixed: HashMap::new(),
                runs: 0,
                converted_input: ConvertedInput::default(),
                outputs: OutputReader::default(),
            };
            match engine.prepare(shape, fixed) {
                Ok(()) => {
                    engine.report.notice = engine.notice(&rejected);
                    engine.report.rejected = rejected;
                    return Ok(engine);
                }
                Err(error) => {
                    let reason = match &error {
                        InferenceError::Provider { problem, .. } => problem.clone(),
                        other => other.to_string(),
                    };
                    tracing::debug!(provider = provider.name(), reason, "execution provider not used");
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

    /// What the user should know of where it runs.
    fn notice(&self, rejected: &[(ProviderChoice, String)]) -> Option<String> {
        let actual = self.report.actual;
        if actual != self.recipe.provider {
            let (registered, actual) = (self.recipe.provider.name(), actual.name());
            return Some(format!("{registered} takes no node of this model: it runs on {actual}"));
        }
        let gpu = !actual.is_gpu() && self.recipe.runtime.should_use_gpu();
        let (_, reason) = rejected.iter().rfind(|(provider, _)| gpu && provider.is_gpu())?;
        Some(format!("there is an NVIDIA GPU, but {} runs the model: {reason}", actual.name()))
    }

    /// Makes the session for `shape` ready. `fixed` compiles for exactly this shape, which `OpenVINO` and `TensorRT` run
    /// faster, `TensorRT` for smaller batches and those up to the one that `fixed` says as well; without it (folders of images,
    /// many shapes) one session takes all.
    ///
    /// # Errors
    /// When the provider cannot take the model.
    pub fn prepare(&mut self, shape: InputShape, fixed: Option<usize>) -> Result<(), InferenceError> {
        if let Some(shape) = self.lacks(shape, fixed, &[]) {
            let made = self.recipe.open(shape)?;
            self.add(made);
        }
        Ok(())
    }

    /// What is to be made for [`prepare`](Self::prepare)d sessions of all these shapes; `None` when there is nothing to make.
    #[must_use]
    pub fn lacking(&self, shapes: &[InputShape], fixed: Option<usize>) -> Option<LackingSessions> {
        let mut lacking = Vec::new();
        for shape in shapes {
            lacking.extend(self.lacks(*shape, fixed, &lacking));
        }
        (!lacking.is_empty()).then(|| LackingSessions { recipe: self.recipe.clone(), shapes: lacking })
    }

    /// Takes over sessions that were made for it.
    pub fn take_over(&mut self, NewSessions(sessions): NewSessions) {
        for made in sessions {
            self.add(made);
        }
    }

    /// How large a batch to run where `views` of `size` are left: sessions that are compiled for one batch run whole ones. The
    /// largest that is filled; one with room where there is no smaller one; all of them where nothing is compiled for such a size.
    #[must_use]
    pub fn batch_for(&self, size: Size, views: usize) -> usize {
        let batches = || self.fixed.keys().filter(|shape| shape.size == size).map(|shape| shape.batch);
        if self.recipe.ranges() {
            return batches().max().map_or(views, |most| views.min(most));
        }
        let filled = batches().filter(|batch| *batch <= views).max();
        filled.or_else(|| batches().min()).unwrap_or(views)
    }

    /// The shape whose session takes `shape`, if one does.
    fn fixed_for(&self, shape: InputShape) -> Option<InputShape> {
        covering(self.fixed.keys().copied(), shape, self.recipe.ranges())
    }

    /// The session that `shape` lacks, beside those that are `coming`.
    #[expect(clippy::option_option, reason = "whether one is lacking, and for which shape")]
    fn lacks(
        &self,
        shape: InputShape,
        fixed: Option<usize>,
        coming: &[Option<InputShape>],
    ) -> Option<Option<InputShape>> {
        if let Some(most) = fixed.filter(|_| self.recipe.compiles()) {
            let ranges = self.recipe.ranges();
            if covering(self.fixed.keys().copied().chain(coming.iter().flatten().copied()), shape, ranges).is_some() {
                return None;
            }
            let unused = self.fixed.values().filter(|fixed| fixed.used + UNUSED < self.runs).count();
            if self.fixed.len() + coming.len() < FIXED_SESSIONS + unused {
                let batch = if ranges { shape.batch.max(most) } else { shape.batch };
                return Some(Some(InputShape { batch, ..shape }));
            }
        }
        (self.any_shape.is_none() && !coming.contains(&None)).then_some(None)
    }

    fn add(&mut self, Made { shape, session, nodes }: Made) {
        self.note_nodes(&nodes);
        match shape {
            Some(shape) => {
                let longest = self.fixed.iter().min_by_key(|(_, fixed)| fixed.used).map(|(shape, _)| *shape);
                if let Some(longest) = longest.filter(|_| self.fixed.len() >= FIXED_SESSIONS) {
                    self.fixed.remove(&longest);
                }
                self.fixed.insert(shape, Fixed { session, used: self.runs });
            }
            None => self.any_shape = Some(session),
        }
    }

    /// Notes which provider runs how many nodes: the first one registered need not have taken any.
    fn note_nodes(&mut self, nodes: &[(String, usize)]) {
        let Recipe { provider, precision, .. } = self.recipe;
        let known = |name: &str| ProviderChoice::of_runtime(name);
        let took = |provider: &ProviderChoice| nodes.iter().any(|(name, _)| known(name) == Some(*provider));
        let actual = ProviderChoice::ALL.into_iter().find(took).unwrap_or(provider);
        let precision = match (actual, precision) {
            (actual, precision) if actual == provider => precision,
            (ProviderChoice::Cuda, precision) if precision != Precision::Fp32 => Precision::Tf32,
            _ => Precision::Fp32,
        };
        self.report.actual = actual;
        precision.name().clone_into(&mut self.report.detail);
        self.report.nodes = nodes
            .iter()
            .map(|(name, count)| (known(name).map_or_else(|| name.clone(), |one| one.name().to_owned()), *count))
            .collect();
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
        let fixed = self.fixed_for(shape).and_then(|shape| self.fixed.get_mut(&shape)).map(|fixed| &mut fixed.session);
        fixed.or(self.any_shape.as_mut()).ok_or(InferenceError::NoSession)
    }

    /// Runs the batch in `tensor`, for whose shape a session was [prepared](Self::prepare), and shows the outputs to `read`.
    /// Where the model takes f32 `[B,3,H,W]` and gives f32, neither side is copied.
    ///
    /// # Errors
    /// When the run fails, or an output holds no numbers.
    pub fn run<R>(
        &mut self,
        tensor: &InputTensor,
        read: impl FnOnce(&[OutputView<'_>]) -> R,
    ) -> Result<R, InferenceError> {
        let shape = tensor.shape();
        let fail = |e: &dyn std::fmt::Display| InferenceError::Run(said(e));
        self.runs += 1;
        let session = match self.fixed_for(shape).and_then(|shape| self.fixed.get_mut(&shape)) {
            Some(fixed) => {
                fixed.used = self.runs;
                &mut fixed.session
            }
            None => self.any_shape.as_mut().ok_or(InferenceError::NoSession)?,
        };
        let frames = self.converted_input.value(&self.recipe.port, tensor).map_err(|e| fail(&e))?;
        let mut inputs: Vec<(&str, SessionInputValue<'_>)> = vec![(self.recipe.port.name.as_str(), frames)];
        // Two numbers a frame: the only further input that is supported.
        let sizes: Vec<i64> =
            [shape.size.width, shape.size.height].map(i64::from).into_iter().cycle().take(2 * shape.batch).collect();
        if let Some(name) = &self.recipe.port.target_sizes {
            let sizes = TensorRef::from_array_view(([shape.batch, 2], sizes.as_slice())).map_err(|e| fail(&e))?;
            inputs.push((name.as_str(), sizes.into()));
        }
        let outputs = session.run(inputs).map_err(|e| fail(&e))?;
        self.outputs.show(&outputs, read).map_err(|e| fail(&e))
    }
}

impl Recipe {
    /// Whether the provider compiles the model, which it keeps in a cache.
    fn compiles(&self) -> bool {
        matches!(self.provider, ProviderChoice::Openvino | ProviderChoice::Tensorrt)
    }

    /// Whether what it compiles takes smaller batches too.
    fn ranges(&self) -> bool {
        self.provider == ProviderChoice::Tensorrt
    }

    fn open(&self, shape: Option<InputShape>) -> Result<Made, InferenceError> {
        if stamp(&self.file) != self.stamp {
            // Its checksum, and the sessions there are, are of what was there before.
            return Err(InferenceError::ModelChanged { model: self.file.label() });
        }
        let options = &self.options;
        let Some(cache) = options.cache_dir.as_ref().filter(|_| self.compiles()) else {
            return self.open_with(options, shape);
        };
        let lock = lock(cache);
        if lock.is_some() {
            match self.open_with(options, shape) {
                Ok(made) => return Ok(made),
                Err(error) => tracing::debug!(%error, "once more, without the cache"),
            }
        }
        self.open_with(&ProviderOptions { cache_dir: None, ..options.clone() }, shape)
    }

    fn open_with(&self, options: &ProviderOptions, shape: Option<InputShape>) -> Result<Made, InferenceError> {
        let provider = self.provider;
        let profile = shape.filter(|_| self.ranges()).and_then(|shape| ShapeProfile::new(&self.port, shape));
        let registered = registrations(provider, self.precision, options, profile.as_ref());
        let dispatches =
            registered.into_iter().map(|one| one.dispatch(&self.runtime)).collect::<Result<Vec<_>, _>>()?;
        let fail = |e: &dyn std::fmt::Display| InferenceError::Provider { provider: provider.name(), problem: said(e) };
        tracing::debug!(provider = provider.name(), precision = self.precision.name(), ?shape, "creating a session");
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
        builder = builder.with_execution_providers(dispatches).map_err(|e| fail(&e))?;
        assigned::record(&mut builder).map_err(|e| fail(&e))?;
        if let Some(shape) = shape {
            let [batch, _, height, width] = shape.dims();
            // With a profile the batch stays open.
            let open = usize::from(profile.is_some());
            for (name, size) in self.port.symbols.iter().zip([batch, height, width]).skip(open) {
                if let Some(name) = name.as_deref().filter(|n| !n.is_empty()) {
                    let size = i64::try_from(size).unwrap_or(i64::MAX);
                    builder = builder.with_dimension_override(name, size).map_err(|e| fail(&e))?;
                }
            }
        }
        let session = match &self.file {
            ModelFile::Path(path) => builder.commit_from_file(path),
            ModelFile::Embedded(bytes) => builder.commit_from_memory(bytes),
        }
        .map_err(|e| fail(&e))?;
        let nodes = assigned::nodes(&session);
        Ok(Made { shape, session, nodes })
    }
}

/// The one of `shapes` whose session takes `shape`: its own, or, with `ranges`, the smallest batch that holds it.
fn covering(shapes: impl Iterator<Item = InputShape>, shape: InputShape, ranges: bool) -> Option<InputShape> {
    let takes = |one: &InputShape| *one == shape || ranges && one.size == shape.size && one.batch >= shape.batch;
    shapes.filter(takes).min_by_key(|one| one.batch)
}

/// Locks the cache for as long as a session is made. Providers write files there and map those that they find, with no regard to
/// other processes: one that is written anew takes the pages from under a program that runs.
fn lock(cache: &Path) -> Option<File> {
    std::fs::create_dir_all(cache).ok()?;
    let file = File::options().create(true).truncate(false).write(true).open(cache.join("lock")).ok()?;
    let (deadline, mut patience) = (Deadline::after(COMPILING), Some(Deadline::after(LOCK_PATIENCE)));
    loop {
        match file.try_lock() {
            Ok(()) => return Some(file),
            Err(TryLockError::WouldBlock) if !deadline.is_over() => {
                if patience.take_if(|patience| patience.is_over()).is_some() {
                    tracing::warn!("another program compiles a model in {}: waiting for it", cache.display());
                }
                clock::process().sleep(LOCK_CHECK);
            }
            // A file system without locks, or who holds it stands still.
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    #[test]
    fn one_tensorrt_engine_takes_every_batch_up_to_its_own() {
        let shape = |batch, width| InputShape { batch, size: Size { width, height: 384 } };
        let made = [shape(8, 640), shape(4, 640), shape(64, 320)];
        let takes = |wanted, ranges| covering(made.into_iter(), wanted, ranges);
        assert_eq!(takes(shape(3, 640), true), Some(shape(4, 640)));
        assert_eq!(takes(shape(5, 640), true), Some(shape(8, 640)));
        assert_eq!(takes(shape(9, 640), true), None);
        assert_eq!([takes(shape(3, 640), false), takes(shape(8, 640), false)], [None, Some(shape(8, 640))]);
    }
}
