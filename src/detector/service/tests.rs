//! With the built-in model; skipped where the runtime is not installed.

use std::time::Duration;

use crossbeam_channel::bounded;

use super::*;
use crate::detection::Detection;
use crate::detector::tests::{model, photograph};
use crate::inference::ProviderChoice;
use crate::tensor::InputShape;

fn service(batch: usize, capacity: usize, delay: Duration) -> Option<(Service, Wanted)> {
    let (runtime, model) = model()?;
    let mut options = DetectorOptions { inference_delay: delay, ..DetectorOptions::of(&model) };
    options.provider.choice = ProviderChoice::Cpu;
    options.provider.batch = batch;
    let wanted = options.wanted.clone();
    Some((Service::start(runtime, &model, options, capacity).expect("it starts"), wanted))
}

fn batch(frames: usize) -> Batch {
    Batch { frames: (0..frames).map(|_| photograph()).collect(), inferred: (0..frames).collect(), shape: None }
}

fn found(batch: &Batch) -> Vec<Vec<Detection>> {
    batch.frames.iter().map(|frame| frame.detections.clone()).collect()
}

#[test]
fn streams_and_requests_get_what_they_would_get_alone_each_with_its_own_thresholds() {
    let Some((service, wanted)) = service(4, 8, Duration::ZERO) else { return };
    let mut alone = batch(1);
    service.client(wanted.clone(), false).detect(&mut alone, wanted.thresholds.conf).expect("it detects");
    let alone = found(&alone).remove(0);
    assert!(alone.len() > 1);
    let surest = alone[0].confidence - 1e-3;
    let (told, answers) = bounded(100);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let client = service.client(wanted.clone(), true);
            crate::thread::spawn("stream", move || {
                (0..4)
                    .map(|_| {
                        let mut three = batch(3);
                        client.detect(&mut three, surest).map(|()| found(&three))
                    })
                    .collect::<Result<Vec<_>, _>>()
            })
            .expect("a thread")
        })
        .collect();
    let mut tickets = Vec::new();
    for max_det in 1..=3 {
        let mut wanted = wanted.clone();
        wanted.thresholds.max_det = max_det;
        let told = told.clone();
        let reply = move |result: Result<Batch, ServiceError>| {
            told.send((max_det, found(&result.expect("it detects")))).expect("it is told");
        };
        tickets.push(service.client(wanted, false).submit(batch(2), Box::new(reply)).expect("there is room"));
    }
    for _ in 1..=3 {
        let (max_det, found) = answers.recv().expect("an answer");
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [max_det.min(alone.len()); 2]);
    }
    for thread in threads {
        let results = thread.join().expect("no panic").expect("it detects");
        for found in results.iter().flatten() {
            assert_eq!(found.len(), 1, "one is so sure: {found:?}");
            assert!((found[0].confidence - alone[0].confidence).abs() < 1e-3);
        }
    }
    service.close().expect("no panic");
}

#[test]
fn too_many_requests_are_refused_and_those_whose_callers_went_away_are_not_run() {
    let Some((service, wanted)) = service(1, 2, Duration::from_millis(50)) else { return };
    let client = service.client(wanted, false);
    let (told, answers) = bounded(100);
    let submit = |name: &'static str| {
        let told = told.clone();
        let reply = move |result: Result<Batch, ServiceError>| {
            let _ = told.send((name, result.is_ok()));
        };
        client.submit(batch(1), Box::new(reply))
    };
    // One is run, two wait: the fourth at the latest is refused.
    let mut tickets = Vec::new();
    let refused = loop {
        match submit("stays") {
            Ok(ticket) => tickets.push(ticket),
            Err(full) => break full,
        }
        assert!(tickets.len() < 100, "none is refused");
    };
    assert_eq!(refused, Full(2));
    let left = tickets.pop().expect("some were taken");
    drop(left);
    let late = submit("late").expect("who went away makes room");
    let names: Vec<_> = (0..=tickets.len()).map(|_| answers.recv().expect("an answer")).collect();
    assert_eq!(names.last(), Some(&("late", true)));
    drop(late);
    service.close().expect("no panic");
    assert!(answers.try_recv().is_err(), "it was not run");
}

#[test]
fn who_waits_at_the_end_is_answered_and_who_comes_later_is_told() {
    let Some((service, wanted)) = service(1, 4, Duration::from_millis(20)) else { return };
    let client = service.client(wanted.clone(), false);
    let (told, answers) = bounded(100);
    let tickets: Vec<_> = (0..3)
        .map(|_| {
            let told = told.clone();
            let reply = move |result: Result<Batch, ServiceError>| {
                let _ = told.send(result.is_ok());
            };
            client.submit(batch(1), Box::new(reply))
        })
        .collect();
    service.close().expect("no panic");
    assert_eq!(answers.try_iter().collect::<Vec<_>>(), [true; 3]);
    drop(tickets);
    let mut late = batch(1);
    assert!(matches!(client.detect(&mut late, 0.5), Err(ServiceError::Ended)));
    assert!(client.submit(batch(1), Box::new(|_| {})).is_err());
    assert!(matches!(client.warm_up(FIRST), Err(ServiceError::Ended)));
    assert_eq!(client.finish(), None);
}

#[test]
fn a_tensor_gives_the_models_own_outputs() {
    let Some((service, wanted)) = service(1, 4, Duration::ZERO) else { return };
    let client = service.client(wanted.clone(), false);
    let tensor = InputTensor::filled(InputShape { batch: 2, size: wanted.imgsz }, 0.5);
    let (told, answer) = bounded(1);
    let reply = move |result: Result<Vec<Output>, ServiceError>| {
        let _ = told.send(result);
    };
    let _ticket = client.submit_tensor(tensor, Box::new(reply)).expect("there is room");
    let outputs = answer.recv().expect("an answer").expect("it runs");
    assert!(
        outputs
            .iter()
            .all(|output| output.shape[0] == 2 && output.data.len() == output.shape.iter().product::<usize>())
    );
    assert!(!outputs.is_empty());
}

#[test]
fn sessions_for_a_stream_are_made_while_others_go_on() {
    let Some((service, wanted)) = service(2, 4, Duration::ZERO) else { return };
    let (first, second) = (service.client(wanted.clone(), true), service.client(wanted, true));
    first.warm_up(Size { width: 320, height: 200 }).expect("they are made");
    second.warm_up(Size { width: 1280, height: 720 }).expect("they are made");
    let mut frames = batch(2);
    first.detect(&mut frames, 0.25).expect("it detects");
    assert!(frames.frames.iter().all(|frame| frame.letterbox.is_some() && !frame.detections.is_empty()));
    assert_eq!(frames.shape.map(|shape| shape.batch), Some(2));
    assert_eq!(first.finish(), None, "no tiles were asked for");
}
