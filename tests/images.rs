//! Images as cameras, phones and browsers write them: turned by EXIF, animated, tiny, under unusual names, and of formats
//! that are not decoded.

mod program;

use std::path::{Path, PathBuf};

use program::{json, said, shared, streamdet, succeeds, text, witness};
use serde_json::Value;
use streamdet::clock;
use streamdet::frame::PixelFormat;
use streamdet::pipeline::{Images, NextImage, decode_image};
use streamdet::shutdown::Shutdown;

/// A PNG of `size` from a test pattern.
fn image(folder: &Path, name: &str, size: &str) {
    let filter = format!("scale={size}");
    let out = folder.join(name);
    witness("ffmpeg", &["-f", "lavfi", "-i", "testsrc2=s=64x48", "-vf", &filter, "-frames:v", "1", "-y", text(&out)]);
}

/// Writes `source` as it was decoded, without boxes.
#[track_caller]
fn copied(folder: &Path, source: &str, out: &str) -> String {
    let args = [source, "-o", out, "--conf", "1", "--imgsz", "96", "--report", "r.json", "--overwrite"];
    let output = streamdet(folder, &args);
    succeeds(&output);
    said(&output)
}

/// How alike two images are, dB; `None` where their sizes differ.
fn psnr(folder: &Path, a: &Path, b: &Path) -> Option<f64> {
    let log = folder.join("psnr");
    let filter = format!("[0][1]psnr=f={}", text(&log));
    let args = ["-v", "error", "-i", text(a), "-i", text(b), "-filter_complex", &filter, "-f", "null", "-"];
    let compared = std::process::Command::new("ffmpeg").args(args).output().expect("ffmpeg");
    if !compared.status.success() {
        return None;
    }
    let line = std::fs::read_to_string(log).expect("its log");
    let value = line.split("psnr_avg:").nth(1)?.split(' ').next()?.to_owned();
    if value == "inf" { Some(f64::INFINITY) } else { value.parse().ok() }
}

#[test]
fn exif_turns_every_format_alike() {
    let Some(root) = shared() else { return };
    let images = root.join("data/reports/images");
    let folder = tempfile::tempdir().expect("a folder");
    for ending in ["jpg", "png", "tiff", "webp"] {
        copied(folder.path(), text(&images.join(format!("exif6.{ending}"))), "o.png");
        let alike = psnr(folder.path(), &folder.path().join("o.png"), &images.join("upright.png"));
        assert!(alike.is_some_and(|db| db > 28.0), "{ending}: {alike:?} dB");
    }
}

/// CRC-32 as PNG has it.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

/// A PNG with an orientation.
fn turned_png(plain: &[u8], orientation: u8) -> Vec<u8> {
    let chunk = [b"eXIfMM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", &[orientation][..], &[0; 6]].concat();
    let length = u32::try_from(chunk.len() - 4).expect("short");
    // After the header.
    [&plain[..33], &length.to_be_bytes(), &chunk, &crc(&chunk).to_be_bytes(), &plain[33..]].concat()
}

/// A grey TIFF of 64 × 48 pixels without compression, with an orientation.
fn turned_tiff(pixels: &[u8], orientation: u8) -> Vec<u8> {
    let entry = |tag: u16, value: u32| {
        let long = [&tag.to_le_bytes()[..], &4u16.to_le_bytes(), &1u32.to_le_bytes(), &value.to_le_bytes()];
        long.concat()
    };
    let entries = [(256, 64), (257, 48), (258, 8), (259, 1), (262, 1), (273, 122), (274, orientation.into())];
    let more = [(278, 48), (279, 64 * 48)];
    let entries: Vec<u8> = entries.into_iter().chain(more).flat_map(|(tag, value)| entry(tag, value)).collect();
    let head = [b"II*\0\x08\0\0\0\x09\0", &entries[..], &[0; 4]].concat();
    assert!(head.len() <= 122, "{}", head.len());
    [&head[..], pixels].concat()
}

