//! Facts as each exporter writes them, and what is made of them.

use super::*;
use crate::model::ModelFile;
use crate::model::facts::TensorFacts;
use crate::tensor::ChannelOrder;

/// A fixed dimension for a number, a dynamic one for a name.
fn tensor(name: &str, element: Element, dims: &[&str]) -> TensorFacts {
    let dim = |text: &&str| text.parse().map_or_else(|_| Dim::Dynamic((*text).into()), Dim::Fixed);
    TensorFacts { name: name.into(), element, dims: dims.iter().map(dim).collect() }
}

fn f32s(name: &str, dims: &[&str]) -> TensorFacts {
    tensor(name, Element::F32, dims)
}

/// A model without metadata, `size` pixels a side.
fn plain(size: &str, outputs: Vec<TensorFacts>) -> OnnxFacts {
    OnnxFacts { inputs: vec![f32s("images", &["1", "3", size, size])], outputs, ..OnnxFacts::default() }
}

/// `facts` with names for `count` classes as Ultralytics writes them, and further metadata.
fn named(mut facts: OnnxFacts, count: usize, metadata: &[(&str, &str)]) -> OnnxFacts {
    let names: Vec<String> = (0..count).map(|id| format!("{id}: 'c{id}'")).collect();
    let names = ("names", format!("{{{}}}", names.join(", ")));
    let more = metadata.iter().map(|(key, value)| (*key, (*value).to_owned()));
    facts.metadata.extend(more.chain([names]).map(|(key, value)| (key.to_owned(), value)));
    facts
}

/// As Ultralytics exports three classes with a dynamic shape.
fn ultralytics() -> OnnxFacts {
    let facts = OnnxFacts {
        inputs: vec![f32s("images", &["batch", "3", "height", "width"])],
        outputs: vec![f32s("output0", &["batch", "7", "anchors"])],
        ..OnnxFacts::default()
    };
    named(facts, 3, &[("task", "detect"), ("stride", "32"), ("imgsz", "[640, 640]")])
}

/// As YOLOX is published: static, no metadata.
fn yolox() -> OnnxFacts {
    let inputs = vec![f32s("images", &["1", "3", "64", "96"])];
    OnnxFacts { inputs, outputs: vec![f32s("output", &["1", "126", "85"])], ..OnnxFacts::default() }
}

fn build_with(facts: &OnnxFacts, card: Option<&str>) -> Result<Model, ModelError> {
    let card = card.map(|text| Card::parse(text, "m.toml").expect("a card"));
    let file = ModelFile::Path("m.onnx".into());
    build(ModelRef { name: "m".into(), file, sha256: String::new(), data: Vec::new(), card }, facts)
}

#[track_caller]
fn recognised(facts: &OnnxFacts) -> Model {
    build_with(facts, None).expect("recognised")
}

