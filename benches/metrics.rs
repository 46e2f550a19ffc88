//! What answering a scrape costs: rendering all metrics into a buffer that is kept. A hundred scrapes a second may cost 1 % of
//! a core; the check at the end holds one stream's to that.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use streamdet::clock::{self, HostTime, RealClock, StreamTime};
use streamdet::frame::Stamps;
use streamdet::inference::{self, ProviderChoice, Runtime};
use streamdet::latency::FrameRecord;
use streamdet::model::{Model, ModelRef};
use streamdet::monitoring::Metrics;
use streamdet::pipeline::{Listener, RunEvent};
use streamdet::stream::StreamId;

const BUDGET: Duration = Duration::from_micros(100);
const SCRAPES: u32 = 5_000;

/// Metrics of a run over so many streams, every stage of which has passed some frames.
fn metrics(model: &Model, streams: u32) -> Metrics {
    let names: Vec<String> = (0..streams).map(|n| format!("rtsp://camera-{n}/stream")).collect();
    let metrics = Metrics::new(&names, &model.into(), Arc::new(RealClock::new()));
    let at = |ms: u64| HostTime::from_start(Duration::from_millis(ms));
    for (stream, frame) in (0..streams).flat_map(|stream| (0..200).map(move |frame| (stream, frame))) {
        let ms = frame * 33;
        let elapsed = |us: u64| Duration::from_micros(us * (1 + frame % 40));
        let stamps = Stamps {
            decode_in: Some(at(ms)),
            decoded: at(ms + 3),
            taken: at(ms + 5),
            batch_closed: at(ms + 6),
            ran_from: Some(at(ms + 6)),
            preprocess: elapsed(50),
            inference: elapsed(500),
            postprocess: elapsed(5),
            drawn_from: Some(at(ms + 40)),
            overlay: elapsed(20),
            handed_over: at(ms + 60),
            batch_size: 1,
            ..Stamps::default()
        };
        let encode = Some((at(ms + 42), at(ms + 50 + frame % 10)));
        let pts = StreamTime { ns: ms * 1_000_000 };
        let record = FrameRecord { stream: StreamId(stream), frame, pts, stamps, encode, detections: 3 };
        metrics.on(&RunEvent::FrameRecorded(&record));
    }
    metrics
}

fn scrape(criterion: &mut Criterion) {
    let runtime = Runtime::load(None, ProviderChoice::Cpu).expect("ONNX Runtime is installed");
    let reference = ModelRef::resolve(None).expect("the built-in model");
    let facts = inference::inspect(&runtime, reference.file()).expect("it can be read");
    let model = Model::build(reference, &facts).expect("its layout is known");
    let mut group = criterion.benchmark_group("scrape");
    let mut text = String::new();
    for streams in [1, 8, 64] {
        let metrics = metrics(&model, streams);
        text.clear();
        metrics.write(&mut text);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(streams), |bencher| {
            bencher.iter(|| {
                text.clear();
                black_box(&metrics).write(&mut text);
            });
        });
    }
    group.finish();
    let metrics = metrics(&model, 1);
    let start = clock::now();
    for _ in 0..SCRAPES {
        text.clear();
        black_box(&metrics).write(&mut text);
    }
    let each = clock::now().since(start) / SCRAPES;
    eprintln!("a scrape of one stream: {each:?}, {} bytes\n", text.len());
    assert!(each <= BUDGET, "a scrape costs {each:?}, more than {BUDGET:?}");
}

criterion_group!(benches, scrape);
criterion_main!(benches);
