//! What is sent by mistake or to do harm, and an honest request afterwards.

use std::io::Write;
use std::net::SocketAddr;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use streamdet::serve::Limits;

use crate::client::{connect, send};
use crate::fixture::{converted, routes, sample, service, shared, start};

#[track_caller]
fn honest(address: SocketAddr) {
    let answer = send(address, "POST /v1/detect", &[], &sample());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A PNG of one colour, of 1 bit a pixel.
fn flat_png(width: u32, height: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        png.extend(u32::try_from(data.len()).expect("short").to_be_bytes());
        png.extend([kind, data].concat());
        png.extend(crc.sum().to_be_bytes());
    };
    chunk(b"IHDR", &[&width.to_be_bytes()[..], &height.to_be_bytes(), &[1, 0, 0, 0, 0]].concat());
    let mut pixels = ZlibEncoder::new(Vec::new(), Compression::best());
    let row = vec![0; 1 + width.div_ceil(8) as usize];
    for _ in 0..height {
        pixels.write_all(&row).expect("memory");
    }
    chunk(b"IDAT", &pixels.finish().expect("memory"));
    chunk(b"IEND", &[]);
    png
}

#[test]
fn a_small_file_of_a_huge_image_is_refused_before_it_is_decoded() {
    let bomb = flat_png(30_000, 30_000);
    assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
    let said = send(shared(), "POST /v1/detect", &[], &bomb).problem(413);
    assert!(said.contains("30000x30000") && said.contains("--max-pixels"), "{said}");
    assert_eq!(
        send(shared(), "POST /v1/detect", &[], &flat_png(300, 300)).status,
        200,
        "a small one of the kind is taken"
    );
    honest(shared());
}

#[test]
fn damaged_images_harm_nobody() {
    let jpeg = sample();
    let png = converted("png", &[]);
    let mut damaged = Vec::new();
    for image in [&jpeg, &png] {
        for part in 1..8 {
            damaged.push(image[..image.len() * part / 8].to_vec());
            let mut flipped = image.clone();
            for at in (100 * part..image.len()).step_by(997) {
                flipped[at] ^= 0x5a;
            }
            damaged.push(flipped);
        }
    }
    for image in damaged {
        let answer = send(shared(), "POST /v1/detect", &[], &image);
        // A JPEG that is cut short has an image still.
        assert!([200, 422].contains(&answer.status), "{} {}", answer.status, answer.text());
    }
    honest(shared());
}

#[test]
fn what_a_damaged_image_lacks_is_not_another_clients() {
    for (kind, more) in
        [("jpg", &["-pix_fmt", "yuvj420p"][..]), ("jpg", &["-pix_fmt", "yuvj422p"]), ("webp", &[]), ("tiff", &[])]
    {
        let image = converted(kind, more);
        let damaged = [&image[..image.len() / 3], &[0xFF, 0xD9]].concat();
        let after = ["white", "black", "red"].map(|colour| {
            // As large as it, so that what is freed of them is of its size.
            let drawn = format!("drawbox=color={colour}:t=fill");
            for _ in 0..3 {
                let before = converted(kind, &[&["-vf", &drawn], more].concat());
                assert_eq!(send(shared(), "POST /v1/detect", &["Accept: image/png"], &before).status, 200);
            }
            let answer = send(shared(), "POST /v1/detect", &["Accept: image/png"], &damaged);
            (answer.status, answer.body)
        });
        assert!([200, 422].contains(&after[0].0) && after.iter().all(|other| *other == after[0]), "{kind} {more:?}");
    }
}

#[test]
fn beyond_the_queue_a_request_is_sent_away_and_may_come_again() {
    let server = start(routes(service(1)), Limits::default());
    let address = server.address();
    let asked: Vec<_> = (0..24)
        .map(|n| {
            let ask = move || send(address, "POST /v1/detect?tile=2x2", &[], &sample());
            streamdet::thread::spawn(format!("client-{n}"), ask).expect("a thread")
        })
        .collect();
    let answers: Vec<_> = asked.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    let answered = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(answered > 0);
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!(!refused.is_empty(), "24 at once, of which one may wait");
    for answer in refused {
        answer.problem(503);
        assert_eq!(answer.header("retry-after"), Some("1"), "{}", answer.head);
    }
    honest(address);
}

#[test]
fn a_client_that_goes_away_costs_nothing_more() {
    let service = service(64);
    let server = start(routes(service.clone()), Limits::default());
    let address = server.address();
    let image = sample();
    let head =
        format!("POST /v1/detect?tile=4x4 HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n", image.len());
    for _ in 0..40 {
        let mut gone = connect(address);
        gone.write_all(&[head.as_bytes(), &image].concat()).expect("a request");
    }
    honest(address);
    assert!(service.waiting() < 40, "{} wait", service.waiting());
}