#[test]
fn every_orientation_is_upright() {
    let folder = tempfile::tempdir().expect("a folder");
    image(folder.path(), "upright.png", "64:48");
    let plain = std::fs::read(folder.path().join("upright.png")).expect("the image");
    let grey = folder.path().join("grey.raw");
    let upright = folder.path().join("upright.png");
    witness("ffmpeg", &["-i", text(&upright), "-pix_fmt", "gray", "-f", "rawvideo", "-y", text(&grey)]);
    let pixels = std::fs::read(grey).expect("the pixels");
    // What turns the stored image upright, in ffmpeg's words.
    let turns = ["null", "hflip", "hflip,vflip", "vflip", "transpose=0", "transpose=1", "transpose=3", "transpose=2"];
    for (orientation, turn) in (1u8..).zip(turns) {
        std::fs::write(folder.path().join("turned.png"), turned_png(&plain, orientation)).expect("a file");
        std::fs::write(folder.path().join("turned.tiff"), turned_tiff(&pixels, orientation)).expect("a file");
        for (name, format) in [("turned.png", "rgb24"), ("turned.tiff", "gray")] {
            let expected = folder.path().join("expected.png");
            witness("ffmpeg", &["-i", text(&upright), "-vf", turn, "-pix_fmt", format, "-y", text(&expected)]);
            copied(folder.path(), name, "o.png");
            let grey = folder.path().join("o-grey.png");
            witness("ffmpeg", &["-i", text(&folder.path().join("o.png")), "-pix_fmt", format, "-y", text(&grey)]);
            let alike = psnr(folder.path(), &grey, &expected);
            assert!(alike.is_some_and(|db| db > 28.0), "{name}, orientation {orientation}: {alike:?} dB");
        }
    }
}

/// A PNG of 30,000×30,000 pixels takes a few bytes, and decoded 3.6 GB.
#[test]
fn an_image_that_would_not_fit_into_memory_is_named_before_it_is_decoded_and_others_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    std::fs::create_dir(&images).expect("a folder");
    for name in ["a.png", "c.png"] {
        image(&images, name, "64:48");
    }
    let header = [b"IHDR", &30_000_u32.to_be_bytes()[..], &30_000_u32.to_be_bytes(), &[1, 0, 0, 0, 0]].concat();
    let mut huge = std::fs::read(images.join("a.png")).expect("the image");
    drop(huge.splice(12..33, [&header[..], &crc(&header).to_be_bytes()].concat()));
    std::fs::write(images.join("b.png"), huge).expect("a file");
    let problem = "b.png: 30000×30000 pixels are more than the 268 million that are decoded";
    let log = copied(folder.path(), "images", "out/");
    assert!(log.contains(problem) && log.contains("scale it down, or cut it into tiles"), "{log}");
    let frames = &json(&folder.path().join("r.json"))["streams"][0]["frames"];
    assert_eq!((&frames["processed"], &frames["dropped"]["corrupt"]), (&2.into(), &1.into()), "{frames}");
    let alone = streamdet(folder.path(), &["images/b.png", "-o", "o.png", "--imgsz", "96"]);
    assert!(alone.status.code() == Some(2) && said(&alone).contains(problem), "{}", said(&alone));
}

#[test]
fn of_several_images_in_a_file_the_rest_is_said_to_be_left_out() {
    let Some(root) = shared() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["five_frames.gif", "five_frames.webp", "five_pages.tiff"] {
        let log = copied(folder.path(), text(&root.join("data/reports/images").join(name)), "o.png");
        assert!(log.contains("the first of 5 images is used"), "{log}");
        assert_eq!(json(&folder.path().join("r.json"))["streams"][0]["frames"]["processed"], 1);
    }
    let made = folder.path().join("made.gif");
    witness("ffmpeg", &["-f", "lavfi", "-i", "testsrc2=s=64x48:r=5", "-t", "1.4", "-y", text(&made)]);
    let log = copied(folder.path(), "made.gif", "o.png");
    assert!(log.contains("the first of 7 images is used"), "{log}");
}

