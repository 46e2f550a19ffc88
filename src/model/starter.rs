//! A starter card: what a file says of itself, written down for a person to check and complete.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Model, ModelFile, ModelRef};
use crate::tensor::InputSpec;
use crate::text::{append, printable};

/// Columns of a card's lists.
const WIDTH: usize = 110;

/// The text of a starter card for the file of `reference`. `model` is what was recognised; without it, the layout is left
/// as a blank that the parser refuses. `stated_licence` is what the file's metadata says.
#[must_use]
pub fn card(
    reference: &ModelRef,
    size_bytes: u64,
    model: Result<&Model, &str>,
    stated_licence: Option<&str>,
) -> String {
    let file = match reference.file() {
        ModelFile::Path(path) => path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        ModelFile::Embedded(_) => format!("{}.onnx", reference.name()),
    };
    let mut text = format!(
        "# Starter card, written by `streamdet model inspect --card`. It lies beside the model, or in a folder of models.\n\
         # Check what stands under CHECK; a key that is left out is taken from the file or the layout.\n\n\
         file = {}\nsha256 = \"{}\"\nsize_bytes = {size_bytes}\n\n\
         # CHECK: licence of the weights: an SPDX id such as \"Apache-2.0\", or \"non-commercial\".\n",
        quoted(&printable(&file)),
        reference.sha256()
    );
    if let Some(licence) = stated_licence {
        append(&mut text, format_args!("# The file's metadata says: {}\n", printable(licence)));
    }
    text.push_str(
        "# licence = \"\"\n# Its page, and a link for `streamdet model fetch`.\n# source = \"https://\"\n# url = \"https://\"\n\n",
    );
    match model {
        Ok(model) => recognised(&mut text, model),
        Err(problem) => {
            for line in problem.lines() {
                append(&mut text, format_args!("# {}\n", printable(line.trim())));
            }
            text.push_str(
                "# CHECK: the layout of its outputs; `streamdet model inspect` prints their shapes.\n\
                 layout = \"?\"\n\n\
                 # CHECK: the input as the model was trained: order \"rgb\" or \"bgr\", values up to 1.0 or 255.0,\n\
                 # placement \"centre\", \"corner\" or \"stretch\".\n\
                 # order = \"rgb\"\n# value_max = 1.0\n# mean = [0.0, 0.0, 0.0]\n# std = [1.0, 1.0, 1.0]\n\
                 # placement = \"centre\"\n# imgsz = 640\n\n\
                 # CHECK: class names in order of their ids.\n# classes = []\n",
            );
        }
    }
    for data in reference.data() {
        append(
            &mut text,
            format_args!(
                "\n[[data]]\nfile = {}\nsha256 = \"{}\"\nsize_bytes = {}\n# url = \"https://\"\n",
                quoted(&printable(&data.location)),
                data.sha256,
                data.bytes
            ),
        );
    }
    text
}

/// Why a starter card cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum StarterError {
    /// A card is there.
    #[error("{} exists\n  --overwrite replaces it, --card PATH chooses another name", .0.display())]
    Exists(PathBuf),
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Write {
        /// The card.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Where the card of `reference` goes when nothing else is said: beside the model, `NAME.toml`.
#[must_use]
pub fn usual_path(reference: &ModelRef) -> PathBuf {
    match reference.file() {
        ModelFile::Path(model) => model.with_extension("toml"),
        ModelFile::Embedded(_) => PathBuf::from(format!("{}.toml", reference.name())),
    }
}

/// Writes a card.
///
/// # Errors
/// When there is one and `overwrite` is not set, or the system refuses.
pub fn write(path: &Path, card: &str, overwrite: bool) -> Result<(), StarterError> {
    let mut options = std::fs::OpenOptions::new();
    let options = if overwrite { options.create(true).truncate(true) } else { options.create_new(true) };
    let written = options.write(true).open(path).and_then(|mut file| file.write_all(card.as_bytes()));
    written.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => StarterError::Exists(path.to_owned()),
        _ => StarterError::Write { path: path.to_owned(), source },
    })
}

