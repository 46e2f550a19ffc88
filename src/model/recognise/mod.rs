//! Which layout a model has, from its metadata, its shapes and its card; and what is refused, with what was seen.

mod input;
mod rules;
mod signature;
#[cfg(test)]
mod tests;

use super::card::Card;
use super::facts::{Dim, Element, OnnxFacts};
use super::layout::Layout;
use super::{Model, ModelError, ModelRef, coco, names};
use crate::geometry::{Placement, Size};
use crate::tensor::{InputElement, InputSpec};

use input::Input;
use rules::{Fit, RULES};
use signature::{Signature, describe_all};

/// Sides of an input that leaves them open.
const USUAL_SIZE: Size = Size { width: 640, height: 640 };

pub(super) fn build(reference: ModelRef, facts: &OnnxFacts) -> Result<Model, ModelError> {
    let model = reference.file.label();
    let refuse = |problem: String, remedy: String| ModelError::Unsupported { model: model.clone(), problem, remedy };
    let card = reference.card.as_ref();
    let Input { port, batch, size } = input::read(facts)
        .map_err(|problem| refuse(problem, "export a detector whose one input is a batch of frames".into()))?;
    check_outputs(facts).map_err(|problem| refuse(problem, "give a detection model".into()))?;
    let task = facts.metadata.get("task").map(String::as_str);
    if let Some(task) = task.filter(|t| !["detect", "segment", "pose", "obb"].contains(t)) {
        return Err(refuse(format!("its task is {task:?}"), "give a detection model (task \"detect\")".into()));
    }
    let (stride, stated_size) = stated_numbers(facts, card).map_err(|problem| {
        refuse(problem, format!("correct the metadata, or state it in a card {}", card_name(&reference)))
    })?;
    let stated = match (card.and_then(|c| c.classes.clone()), facts.metadata.get("names")) {
        (Some(names), _) => Some(names),
        (None, Some(text)) => Some(names::parse(text).map_err(|problem| {
            refuse(
                format!("its metadata's class names cannot be used: {problem}"),
                format!("name the classes in a card {}: classes = [\"…\"]", card_name(&reference)),
            )
        })?),
        (None, None) => None,
    };
    let told = card.and_then(|c| c.layout);
    let seen = Signature {
        outputs: &facts.outputs,
        metadata: &facts.metadata,
        size,
        names: stated.as_ref().map(Vec::len),
        target_sizes: port.target_sizes.is_some(),
        told: told.is_some(),
    };
    let fit = find(&seen, told).map_err(|problem| refuse(problem, card_help(&reference)))?;
    let mut notices = Vec::new();
    let classes = class_names(stated, &fit, &mut notices).map_err(|problem| refuse(problem, card_help(&reference)))?;
    if let Some(ignored) = fit.ignored {
        notices.push(format!("the model also gives {ignored}: only upright boxes are used"));
    }
    let layout = fit.layout;
    let mut spec = layout.input_spec();
    if port.element == InputElement::U8 {
        // Bytes are levels; whatever is done with them is inside the model.
        spec = InputSpec { scale: 1.0, mean: [0.0; 3], std: [1.0; 3], ..spec };
    }
    if layout == Layout::Ssd && size.is_none() {
        // The model scales by itself: the frame's aspect is best kept, and there is nothing to pad.
        spec.placement = Placement::Centre;
    }
    if let Some(card) = card {
        spec.order = card.order.unwrap_or(spec.order);
        spec.scale = card.value_max.map_or(spec.scale, |max| max / 255.0);
        spec.mean = card.mean.unwrap_or(spec.mean);
        spec.std = card.std.unwrap_or(spec.std);
        spec.placement = card.placement.unwrap_or(spec.placement);
    }
    let own_stride = if layout == Layout::Ssd { 1 } else { 32 };
    Ok(Model {
        input: spec,
        port,
        batch: if fit.one_frame { Some(1) } else { batch },
        static_size: size,
        default_size: size
            .or_else(|| card.and_then(|c| c.imgsz).map(|n| Size { width: n, height: n }))
            .or(stated_size)
            .unwrap_or(USUAL_SIZE),
        stride: card.and_then(|c| c.stride).or(stride).unwrap_or(own_stride),
        layout,
        layout_reason: if told.is_some() { "its card says so".into() } else { fit.why },
        notices,
        classes: classes.into(),
        conf: card.and_then(|c| c.conf).unwrap_or(0.25),
        iou: card.and_then(|c| c.iou).unwrap_or(0.7),
        sha256: reference.whole_sha256(),
        name: reference.name,
        file: reference.file,
    })
}

/// The one layout that fits: of all, or the card's. The error says what was seen.
fn find(seen: &Signature<'_>, told: Option<Layout>) -> Result<Fit, String> {
    let outputs = describe_all(seen.outputs);
    if let Some(layout) = told {
        let rule = RULES.iter().find(|rule| rule.layout == layout);
        let fit = rule.and_then(|rule| (rule.fit)(seen));
        let shape = rule.map_or("", |rule| rule.shape);
        return fit.ok_or_else(|| match refits(seen, &[layout]) {
            Some(mismatch) => mismatch,
            None => format!("its outputs ({outputs}) are not those of layout {}, {shape}", layout.name()),
        });
    }
    let mut fits: Vec<Fit> = RULES.iter().filter_map(|rule| (rule.fit)(seen)).collect();
    match (fits.pop(), fits.as_slice()) {
        (Some(one), []) => Ok(one),
        (Some(last), _) => {
            fits.push(last);
            let readings: Vec<String> = fits.iter().map(|f| format!("{} ({})", f.layout.name(), f.why)).collect();
            Err(format!("its outputs ({outputs}) can be read in more than one way: {}", readings.join("; or ")))
        }
        (None, _) => Err(refits(seen, &RULES.each_ref().map(|rule| rule.layout))
            .unwrap_or_else(|| format!("its outputs ({outputs}) are not a layout that is known"))),
    }
}