#[test]
fn formats_that_are_not_decoded_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.avif"), b"\0\0\0\x18ftypavif\0\0\0\0").expect("a file");
    std::fs::write(folder.path().join("b.jpg"), b"\0\0\0\x18ftypheic\0\0\0\0").expect("a file");
    let phone = shared().map(|root| root.join("data/reports/files/IMG_2682.heic"));
    let mut cases = vec![("a.avif".to_owned(), "AVIF"), ("b.jpg".to_owned(), "HEIC")];
    cases.extend(phone.map(|path| (text(&path).to_owned(), "HEIC")));
    for (source, format) in cases {
        let output = streamdet(folder.path(), &[&source, "--imgsz", "96"]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        let refused = format!("{format} images are not supported\n  convert it, e.g. ");
        assert!(said(&output).contains(&refused), "{}", said(&output));
    }
}

/// A decoder that gives up while it is started must not take the program with it: one image in three did.
#[test]
fn images_that_are_cut_short_cost_themselves_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    std::fs::create_dir(&images).expect("a folder");
    image(&images, "whole.tiff", "320x240");
    let whole = std::fs::read(images.join("whole.tiff")).expect("an image");
    for number in 0..20 {
        std::fs::write(images.join(format!("cut{number:02}.tiff")), &whole[..whole.len() / 2]).expect("an image");
    }
    let output = streamdet(folder.path(), &["images", "-o", "none", "--imgsz", "96", "--json", "d.jsonl"]);
    succeeds(&output);
    let said = said(&output);
    assert!((0..20).all(|number| said.contains(&format!("cut{number:02}.tiff"))), "{said}");
    let lines = std::fs::read_to_string(folder.path().join("d.jsonl")).expect("lines");
    assert_eq!(lines.lines().count(), 1, "{lines}");
}

#[test]
fn the_smallest_images_are_images() {
    let folder = tempfile::tempdir().expect("a folder");
    for size in ["1:1", "8:8", "3:17", "15:2"] {
        image(folder.path(), "small.png", size);
        for out in ["o.png", "o.jpg"] {
            copied(folder.path(), "small.png", out);
            let shape = program::probe(&folder.path().join(out), "width,height").replace(',', ":");
            assert_eq!(shape, size, "{out}");
        }
    }
}

#[test]
fn a_folder_is_taken_with_every_name_that_cameras_give_and_the_rest_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let mixed = folder.path().join("mixed");
    std::fs::create_dir(&mixed).expect("a folder");
    let pattern = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=10"];
    let made = |name: &str, options: &[&str]| {
        witness("ffmpeg", &[&pattern[..], options, &["-y", text(&mixed.join(name))]].concat());
    };
    let videos: [(&str, &[&str]); 6] = [
        ("a.y4m", &["-f", "yuv4mpegpipe"]),
        ("b.mjpeg", &["-c:v", "mjpeg", "-f", "mjpeg"]),
        ("c.lrv", &["-f", "mp4"]),
        ("d.insv", &["-f", "mp4"]),
        ("e.3g2", &["-c:v", "mpeg4"]),
        ("f.h265", &["-c:v", "libx265", "-x265-params", "log-level=none", "-f", "hevc"]),
    ];
    for (name, options) in videos {
        made(name, &[options, &["-t", "1"]].concat());
    }
    let still = ["-frames:v", "1", "-update", "1"];
    for (name, options) in [("g.jfif", &["-f", "mjpeg"][..]), ("h.mpo", &["-f", "mjpeg"]), ("i.jp2", &["-f", "image2"])]
    {
        made(name, &[&still, options].concat());
    }
    for name in ["notes.txt", "odd\u{1b}[31m.xyz", "old.heic", ".hidden"] {
        std::fs::write(mixed.join(name), "no image").expect("a file");
    }
    std::fs::create_dir(folder.path().join("phone")).expect("a folder");
    std::fs::write(folder.path().join("phone/IMG_1.heic"), "no image").expect("a file");
    let output = streamdet(folder.path(), &["phone"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("(1 file passed over, of no supported format: IMG_1.heic)"), "{}", said(&output));
    let args = ["mixed", "-o", "none", "--imgsz", "96", "--report", "r.json"];
    let output = streamdet(folder.path(), &args);
    succeeds(&output);
    let log = said(&output);
    assert!(
        log.contains("mixed: 3 files passed over, of no supported format: notes.txt, odd?[31m.xyz, old.heic"),
        "{log}"
    );
    let report = json(&folder.path().join("r.json"));
    let processed = |n: usize| report["streams"][n]["frames"]["processed"].as_u64();
    let frames: Vec<_> = (0..7).map(processed).collect();
    assert_eq!(frames, [[Some(10); 6].as_slice(), &[Some(3)]].concat(), "six videos and three images: {report:#}");
}

