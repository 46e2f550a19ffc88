//! Live viewing as its clients see it: WebRTC by WHEP, JPEGs, snapshots. The viewers are real peers; what they get, `ffmpeg` decodes.

#[path = "../program/mod.rs"]
mod program;

mod camera;
mod http;
mod peer;
mod run;

use std::io::{BufRead, Read};
use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use str0m::media::MediaData;
use streamdet::sink::Hub;
use streamdet::thread::spawn;

use camera::Camera;
use http::{ask, head, send};
use peer::{Offering, Peer};
use program::{events, probe, witness};
use run::Run;

fn serve(hubs: Vec<Hub>) -> SocketAddr {
    http::serve(hubs, 16, Router::new)
}

#[track_caller]
fn begins_with_a_keyframe_and_goes_on(frames: &[MediaData]) {
    assert!(frames[0].is_keyframe(), "it begins with a keyframe");
    let times: Vec<u64> = frames.iter().map(|frame| frame.time.numer()).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    assert!(frames[1..].iter().all(|frame| frame.contiguous), "no frame is missing");
}

/// The frames as a file that players read.
#[track_caller]
fn written(frames: &[MediaData], path: &Path) {
    let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.data.iter().copied()).collect();
    std::fs::write(path, bytes).expect("a file");
}

#[test]
fn a_viewer_gets_the_stream_from_a_keyframe_on_and_it_decodes() {
    let camera = Camera::start("yard");
    let server = serve(vec![camera.hub.clone()]);
    let frames = Peer::watch(server, "yard").frames(60);
    begins_with_a_keyframe_and_goes_on(&frames);
    let step = frames[40].time.numer() - frames[10].time.numer();
    assert!((89_000..=91_000).contains(&step), "30 frames are a second: {step}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("seen.h264");
    written(&frames, &file);
    assert_eq!((probe(&file, "width"), probe(&file, "height")), ("320".into(), "240".into()));
    let decoded = witness(
        "ffprobe",
        &["-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", file.to_str().expect("text")],
    );
    assert_eq!(decoded.trim(), "60", "every frame decodes");
    witness("ffmpeg", &["-xerror", "-i", file.to_str().expect("text"), "-f", "null", "-"]);
}

#[test]
fn ten_viewers_share_an_encoder_and_one_that_reads_nothing_slows_nobody() {
    let camera = Camera::start("yard");
    let server = serve(vec![camera.hub.clone()]);
    let mut deaf = Peer::watch(server, "yard");
    deaf.frames(1);
    // From here on it says nothing and reads nothing.
    let viewers: Vec<_> = (0..10)
        .map(|n| spawn(format!("viewer-{n}"), move || Peer::watch(server, "yard").frames(60)).expect("it starts"))
        .collect();
    for viewer in viewers {
        begins_with_a_keyframe_and_goes_on(&viewer.join().expect("it sees the stream"));
    }
    let totals = camera.hub.totals();
    assert_eq!((totals.viewers, totals.skipped), (11, 0));
    assert!(totals.sent >= 11 * 60, "{totals:?}");
    drop(deaf);
}

#[test]
fn a_viewer_stays_when_the_stream_has_another_size() {
    let camera = Camera::start("yard");
    let server = serve(vec![camera.hub.clone()]);
    let mut viewer = Peer::watch(server, "yard");
    begins_with_a_keyframe_and_goes_on(&viewer.frames(20));
    camera.resize(640);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("seen.h264");
    let mut since_keyframe = Vec::new();
    let stayed = viewer.run(|_, frame| {
        if frame.is_keyframe() {
            since_keyframe.clear();
        }
        since_keyframe.push(frame);
        if since_keyframe.len() < 5 {
            return true;
        }
        written(&since_keyframe, &file);
        probe(&file, "width") != "640"
    });
    assert!(stayed);
    assert_eq!(probe(&file, "height"), "480");
}

#[test]
fn who_lost_something_gets_a_keyframe_sooner_than_the_next_one_is_due() {
    let camera = Camera::start("yard");
    let server = serve(vec![camera.hub.clone()]);
    let mut viewer = Peer::watch(server, "yard");
    let (mut since, mut distances) = (0, Vec::new());
    let went_on = viewer.run(|viewer, frame| {
        since += 1;
        if frame.is_keyframe() {
            distances.push(since);
            since = 0;
        }
        viewer.lost_something();
        distances.len() < 5
    });
    assert!(went_on);
    // One a second is due anyway. The first two are for a viewer who begins.
    let least = distances[2..].iter().min().expect("some");
    assert!(*least < 25, "{distances:?}");
    assert!(*least > 3, "a keyframe for every request would be a flood: {distances:?}");
}

#[test]
fn what_cannot_be_shown_is_refused_in_words() {
    let camera = Camera::start("the yard");
    let server = http::serve(vec![camera.hub.clone()], 1, Router::new);
    let post = |name: &str, kind: &str, body: &str| ask(server, &format!("POST /v1/streams/{name}/whep"), kind, body);
    let offer = Offering::new(true);
    let refused = |answer: http::Answer| {
        assert_eq!(answer.header("content-type"), "application/problem+json", "{answer:?}");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(body["status"], answer.status);
        (answer.status, body["detail"].as_str().expect("words").to_owned())
    };
    assert_eq!(refused(post("gate", "application/sdp", &offer.sdp)).0, 404);
    let (status, words) = refused(post("the%20yard", "application/json", "{}"));
    assert!(status == 415 && words.contains("application/sdp"), "{status} {words}");
    for body in ["", "v=0", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", &"x".repeat(60_000)] {
        assert_eq!(refused(post("the%20yard", "application/sdp", body)).0, 400, "{body:.20}");
    }
    assert_eq!(refused(post("the%20yard", "application/sdp", &"x".repeat(70_000))).0, 413);
    let (status, words) = refused(post("the%20yard", "application/sdp", &Offering::new(false).sdp));
    assert!(status == 406 && words.contains("H.264"), "{status} {words}");
    // The refused hold no place; who watches does, until his session is deleted.
    let answer = post("the%20yard", "application/sdp", &offer.sdp);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let session = answer.header("location").to_owned();
    assert!(session.starts_with("/v1/streams/the%20yard/whep/"), "{session}");
    let full = post("the%20yard", "application/sdp", &Offering::new(true).sdp);
    assert_eq!((full.status, full.header("retry-after")), (503, "1"), "{}", full.text());
    assert_eq!(ask(server, "GET /v1/streams/the%20yard/snapshot.jpg", "", "").status, 503);
    assert_eq!(ask(server, &format!("PATCH {session}"), "application/trickle-ice-sdpfrag", "").status, 405);
    assert_eq!(ask(server, &format!("DELETE {session}"), "", "").status, 204);
    assert_eq!(refused(ask(server, &format!("DELETE {session}"), "", "")).0, 404);
    assert_eq!(post("the%20yard", "application/sdp", &Offering::new(true).sdp).status, 201);
}

#[test]
fn a_session_that_is_deleted_ends_for_its_viewer() {
    let camera = Camera::start("yard");
    let server = serve(vec![camera.hub.clone()]);
    let mut viewer = Peer::watch(server, "yard");
    viewer.frames(10);
    assert_eq!(ask(server, &format!("DELETE {}", viewer.session), "", "").status, 204);
    assert!(!viewer.run(|_, _| true), "it is told so");
    events::state(|| "the viewer is still counted".into(), || (camera.hub.viewers() == 0).then_some(()));
}

#[test]
fn jpegs_are_made_while_somebody_takes_them() {
    let camera = Camera::start("yard");
    let server = serve(vec![camera.hub.clone()]);
    let still = ask(server, "GET /v1/streams/yard/snapshot.jpg", "", "");
    assert_eq!((still.status, still.header("content-type")), (200, "image/jpeg"), "{}", still.text());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("still.jpg");
    std::fs::write(&file, &still.body).expect("a file");
    assert_eq!((probe(&file, "width"), probe(&file, "height")), ("320".into(), "240".into()));
    let mut stream = send(server, "GET /v1/streams/yard/live.mjpg", "", "");
    let answer = head(&mut stream);
    assert_eq!(answer.header("content-type"), "multipart/x-mixed-replace; boundary=frame");
    let mut images = Vec::new();
    while images.len() < 5 {
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line");
        if let Some(length) = line.strip_prefix("content-length: ").map(str::to_owned) {
            stream.read_line(&mut line).expect("an empty line");
            let mut image = vec![0; length.trim().parse().expect("a number")];
            stream.read_exact(&mut image).expect("an image");
            assert!(image.starts_with(&[0xff, 0xd8]) && image.ends_with(&[0xff, 0xd9]), "a whole JPEG");
            images.push(image);
        }
    }
    images.dedup();
    assert_eq!(images.len(), 5, "each is of a frame of its own");
    assert_eq!(camera.hub.preview().watchers(), 1);
    drop(stream);
    events::state(|| "who left is still waited for".into(), || (camera.hub.preview().watchers() == 0).then_some(()));
}

#[test]
fn a_run_of_the_pipeline_is_watched_until_its_stream_is_closed() {
    let hub = Hub::new("ball");
    let run = Run::start("test:ball", &hub);
    let server = serve(vec![hub.clone()]);
    let mut viewer = Peer::watch(server, "ball");
    begins_with_a_keyframe_and_goes_on(&viewer.frames(45));
    let outcome = run.end();
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    let [stream] = outcome.figures.streams.as_slice() else { panic!("one stream") };
    assert!(stream.accounted && stream.frames.processed >= 45, "{:?}", stream.frames);
    let [shown] = outcome.figures.live_outputs.as_slice() else { panic!("{:?}", outcome.figures.live_outputs) };
    assert!(shown.uri == "ball" && shown.frames_sent >= 45 && shown.clients == Some(1), "{shown:?}");
    hub.close();
    assert!(!viewer.run(|_, _| true), "the viewer is told that it is over");
}
