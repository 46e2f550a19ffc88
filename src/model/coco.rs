//! COCO's classes: what most models without names were trained on.

/// The 80 classes in order of their ids.
const NAMES: [&str; 80] = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
];

/// Numbers from 1 to 90 that COCO's original numbering leaves out.
const LEFT_OUT: [usize; 10] = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83];

/// The 80 names.
pub(super) fn names() -> Vec<String> {
    NAMES.map(str::to_owned).into()
}

/// The 90 names of the original numbering (its 1 is the first), which `TensorFlow`'s models count in.
pub(super) fn original_names() -> Vec<String> {
    let mut names = NAMES.into_iter();
    (1..=90)
        .filter_map(
            |n| if LEFT_OUT.contains(&n) { Some(format!("class {n}")) } else { names.next().map(str::to_owned) },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_numbering_ends_with_the_toothbrush() {
        let names = original_names();
        assert_eq!(names.len(), 90);
        assert_eq!((names[0].as_str(), names[12].as_str(), names[89].as_str()), ("person", "stop sign", "toothbrush"));
    }
}