#[test]
fn names_need_not_be_utf_8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("in");
    std::fs::create_dir(&inside).expect("a folder");
    let [image_name, video_name] = [&b"caf\xe9.png"[..], b"caf\xe9.mkv"].map(OsStr::from_bytes);
    image(folder.path(), "plain.png", "64:48");
    std::fs::rename(folder.path().join("plain.png"), inside.join(image_name)).expect("the image");
    program::made_clip(folder.path(), "plain.mkv", "64x48", "1", &[]);
    std::fs::rename(folder.path().join("plain.mkv"), inside.join(video_name)).expect("the clip");
    let run = |args: &[&OsStr]| {
        let output = program::detect(folder.path(), &["--imgsz", "96", "--overwrite"]).args(args).output();
        succeeds(&output.expect("it starts"));
    };
    let (o, out) = (OsStr::new("-o"), OsStr::new("out/"));
    // In a folder, on the command line, in a pattern, and as an output.
    run(&[OsStr::new("in"), o, out]);
    run(&[inside.join(video_name).as_os_str(), o, OsStr::new("out/{stem}-2.mkv")]);
    run(&[inside.join(image_name).as_os_str(), o, OsStr::from_bytes(b"out/\xff.png")]);
    let mut names: Vec<Vec<u8>> = std::fs::read_dir(folder.path().join("out"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().as_bytes().to_vec())
        .collect();
    names.sort();
    let expected = [&b"caf\xe9-2.mkv"[..], b"caf\xe9-annotated.mkv", b"caf\xe9-annotated.png", b"\xff.png"];
    assert_eq!(names, expected);
    // Labels of names that look alike are two files.
    std::fs::copy(inside.join(image_name), inside.join(OsStr::from_bytes(b"caf\xe8.png"))).expect("a copy");
    run(&[OsStr::new("in"), o, OsStr::new("none"), OsStr::new("--save-txt"), OsStr::new("labels")]);
    for name in [&b"labels/caf\xe8.txt"[..], b"labels/caf\xe9.txt"] {
        assert!(folder.path().join(OsStr::from_bytes(name)).exists());
    }
    // An address is UTF-8, and is no file otherwise; nothing of it is shown.
    for output in
        [&b"rtmp://pilot:geheim@127.0.0.1/live/\xe9"[..], b"srt://127.0.0.1:9/?passphrase=geheim&x=\xe9", b"hls:\xe9"]
    {
        let mut command = program::detect(folder.path(), &["in", "-o"]);
        let output = command.arg(OsStr::from_bytes(output)).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(!said(&output).contains("geheim"), "{}", said(&output));
    }
}

