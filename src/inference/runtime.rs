//! Where ONNX Runtime lies. It is loaded by its full path, never through `LD_LIBRARY_PATH`.

use std::path::{Path, PathBuf};

use super::{InferenceError, ProviderChoice, cuda};
use crate::folders;

/// The loaded library.
#[derive(Clone)]
pub struct Runtime {
    pub(super) environment: ort::environment::Environment,
    path: PathBuf,
}

impl Runtime {
    /// Loads `explicit` (file or folder) or `STREAMDET_ONNXRUNTIME`, else the first ONNX Runtime found next to the program and in
    /// the user's data folder. A build with CUDA goes first where `provider` needs it: for `Auto`, where the CUDA driver has a GPU.
    ///
    /// # Errors
    /// When none is found, or the one found cannot be loaded.
    pub fn load(explicit: Option<&Path>, provider: ProviderChoice) -> Result<Self, InferenceError> {
        let named =
            explicit.map(Path::to_owned).or_else(|| std::env::var_os("STREAMDET_ONNXRUNTIME").map(PathBuf::from));
        let program = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf));
        // What is named is not replaced by another.
        let places = named.map_or_else(|| places(program.as_deref(), folders::data().as_deref()), |named| vec![named]);
        let path = search(&places, wants_gpu(provider)).ok_or_else(|| InferenceError::RuntimeMissing {
            searched: places.iter().map(|place| place.display().to_string()).collect(),
        })?;
        tracing::debug!(path = %path.display(), "ONNX Runtime");
        let unusable = |problem: String| InferenceError::RuntimeUnusable { path: path.display().to_string(), problem };
        let environment = ort::init_from(&path)
            .map_err(|e| unusable(e.to_string()))?
            .with_name("streamdet")
            .build()
            .map_err(|e| unusable(e.to_string()))?;
        // Its own log repeats what our errors say.
        environment.set_log_level(ort::logging::LogLevel::Fatal);
        Ok(Self { environment, path })
    }

    /// The folder that holds the library and its providers.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        folder_of(&self.path)
    }

    /// The library.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version, by the file's name; `None` where that has none.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        let real = std::fs::canonicalize(&self.path).ok()?;
        let numbers = version(real.file_name()?.to_str()?)?;
        let text: Vec<String> = numbers.iter().map(u64::to_string).collect();
        (!text.is_empty()).then(|| text.join("."))
    }

    /// Whether it is a build with CUDA, on a machine whose CUDA driver has a GPU.
    pub(super) fn should_use_gpu(&self) -> bool {
        has_cuda(&self.path) && !cuda::devices().is_empty()
    }
}

fn wants_gpu(provider: ProviderChoice) -> bool {
    provider.is_gpu() || (provider == ProviderChoice::Auto && !cuda::devices().is_empty())
}

/// Where it may lie, first choice first.
fn places(program: Option<&Path>, data: Option<&Path>) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(folder) = program {
        places.push(folder.join("onnxruntime"));
        places.push(folder.to_owned());
    }
    // As `scripts/setup.sh` names them.
    places.extend(data.into_iter().flat_map(|data| ["onnxruntime", "onnxruntime-cuda"].map(|name| data.join(name))));
    places
}

/// The library to load: the first one, or, for a GPU, the first one that has CUDA, if one does.
fn search(places: &[PathBuf], for_gpu: bool) -> Option<PathBuf> {
    let found = || places.iter().filter_map(|place| library_in(place));
    found().find(|library| for_gpu && has_cuda(library)).or_else(|| found().next())
}

fn has_cuda(library: &Path) -> bool {
    ProviderChoice::Cuda.library().is_some_and(|name| folder_of(library).join(name).exists())
}

fn folder_of(library: &Path) -> PathBuf {
    let real = std::fs::canonicalize(library).unwrap_or_else(|_| library.to_owned());
    real.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The library that `place` is, or the newest one in it.
fn library_in(place: &Path) -> Option<PathBuf> {
    if place.is_file() {
        return Some(place.to_owned());
    }
    let entries = std::fs::read_dir(place).ok()?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    entries.filter_map(|path| Some((version(path.file_name()?.to_str()?)?, path))).max().map(|(_, path)| path)
}

/// The version in the library's name, which may have none; `None`: it is another file.
fn version(name: &str) -> Option<Vec<u64>> {
    match name.strip_prefix("libonnxruntime.so")? {
        "" => Some(Vec::new()),
        version => version.strip_prefix('.')?.split('.').map(|number| number.parse().ok()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path, names: &[&str]) {
        std::fs::create_dir_all(folder).expect("a folder");
        for name in names {
            std::fs::write(folder.join(name), b"").expect("a file");
        }
    }

    #[test]
    fn the_newest_library_is_taken_by_number() {
        let folder = tempfile::tempdir().expect("a folder");
        files(
            folder.path(),
            &[
                "libonnxruntime.so",
                "libonnxruntime.so.1.9.0",
                "libonnxruntime.so.1.24.1",
                "libonnxruntime.so.1.9.0.debug",
                "libonnxruntime_providers_shared.so",
            ],
        );
        assert_eq!(library_in(folder.path()), Some(folder.path().join("libonnxruntime.so.1.24.1")));
    }

    /// Not with a card: the search alone, and what tells it that there is one.
    #[test]
    fn what_setup_cuda_installs_is_found_where_there_is_a_gpu() {
        let data = tempfile::tempdir().expect("a folder");
        let (plain, with_cuda) = (data.path().join("onnxruntime"), data.path().join("onnxruntime-cuda"));
        let program = data.path().join("bin");
        let places = places(Some(&program), Some(data.path()));
        let found = |gpu| search(&places, gpu).map(|library| folder_of(&library));
        files(&with_cuda, &["libonnxruntime.so.1.24.4", "libonnxruntime_providers_cuda.so"]);
        assert_eq!(found(false).as_ref(), Some(&with_cuda), "the only one there is runs on the CPU as well");
        files(&plain, &["libonnxruntime.so.1.24.1", "libonnxruntime_providers_openvino.so"]);
        assert_eq!([found(false), found(true)], [Some(plain), Some(with_cuda.clone())]);
        // A plain build beside the program stands in no one's way.
        files(&program, &["libonnxruntime.so.1.24.1"]);
        assert_eq!([found(false), found(true)], [Some(program), Some(with_cuda.clone())]);
        std::fs::remove_dir_all(&with_cuda).expect("it was there");
        assert!(found(true).is_some(), "without one, `auto` takes what there is");
    }

    /// The folder is the one that `scripts/setup.sh` installs into.
    #[test]
    fn the_set_up_script_installs_where_the_program_looks() {
        let script = include_str!("../../scripts/setup.sh");
        assert!(script.contains("install_runtime \"$runtime\" \"$data/onnxruntime-cuda\""));
        assert!(script.contains("install_runtime \"$runtime\" \"$data/onnxruntime\""));
        assert!(script.contains("data=${XDG_DATA_HOME:-$HOME/.local/share}/streamdet"));
    }
}
