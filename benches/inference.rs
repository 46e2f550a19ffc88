//! One run of a model at 384×640, the tensor of a 16:9 picture, by model, provider and batch. The throughput is of frames.
//!
//! The built-in model, and `YOLOv8n` where the shared test data is. Nothing else may run beside it for the figures to
//! mean anything; the pipeline's decoder and encoder take their share of the same cores.

use std::path::PathBuf;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use streamdet::geometry::Size;
use streamdet::inference::{self, Engine, ProviderChoice, ProviderOptions, Runtime};
use streamdet::model::{Model, ModelRef};
use streamdet::tensor::{InputShape, InputTensor};

const SIZE: Size = Size { width: 640, height: 384 };

fn inference(criterion: &mut Criterion) {
    let runtime = match Runtime::load(None, ProviderChoice::Auto) {
        Ok(runtime) => runtime,
        Err(error) => return eprintln!("skipped: {error}"),
    };
    let mut group = criterion.benchmark_group("inference");
    group.sampling_mode(SamplingMode::Flat).sample_size(20).measurement_time(Duration::from_secs(6));
    for model in [None, yolov8n()].into_iter().enumerate().filter(|(number, path)| *number == 0 || path.is_some()) {
        let reference = ModelRef::resolve(model.1.as_ref().and_then(|path| path.to_str())).expect("the model is there");
        let facts = inference::inspect(&runtime, reference.file()).expect("the model can be read");
        let model = Model::build(reference, &facts).expect("its layout is known");
        for provider in [ProviderChoice::Cpu, ProviderChoice::Openvino] {
            for batch in [1, 4] {
                let shape = InputShape { batch, size: SIZE };
                let mut engine = match open(&runtime, &model, provider, shape) {
                    Ok(engine) => engine,
                    Err(error) => {
                        eprintln!("skipped: {error}");
                        break;
                    }
                };
                let tensor = InputTensor::filled(shape, 114.0 / 255.0);
                let name = format!("{} {} {}", model.name, provider.name(), engine.report().detail);
                group.throughput(Throughput::Elements(batch as u64));
                group.bench_function(BenchmarkId::new(name, batch), |bencher| {
                    bencher.iter(|| engine.run(&tensor, |outputs| outputs[0].data[0]).expect("it runs"));
                });
            }
        }
    }
    group.finish();
}

fn open(
    runtime: &Runtime,
    model: &Model,
    choice: ProviderChoice,
    shape: InputShape,
) -> Result<Engine, inference::InferenceError> {
    let options = ProviderOptions { choice, ..ProviderOptions::default() };
    Engine::new(runtime, &model.file, &model.port, &options, (shape, Some(shape.batch)))
}

/// `YOLOv8n` in the shared test data, `STREAMDET_TEST_DATA`.
fn yolov8n() -> Option<PathBuf> {
    let root = std::env::var_os("STREAMDET_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = root.join("models/yolov8n_coco_dynamic.onnx");
    if path.is_file() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there (STREAMDET_TEST_DATA)", path.display());
    None
}

criterion_group!(benches, inference);
criterion_main!(benches);