/// Two sources of one name, as of two cards that begin at `DJI_0001`: labels, crops and annotated images of both are there.
#[test]
fn sources_of_one_name_overwrite_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    for card in ["day1/same", "day2/same"] {
        std::fs::create_dir_all(folder.path().join(card)).expect("a folder");
        for image in ["x.png", "y.png"] {
            let file = folder.path().join(card).join(image);
            witness("ffmpeg", &["-f", "lavfi", "-i", "testsrc2=size=96x96", "-frames:v", "1", text(&file)]);
        }
    }
    let args = ["day1/same", "day2/same", "-o", "out/", "--save-txt", "labels", "--imgsz", "96"];
    succeeds(&streamdet(folder.path(), &args));
    let count = |name: &str| {
        let pattern = folder.path().join(name);
        glob::glob(text(&pattern)).expect("a pattern").flatten().filter(|path| path.is_file()).count()
    };
    assert_eq!((count("labels/*.txt"), count("out/**/*.png")), (4, 4));
}

#[test]
fn images_of_one_name_and_several_kinds_are_all_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("in");
    std::fs::create_dir(&images).expect("a folder");
    for (name, size) in [("x.bmp", "64:48"), ("x.png", "80:48"), ("x.webp", "96:48")] {
        image(&images, name, size);
    }
    let output = streamdet(folder.path(), &["in", "-o", "out", "--imgsz", "96"]);
    succeeds(&output);
    for (name, width) in [("x.bmp.png", "64"), ("x.png", "80"), ("x.webp.png", "96")] {
        assert_eq!(program::probe(&folder.path().join("out").join(name), "width"), width, "{name}");
    }
    assert_eq!(std::fs::read_dir(folder.path().join("out")).expect("it").count(), 3);
    // What is there is what would be replaced.
    let again = streamdet(folder.path(), &["in", "-o", "out", "--imgsz", "96"]);
    assert_eq!(again.status.code(), Some(2), "{}", said(&again));
    assert!(said(&again).contains("out/x.bmp.png"), "{}", said(&again));
}

#[test]
fn labels_are_chosen_and_hide_labels_is_none_of_them() {
    let Some(root) = shared() else { return };
    let source = root.join("data/visdrone/images/0000295_02000_d_0000031.jpg");
    let folder = tempfile::tempdir().expect("a folder");
    let drawn = |options: &[&str]| {
        let args = [&[text(&source), "-o", "o.png", "--imgsz", "640", "--overwrite"][..], options].concat();
        succeeds(&streamdet(folder.path(), &args));
        std::fs::read(folder.path().join("o.png")).expect("an image")
    };
    let [usual, auto, all, none, hidden] =
        [&[][..], &["--labels", "auto"], &["--labels", "all"], &["--labels", "none"], &["--hide-labels"]].map(drawn);
    assert!(usual == auto && none == hidden);
    assert!(auto != all && auto != none && all != none);
}