/// Refused, naming the file and saying each of `said`.
#[track_caller]
fn refused(facts: &OnnxFacts, said: &[&str]) {
    let text = build_with(facts, None).expect_err("refused").to_string();
    for part in ["m.onnx"].iter().chain(said) {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn ultralytics_exports_are_recognised() {
    let model = recognised(&ultralytics());
    assert_eq!(model.layout, Layout::Yolov8);
    assert_eq!(&*model.classes, ["c0", "c1", "c2"]);
    assert_eq!((model.static_size, model.default_size), (None, Size { width: 640, height: 640 }));
    assert_eq!((model.batch, model.stride), (None, 32));
    assert_eq!(model.input, InputSpec::default());
    assert!(model.notices.is_empty());
    let mut open = ultralytics();
    open.outputs = vec![f32s("output0", &["batch", "channels", "anchors"])];
    assert_eq!(recognised(&open).layout, Layout::Yolov8);
}

#[test]
fn a_transposed_output_without_names_is_recognised_by_its_metadata() {
    let mut facts = ultralytics();
    facts.metadata.remove("names");
    facts.inputs = vec![f32s("images", &["1", "3", "320", "320"])];
    facts.outputs = vec![f32s("output0", &["1", "2100", "7"])];
    let model = recognised(&facts);
    assert_eq!((model.layout, model.classes.len()), (Layout::Yolov8, 3));
    assert_eq!(model.classes[2], "class 2");
}

#[test]
fn yolox_is_recognised_by_its_grid() {
    let model = recognised(&yolox());
    assert_eq!((model.layout, model.classes.len()), (Layout::Yolox, 80));
    assert_eq!(model.static_size, Some(Size { width: 96, height: 64 }));
    assert_eq!((model.batch, model.input.order), (Some(1), ChannelOrder::Bgr));
    assert_eq!(model.input.placement, Placement::Corner);
    assert!((model.input.scale - 1.0).abs() < f32::EPSILON);
    assert_eq!((model.classes[0].as_str(), model.notices.len()), ("person", 1), "COCO's names, and that is said");
}

/// `YOLOv6` has the shape of YOLOX, and other numbers in it. Where the output's name does not tell which, a card has to.
#[test]
fn yolov6_is_not_yolox() {
    let mut facts = yolox();
    facts.outputs = vec![f32s("outputs", &["1", "126", "85"])];
    let model = recognised(&facts);
    assert_eq!((model.layout, model.classes.len()), (Layout::Yolov6, 80));
    assert_eq!(model.input, InputSpec::default());
    facts.outputs = vec![f32s("pred", &["1", "126", "85"])];
    refused(&facts, &["in more than one way", "yolov6 (rows are the grid cells", "yolox (rows are", "layout = "]);
    let card = |layout: &str| format!("file = \"m.onnx\"\nlayout = \"{layout}\"");
    for (name, layout) in [("yolov6", Layout::Yolov6), ("yolox", Layout::Yolox)] {
        assert_eq!(build_with(&facts, Some(&card(name))).expect("a card says it").layout, layout);
    }
}

/// Every layout, in the shapes of 640 × 640 (or as published), with 1, 2, 3, 13, 80 and 365 classes, with names and without:
/// never another layout, never another number of classes.
#[test]
fn no_number_of_classes_is_taken_for_another_layout() {
    let table_as =
        |name: &str, rows: usize, columns: usize| vec![f32s(name, &["1", &rows.to_string(), &columns.to_string()])];
    let table = |rows: usize, columns: usize| table_as("output0", rows, columns);
    for classes in [1usize, 2, 3, 13, 80, 365] {
        let v8 = named(plain("640", table(classes + 4, 8400)), classes, &[("task", "detect"), ("end2end", "False")]);
        let cases = [
            (Layout::Yolov8, v8),
            (Layout::Yolov8, plain("640", table(classes + 4, 8400))),
            (Layout::Yolov8, plain("640", table(classes + 4, 34_000))),
            (Layout::Yolov8, named(plain("640", table(8400, classes + 4)), classes, &[("stride", "32")])),
            (Layout::Yolov5, plain("640", table(25_200, classes + 5))),
            (Layout::Yolov5, named(plain("640", table(25_200, classes + 5)), classes, &[("stride", "32")])),
            (Layout::Yolov5, plain("1280", table(102_000, classes + 5))),
            (Layout::Yolox, plain("640", table_as("output", 8400, classes + 5))),
            (Layout::Yolov6, plain("640", table_as("outputs", 8400, classes + 5))),
            (Layout::NanodetPlus, plain("416", table(3598, classes + 32))),
            (Layout::NanodetPlus, plain("320", table(2125, classes + 32))),
            (Layout::Fastestdet, plain("352", table(484, classes + 5))),
        ];
        for (layout, facts) in cases {
            let model = build_with(&facts, None).unwrap_or_else(|e| panic!("{layout:?}, {classes} classes: {e}"));
            assert_eq!((model.layout, model.classes.len()), (layout, classes), "{}", model.layout_reason);
        }
        let chosen = named(plain("640", table(300, 6)), classes, &[("task", "detect"), ("end2end", "True")]);
        assert_eq!(recognised(&chosen).layout, Layout::End2end);
        let queries = named(plain("640", table(300, classes + 4)), classes, &[("stride", "32"), ("end2end", "False")]);
        assert_eq!(recognised(&queries).layout, Layout::Detr);
        let levels = |strides: &[usize]| {
            let output = |columns: usize| {
                move |stride: &usize| f32s("o", &["1", &(320 / stride).pow(2).to_string(), &columns.to_string()])
            };
            strides.iter().map(output(classes)).chain(strides.iter().map(output(32))).collect()
        };
        for (layout, strides) in [(Layout::Nanodet, [8, 16, 32].as_slice()), (Layout::Picodet, &[8, 16, 32, 64])] {
            let model = recognised(&plain("320", levels(strides)));
            assert_eq!((model.layout, model.classes.len()), (layout, classes), "{}", model.layout_reason);
        }
    }
}

#[test]
fn boxes_that_come_out_chosen_are_recognised_without_metadata() {
    let model = recognised(&plain("640", vec![f32s("output0", &["1", "300", "6"])]));
    assert_eq!((model.layout, model.classes.len()), (Layout::End2end, 80));
    let nms = named(ultralytics(), 3, &[("args", "{'batch': 1, 'nms': True}"), ("end2end", "False")]);
    let outputs = vec![f32s("output0", &["batch", "300", "6"])];
    assert_eq!(recognised(&OnnxFacts { outputs, ..nms }).layout, Layout::End2end);
}

#[test]
fn two_readings_are_refused_with_both() {
    // 300 rows of 6: boxes that are left, or FastestDet's 20 × 15 cells of stride 16 with one class.
    let inputs = vec![f32s("images", &["1", "3", "240", "320"])];
    let facts = OnnxFacts { inputs, ..plain("320", vec![f32s("o", &["1", "300", "6"])]) };
    refused(&facts, &["more than one way", "end2end", "fastestdet", "write a card m.toml", "layout ="]);
    let told = build_with(&facts, Some("file = \"m.onnx\"\nlayout = \"fastestdet\"")).expect("told");
    assert_eq!((told.layout, told.classes.len()), (Layout::Fastestdet, 1));
}

#[test]
fn what_is_beside_the_boxes_is_said_and_passed_over() {
    let masks = || f32s("output1", &["1", "32", "160", "160"]);
    let cases = [
        (Layout::Yolov8, "segment", vec![f32s("output0", &["1", "39", "8400"]), masks()], "masks"),
        (Layout::End2end, "segment", vec![f32s("output0", &["1", "300", "38"]), masks()], "masks"),
        (Layout::Yolov5, "segment", vec![f32s("output0", &["1", "25200", "40"]), masks()], "masks"),
        (Layout::Yolov8, "pose", vec![f32s("output0", &["1", "58", "8400"])], "keypoints"),
        (Layout::End2end, "pose", vec![f32s("output0", &["1", "300", "57"])], "keypoints"),
        (Layout::Yolov8Obb, "obb", vec![f32s("output0", &["1", "8", "8400"])], "angles"),
        (Layout::End2endObb, "obb", vec![f32s("output0", &["1", "300", "7"])], "angles"),
    ];
    for (layout, task, outputs, ignored) in cases {
        let end2end = if matches!(layout, Layout::End2end | Layout::End2endObb) { "True" } else { "False" };
        let metadata = [("task", task), ("stride", "32"), ("end2end", end2end), ("kpt_shape", "[17, 3]")];
        let model = recognised(&named(plain("640", outputs), 3, &metadata));
        assert_eq!((model.layout, model.classes.len()), (layout, 3), "{task}");
        assert!(model.notices.iter().any(|n| n.contains(ignored)), "{task}: {:?}", model.notices);
    }
}

#[test]
fn outputs_told_by_their_names() {
    let names = |prefix: &str, classes: Element| {
        vec![
            tensor(&format!("{prefix}_boxes"), Element::F32, &["B", "100", "4"]),
            tensor(&format!("{prefix}_classes"), classes, &["B", "100"]),
            tensor(&format!("{prefix}_scores"), Element::F32, &["B", "100"]),
            tensor(&format!("num_{prefix}s"), Element::F32, &["B"]),
        ]
    };
    let ssd = OnnxFacts {
        inputs: vec![tensor("image_tensor:0", Element::U8, &["N", "h", "w", "3"])],
        outputs: names("detection", Element::F32),
        ..OnnxFacts::default()
    };
    let model = recognised(&ssd);
    assert_eq!((model.layout, model.classes.len(), model.stride), (Layout::Ssd, 90, 1));
    assert!(model.port.channels_last && model.port.element == InputElement::U8);
    // The frame's aspect is kept, without padding.
    let size = model.tensor_size(Size { width: 1920, height: 1080 }, Size { width: 640, height: 640 });
    assert_eq!(size, Size { width: 640, height: 360 });

    let model = recognised(&plain("640", names("det", Element::I32)));
    assert_eq!((model.layout, model.input), (Layout::EfficientNms, InputSpec::default()));

    let squeezed = OnnxFacts {
        inputs: vec![
            f32s("images", &["batch", "3", "320", "320"]),
            tensor("orig_target_sizes", Element::I64, &["batch", "2"]),
        ],
        outputs: vec![tensor("labels", Element::I64, &["k"]), f32s("boxes", &["k", "4"]), f32s("scores", &["k"])],
        ..OnnxFacts::default()
    };
    let model = recognised(&squeezed);
    assert_eq!((model.layout, model.batch), (Layout::Detr, Some(1)), "no batch dimension: one frame a run");
    assert_eq!(model.port.target_sizes.as_deref(), Some("orig_target_sizes"));
    assert_eq!(model.input.placement, Placement::Stretch);
}

#[test]
fn images_that_are_stretched_fill_an_open_input() {
    let mut facts = ultralytics();
    facts.outputs = vec![f32s("output0", &["batch", "300", "7"])];
    let model = recognised(&facts);
    assert_eq!(model.layout, Layout::Detr, "as many rows whatever the input's size");
    let size = Size { width: 640, height: 640 };
    assert_eq!(model.tensor_size(Size { width: 1920, height: 1080 }, size), size);
}

#[test]
fn a_card_is_believed() {
    let card = "file = \"m.onnx\"\nlayout = \"yolox\"\norder = \"rgb\"\nclasses = [\"a\", \"b\"]\nconf = 0.5";
    let mut facts = yolox();
    facts.outputs = vec![f32s("output", &["1", "126", "7"])];
    let model = build_with(&facts, Some(card)).expect("recognised");
    assert_eq!((model.layout, model.input.order), (Layout::Yolox, ChannelOrder::Rgb));
    assert_eq!(&*model.classes, ["a", "b"]);
    assert!((model.conf - 0.5).abs() < f32::EPSILON);
    let stretched = build_with(&facts, Some("file = \"m.onnx\"\nplacement = \"stretch\"")).expect("recognised");
    assert_eq!(stretched.input.placement, Placement::Stretch);
}

#[test]
fn a_card_that_does_not_fit_is_refused_with_the_shape() {
    let card = "file = \"m.onnx\"\nlayout = \"nanodet\"";
    let text = build_with(&yolox(), Some(card)).expect_err("refused").to_string();
    assert!(text.contains("layout nanodet") && text.contains("3 outputs [B,N,C]"), "{text}");
}

#[test]
fn another_task_is_refused() {
    let mut facts = ultralytics();
    facts.metadata.insert("task".into(), "classify".into());
    refused(&facts, &["classify", "detection model"]);
}

#[test]
fn inputs_that_are_not_understood_are_refused() {
    let mut facts = ultralytics();
    facts.inputs.push(tensor("sizes", Element::F32, &["batch", "2"]));
    refused(&facts, &["one input", "images F32 [batch,3,height,width]", "sizes F32 [batch,2]"]);
    for (element, dims) in [
        (Element::F32, vec!["1", "3", "640"]),
        (Element::F32, vec!["1", "4", "640", "640"]),
        (Element::Other("Float64".into()), vec!["1", "3", "640", "640"]),
        (Element::F32, vec!["1", "3", "0", "640"]),
        (Element::F32, vec!["1", "3", "640", "1000000000"]),
        (Element::F32, vec!["1000000000", "3", "640", "640"]),
        (Element::F32, vec!["64", "3", "8192", "8192"]),
    ] {
        facts.inputs = vec![tensor("images", element, &dims)];
        refused(&facts, &["expected", &dims.join(",")]);
    }
}

#[test]
fn outputs_that_are_not_understood_are_refused_with_what_was_seen() {
    for dims in [vec!["1", "300", "5"], vec!["1", "1000"], vec!["1", "125", "85"], vec!["1", "3", "80", "80", "85"]] {
        let mut facts = yolox();
        facts.outputs = vec![f32s("scores", &dims)];
        refused(&facts, &["not a layout", &format!("scores F32 [{}]", dims.join(",")), "write a card", "yolov8"]);
    }
    let mut facts = ultralytics();
    facts.outputs.push(f32s("output1", &["batch", "32"]));
    refused(&facts, &["output0 F32 [batch,7,anchors], output1 F32 [batch,32]", "card"]);
}

#[test]
fn names_that_do_not_fit_are_refused() {
    let mut facts = ultralytics();
    facts.outputs = vec![f32s("output0", &["1", "84", "8400"])];
    refused(&facts, &["3 class names", "80 classes", "[1,84,8400]", "yolov8"]);
}

#[test]
fn an_unknown_number_of_classes_is_refused() {
    let mut facts = ultralytics();
    facts.metadata.remove("names");
    facts.outputs = vec![f32s("output0", &["batch", "channels", "anchors"])];
    refused(&facts, &["not a layout that is known", "[batch,channels,anchors]"]);
}

#[test]
fn hostile_facts_are_refused() {
    let with = |key: &str, value: &str| {
        let mut facts = ultralytics();
        facts.metadata.insert(key.into(), value.into());
        facts
    };
    refused(&with("names", "['a', 'b\u{1b}]0;x\u{7}', 'c']"), &["control character", "class 1", "classes ="]);
    refused(&with("names", "{0: 'a', 999999999: 'b'}"), &["999999999"]);
    refused(&with("stride", "1000000000"), &["stride = 1000000000", "1 to 256"]);
    refused(&with("stride", "-32"), &["stride = -32"]);
    refused(&with("imgsz", "[1000000000, 1000000000]"), &["imgsz", "8192"]);
    refused(&with("imgsz", "[-640, -640]"), &["imgsz = [-640, -640]"]);
    let told = build_with(&with("stride", "-32"), Some("file = \"m.onnx\"\nstride = 64"));
    assert_eq!(told.expect("a card overrules it").stride, 64);
    // What is no number says nothing.
    assert_eq!(recognised(&with("stride", "[8, 16, 32]")).stride, 32);
    assert_eq!(recognised(&with("imgsz", "any")).default_size, USUAL_SIZE);
    for (element, dims, said) in [
        (Element::F32, vec!["1", "1000000004", "10"], "2^28"),
        (Element::F32, vec!["1", "20000", "8400"], "at most 10000"),
        (Element::F32, vec!["1", "84", "0"], "dimension of 0"),
        (Element::Other("String".into()), vec!["1", "84", "8400"], "not all tensors of numbers"),
    ] {
        refused(&plain("640", vec![tensor("o\u{1b}", element, &dims)]), &[said]);
    }
    refused(&plain("640", Vec::new()), &["no outputs"]);
    let many = (0..1000).map(|n| f32s(&format!("o{n}"), &["1", "3"])).collect();
    let text = build_with(&plain("640", many), None).expect_err("refused").to_string();
    assert!(text.contains("and 988 more") && text.len() < 2000, "{text}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
}