/// Whether the outputs would fit, were it not for the number of names.
fn refits(seen: &Signature<'_>, layouts: &[Layout]) -> Option<String> {
    let named = seen.names?;
    let unnamed = Signature { names: None, ..*seen };
    let fit = RULES.iter().filter(|rule| layouts.contains(&rule.layout)).find_map(|rule| (rule.fit)(&unnamed))?;
    let found = fit.classes.filter(|found| *found != named)?;
    Some(format!(
        "{named} class names do not fit its outputs ({}), which have {found} classes if the layout is {}",
        describe_all(seen.outputs),
        fit.layout.name()
    ))
}

/// The names stated, or what stands for them.
fn class_names(stated: Option<Vec<String>>, fit: &Fit, notices: &mut Vec<String>) -> Result<Vec<String>, String> {
    const COCO: usize = 80;
    match (stated, fit.classes) {
        (Some(names), _) => Ok(names),
        (None, Some(count)) if count > names::MAX_CLASSES => {
            Err(format!("its outputs have {count} classes, at most {} are taken", names::MAX_CLASSES))
        }
        (None, Some(count)) if count != COCO => Ok((0..count).map(|id| format!("class {id}")).collect()),
        (None, _) => {
            let names = if fit.layout == Layout::Ssd { coco::original_names() } else { coco::names() };
            notices.push(format!(
                "the model does not name its classes: COCO's {COCO} are assumed; a card can name others"
            ));
            Ok(names)
        }
    }
}

/// There are outputs, of numbers, none of them empty.
fn check_outputs(facts: &OnnxFacts) -> Result<(), String> {
    let numbers = |e: &Element| matches!(e, Element::F32 | Element::F16 | Element::U8 | Element::I32 | Element::I64);
    let empty = |dims: &[Dim]| dims.iter().any(|d| d.fixed() == Some(0));
    let seen = || describe_all(&facts.outputs);
    if facts.outputs.is_empty() {
        return Err("it has no outputs".into());
    }
    if facts.outputs.iter().any(|o| !numbers(&o.element)) {
        return Err(format!("its outputs ({}) are not all tensors of numbers", seen()));
    }
    if facts.outputs.iter().any(|o| empty(&o.dims)) {
        return Err(format!("its outputs ({}) have a dimension of 0", seen()));
    }
    let elements = |dims: &[Dim]| dims.iter().filter_map(Dim::fixed).try_fold(1usize, usize::checked_mul);
    if facts.outputs.iter().any(|o| elements(&o.dims).is_none_or(|n| n > 1 << 28)) {
        return Err(format!("its outputs ({}) have more than 2^28 elements", seen()));
    }
    Ok(())
}

/// `stride` and `imgsz` of the metadata, where no card overrules them. What is no number says nothing; a number that cannot be is refused.
fn stated_numbers(facts: &OnnxFacts, card: Option<&Card>) -> Result<(Option<u32>, Option<Size>), String> {
    let numbers = |key: &str, overruled: bool| -> Option<Vec<f64>> {
        let text = facts.metadata.get(key).filter(|_| !overruled)?.trim_matches(['[', ']', '(', ')', ' ']);
        text.split(',').take(3).map(|n| n.trim().parse().ok()).collect()
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked against the limits first")]
    let whole = |n: f64, most: f64| (n.fract() == 0.0 && (1.0..=most).contains(&n)).then_some(n as u32);
    let stride = match numbers("stride", card.is_some_and(|c| c.stride.is_some())).as_deref() {
        Some([n]) => {
            Some(whole(*n, 256.0).ok_or_else(|| format!("its metadata says stride = {n}, expected 1 to 256"))?)
        }
        _ => None,
    };
    let size = match numbers("imgsz", card.is_some_and(|c| c.imgsz.is_some())).as_deref() {
        Some([n]) => Some((*n, *n)),
        Some([height, width]) => Some((*height, *width)),
        _ => None,
    };
    let size = match size {
        Some((h, w)) => {
            let size = whole(w, 8192.0).zip(whole(h, 8192.0)).map(|(width, height)| Size { width, height });
            Some(size.ok_or_else(|| format!("its metadata says imgsz = [{h}, {w}], expected 1 to 8192 each"))?)
        }
        None => None,
    };
    Ok((stride, size))
}

fn card_name(reference: &ModelRef) -> String {
    format!("{}.toml beside the model", reference.name)
}

fn card_help(reference: &ModelRef) -> String {
    let layouts: Vec<&str> = RULES.iter().map(|rule| rule.layout.name()).collect();
    let name = &reference.name;
    format!(
        "write a card {}: file = \"{name}.onnx\", layout = \"…\", classes = [\"…\"]\n  layouts: {}",
        card_name(reference),
        layouts.join(", ")
    )
}