/// A JPEG with an orientation.
fn turned_jpeg(plain: &[u8], orientation: u8) -> Vec<u8> {
    let exif = [b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", &[orientation][..], &[0; 7]].concat();
    let length = u16::try_from(exif.len() + 2).expect("short");
    [&plain[..2], b"\xff\xe1", &length.to_be_bytes(), &exif, &plain[2..]].concat()
}

/// A progressive JPEG of 16 × 16 grey pixels, of which only the first scan is there: four blocks of one value each.
fn progressive() -> Vec<u8> {
    let tables = [b"\xff\xdb\0\x43\0", &[8; 64][..]].concat();
    let frame = b"\xff\xc2\0\x0b\x08\0\x10\0\x10\x01\x01\x11\0";
    // Two codes: 0 for no difference, 10 for one of six bits.
    let codes = [b"\xff\xc4\0\x15\0\x01\x01", &[0; 14][..], b"\0\x06"].concat();
    let scan = b"\xff\xda\0\x08\x01\x01\0\0\0\0\xa8\x1f";
    [b"\xff\xd8", &tables[..], frame, &codes, scan, b"\xff\xd9"].concat()
}

/// A folder of images of all kinds and sizes; the names of those that are images.
fn mixed(folder: &Path) -> Vec<PathBuf> {
    let still = |name: &str, size: &str, options: &[&str]| {
        let filter = format!("scale={size}");
        let made = ["-f", "lavfi", "-i", "testsrc2=s=320x240", "-frames:v", "1", "-vf", &filter, "-y"];
        let out = folder.join(name);
        witness("ffmpeg", &[&made[..], options, &["-update", "1", text(&out)]].concat());
    };
    for (name, size, format) in [
        ("a420.jpg", "320:240", "yuvj420p"),
        ("b444.jpg", "201:121", "yuvj444p"),
        ("c422.jpg", "201:121", "yuvj422p"),
        ("d440.jpg", "201:121", "yuvj440p"),
        ("e-grey.jpg", "33:17", "gray"),
        ("f.png", "160:120", "rgb24"),
        ("g-alpha.png", "160:120", "rgba"),
        ("h-deep.png", "160:120", "rgb48be"),
        ("i-palette.png", "160:120", "pal8"),
        ("j-grey.png", "15:2", "gray"),
        ("k.bmp", "61:40", "bgr24"),
        ("l.tiff", "61:40", "rgb24"),
        ("m-grey.tiff", "61:40", "gray"),
    ] {
        still(name, size, &["-pix_fmt", format]);
    }
    still("n.webp", "200:100", &[]);
    still("o.gif", "200:100", &[]);
    let read = |name: &str| std::fs::read(folder.join(name)).expect("an image");
    let (jpeg, plain) = (read("b444.jpg"), read("a420.jpg"));
    for orientation in 1..=8 {
        std::fs::write(folder.join(format!("p{orientation}.jpg")), turned_jpeg(&jpeg, orientation)).expect("a file");
    }
    for (name, bytes) in [
        ("q-cut.jpg", plain[..plain.len() / 2].to_vec()),
        ("r-two.jpg", [&plain[..], &jpeg].concat()),
        ("s-more.jpg", [&plain[..], &[0; 5000]].concat()),
        ("t-progressive.jpg", progressive()),
        ("u-png.jpg", read("f.png")),
        ("z-empty.jpg", Vec::new()),
        ("z-head.jpg", plain[..40].to_vec()),
        ("z-text.jpg", b"no image".to_vec()),
    ] {
        std::fs::write(folder.join(name), bytes).expect("a file");
    }
    let names = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut images: Vec<PathBuf> = names.filter(|path| !text(path).contains("/z-")).collect();
    images.sort();
    images
}

/// Decoded one after the other, images are what each is alone, to the byte.
#[test]
fn images_of_a_folder_are_decoded_as_each_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = mixed(folder.path());
    let alone: Vec<_> = paths.iter().map(|path| decode_image(path).expect("an image")).collect();
    let mut images = Images::open(paths.clone(), clock::process(), 1, &Shutdown::new()).expect("a thread");
    images.session_is_made();
    for (number, (path, alone)) in paths.iter().zip(alone).enumerate() {
        let frame = loop {
            match images.next(None) {
                NextImage::Frame(frame) => break frame,
                NextImage::Opened(_) => {}
                NextImage::Refused(error) => panic!("{error}"),
                _ => panic!("{} is no image", path.display()),
            }
        };
        assert_eq!((frame.index, frame.file.as_deref()), (number as u64, Some(path.as_path())));
        // In a folder 25 images are a second.
        assert_eq!((frame.pts.ns, alone.pts.ns), (number as u64 * 40_000_000, 0), "{}", path.display());
        assert_eq!(frame.duration, alone.duration, "{}", path.display());
        // With a pipeline, filesrc 1.22 does not give every first buffer a time.
        assert!(frame.stamps.decode_in.is_some() || number == 0, "{}", path.display());
        let (frame, alone) = (frame.pixels.view(), alone.pixels.view());
        assert_eq!(format!("{:?}", frame.info), format!("{:?}", alone.info), "{}", path.display());
        for (plane, (ours, theirs)) in frame.planes.iter().zip(&alone.planes).enumerate() {
            let all = frame.info.size.width as usize;
            // What lies between rows is nobody's.
            let width = if plane == 0 || frame.info.format == PixelFormat::Y444 { all } else { all.div_ceil(2) };
            let height = frame.info.plane_size(plane).height as usize;
            let rows = |data: &[u8], stride: usize| -> Vec<Vec<u8>> {
                data.chunks(stride.max(1)).take(height).map(|row| row[..width.min(row.len())].to_vec()).collect()
            };
            let (ours, theirs) = (rows(ours.data, ours.stride), rows(theirs.data, theirs.stride));
            assert!(ours == theirs && ours.len() == height, "plane {plane} of {}", path.display());
        }
    }
    images.finish().expect("no panic");
}

