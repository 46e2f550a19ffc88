//! Where ONNX Runtime lies. It is loaded by its full path, never through `LD_LIBRARY_PATH`.

use std::path::{Path, PathBuf};

use super::{InferenceError, ProviderChoice};
use crate::folders;

/// The loaded library.
#[derive(Clone)]
pub struct Runtime {
    pub(super) environment: ort::environment::Environment,
    path: PathBuf,
}

impl Runtime {
    /// Loads the first ONNX Runtime found: `explicit` (file or folder), `STREAMDET_ONNXRUNTIME`, next to the program, the
    /// user's data folder (the CUDA build first when `provider` needs it).
    ///
    /// # Errors
    /// When none is found, or the one found cannot be loaded.
    pub fn load(explicit: Option<&Path>, provider: ProviderChoice) -> Result<Self, InferenceError> {
        let places = match explicit {
            Some(path) => vec![path.to_owned()],
            None => places(provider),
        };
        let path = places.iter().find_map(|p| library_in(p)).ok_or_else(|| InferenceError::RuntimeMissing {
            searched: places.iter().map(|p| p.display().to_string()).collect(),
        })?;
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
        let real = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        real.parent().map_or_else(PathBuf::new, Path::to_path_buf)
    }

    /// The library.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn places(provider: ProviderChoice) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(path) = std::env::var_os("STREAMDET_ONNXRUNTIME") {
        places.push(PathBuf::from(path));
    }
    if let Some(folder) = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf)) {
        places.push(folder.join("onnxruntime"));
        places.push(folder);
    }
    if let Some(data) = folders::data() {
        if matches!(provider, ProviderChoice::Cuda | ProviderChoice::Tensorrt) {
            places.push(data.join("onnxruntime-cuda"));
        }
        places.push(data.join("onnxruntime"));
    }
    places
}

fn library_in(place: &Path) -> Option<PathBuf> {
    if place.is_file() {
        return Some(place.to_owned());
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(place)
        .ok()?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|p| {
            p.file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| n == "libonnxruntime.so" || n.starts_with("libonnxruntime.so."))
        })
        .collect();
    found.sort();
    found.pop()
}