fn recognised(text: &mut String, model: &Model) {
    let InputSpec { order, mean, std, placement, .. } = model.input;
    let (order, placement) = (super::card_word(order), super::card_word(placement));
    let value_max = model.input.value_max();
    let layout = model.layout.name();
    append(
        text,
        format_args!(
            "# Recognised: {}\nlayout = {}\n\n\
         # CHECK: the input as the model was trained.\norder = \"{order}\"\nvalue_max = {value_max:?}\n",
            printable(&model.layout_reason),
            quoted(layout)
        ),
    );
    if model.input.normalises() {
        append(text, format_args!("mean = {mean:?}\nstd = {std:?}\n"));
    }
    let size = model.default_size;
    append(
        text,
        format_args!(
            "placement = \"{placement}\"\nimgsz = {}\nstride = {}\n\n# CHECK: class names in order of their ids.\n",
            size.width.max(size.height),
            model.stride
        ),
    );
    text.push_str("classes = [");
    let mut column = "classes = [".len();
    for (i, class) in model.classes.iter().enumerate() {
        let class = quoted(class);
        let separator = if i == 0 { "" } else { "," };
        if column + class.chars().count() + 2 > WIDTH {
            append(text, format_args!("{separator}\n    {class}"));
            column = 4 + class.chars().count();
        } else {
            let space = if i == 0 { "" } else { " " };
            append(text, format_args!("{separator}{space}{class}"));
            column += class.chars().count() + 2;
        }
    }
    append(text, format_args!("]\n\nconf = {:?}\niou = {:?}\n", model.conf, model.iou));
}

/// `text` as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::facts::{Dim, Element, OnnxFacts, TensorFacts};
    use crate::model::{Card, recognise};

    fn facts(output: &[usize], metadata: &[(&str, &str)]) -> OnnxFacts {
        let tensor = |name: &str, dims: &[usize]| TensorFacts {
            name: name.into(),
            element: Element::F32,
            dims: dims.iter().map(|n| Dim::Fixed(*n)).collect(),
        };
        OnnxFacts {
            inputs: vec![tensor("images", &[1, 3, 64, 96])],
            outputs: vec![tensor("output", output)],
            metadata: metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
        }
    }

    fn reference(card: Option<Card>) -> ModelRef {
        let file = ModelFile::Path("some folder/my \"own\" model.onnx".into());
        ModelRef { name: "m".into(), file, sha256: "a".repeat(64), data: Vec::new(), card }
    }

    #[test]
    fn a_starter_card_says_again_what_was_recognised() {
        let names = "{0: 'a \"quoted\" name', 1: 'back\\\\slash', 2: '🚗', 3: '# no comment'}";
        for facts in [facts(&[1, 126, 85], &[]), facts(&[1, 8, 126], &[("names", names), ("stride", "16")])] {
            let model = recognise::build(reference(None), &facts).expect("recognised");
            let text = card(&reference(None), 12, Ok(&model), Some("mine\nlayout = \"no\""));
            let read = Card::parse(&text, "m.toml").unwrap_or_else(|e| panic!("{e}\n{text}"));
            assert_eq!((read.file.as_str(), read.size_bytes), ("my \"own\" model.onnx", Some(12)));
            assert_eq!((read.sha256.as_deref(), read.licence.as_ref()), (Some("a".repeat(64).as_str()), None));
            assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
            let again = recognise::build(reference(Some(read)), &facts).expect("recognised");
            assert_eq!(again.layout_reason, "its card says so");
            assert_eq!((again.layout, again.input, again.stride), (model.layout, model.input, model.stride));
            assert_eq!((again.classes, again.default_size), (model.classes, model.default_size));
            assert_eq!((again.conf.to_bits(), again.iou.to_bits()), (model.conf.to_bits(), model.iou.to_bits()));
        }
    }

    #[test]
    fn a_starter_card_without_a_layout_is_refused_until_it_is_filled_in() {
        let text = card(&reference(None), 12, Err("unknown\n  layout \u{1b}[31m"), None);
        let error = Card::parse(&text, "m.toml").expect_err("a blank").to_string();
        assert!(error.contains("fill in") && error.contains("layout = \"?\"") && error.contains("yolov8"), "{error}");
        Card::parse(&text.replace("\"?\"", "\"yolov8\""), "m.toml").expect("filled in");
    }
}