/// What is found in them, what is said of those that are none, and the counts.
#[test]
fn a_folder_gives_the_lines_and_errors_of_each_image_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mixed_folder = folder.path().join("mixed");
    std::fs::create_dir(&mixed_folder).expect("a folder");
    let images: Vec<String> = mixed(&mixed_folder)
        .iter()
        .map(|path| text(path.strip_prefix(folder.path()).expect("inside")).to_owned())
        .collect();
    let bad = ["mixed/z-empty.jpg", "mixed/z-head.jpg", "mixed/z-text.jpg"];
    let options = |name: &str| {
        let named = |ending: &str| format!("{name}.{ending}");
        [
            "-o",
            "none",
            "--imgsz",
            "96",
            "--conf",
            "0.01",
            "--json",
            &named("jsonl"),
            "--report",
            &named("json"),
            "--csv",
            &named("csv"),
        ]
        .map(str::to_owned)
    };
    let run = |name: &str, sources: &[&str]| {
        let options = options(name);
        let args = [sources, &options.each_ref().map(String::as_str)].concat();
        streamdet(folder.path(), &args)
    };
    let together = run("together", &["mixed"]);
    succeeds(&together);
    let sources: Vec<&str> = images.iter().map(String::as_str).chain(bad).collect();
    let alone = run("alone", &sources);
    assert_eq!(alone.status.code(), Some(1), "{}", said(&alone));
    let lines = |name: &str| {
        let lines = std::fs::read_to_string(folder.path().join(name)).expect("lines");
        let mut lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        lines.sort_by_key(|line| line["file"].as_str().map(str::to_owned));
        lines
    };
    let (found, expected) = (lines("together.jsonl"), lines("alone.jsonl"));
    assert_eq!(found.len(), images.len());
    assert!(found.iter().any(|line| line["detections"].as_array().is_some_and(|found| !found.is_empty())), "{found:?}");
    for ((mut ours, theirs), number) in found.into_iter().zip(expected).zip(0u64..) {
        assert_eq!((&ours["frame"], &ours["pts_ns"]), (&number.into(), &(number * 40_000_000).into()));
        for field in ["stream", "frame", "pts_ns"] {
            ours[field] = theirs[field].clone();
        }
        assert_eq!(ours, theirs);
    }
    // As a notice, and as an error.
    let (together, alone) = (said(&together), said(&alone));
    for file in bad {
        let error =
            alone.lines().find_map(|line| line.split_once("error: ").filter(|(_, error)| error.starts_with(file)));
        let (_, error) = error.unwrap_or_else(|| panic!("nothing of {file}: {alone}"));
        assert!(together.contains(&format!("notice: {error};")), "{error}: {together}");
    }
    let report = json(&folder.path().join("together.json"));
    let frames = &report["streams"][0]["frames"];
    let counts = ["received", "processed"].map(|count| frames[count].as_u64());
    assert_eq!(counts, [Some((images.len() + bad.len()) as u64), Some(images.len() as u64)], "{report:#}");
    assert_eq!(
        (frames["dropped"]["corrupt"].as_u64(), &report["accounted"]),
        (Some(3), &Value::Bool(true)),
        "{report:#}"
    );
    let rows = std::fs::read_to_string(folder.path().join("together.csv")).expect("rows");
    assert!(rows.lines().skip(1).all(|row| row.split(',').nth(4).is_some_and(|decode| !decode.is_empty())), "{rows}");
}
