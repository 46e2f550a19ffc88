//! One page that needs nothing else: figures, curves, the confusion matrix, and the worst images with what is there
//! beside what was found.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::charts::{confusion_matrix, over_confidence, precision_recall};
use super::confusion::{Fate, Pairing, pair};
use super::curves::Point;
use super::dataset::{Dataset, Image, Summary};
use super::evaluate::Figures;
use super::predictions::Found;
use super::scores::Scores;
use super::{LabelBox, Scored};
use crate::report::plot::{escaped, to_svg};
use crate::report::sheet;
use crate::text::{append, counted, grouped};

const STYLE: &str = include_str!("page.css");
/// Boxes up to which every one carries its class's name.
const NAMED: usize = 30;

/// What the page says beside the figures.
pub struct About<'a> {
    /// Name of the model, or of the file of results.
    pub model: String,
    /// Where and how it ran, how fast; one line.
    pub run: String,
    /// Milliseconds an image, where a model ran.
    pub ms: Option<f64>,
    /// How it came about.
    pub command: String,
    /// The dataset in figures.
    pub summary: &'a Summary,
    /// How many images are shown.
    pub samples: usize,
}

/// Writes the page. `thumbnail` gives an image of the dataset as JPEG, as large as it should be on the page.
#[must_use]
pub fn page(
    dataset: &Dataset,
    scores: &Scores,
    found: &Found,
    about: &About,
    thumbnail: &dyn Fn(&Image) -> Option<Vec<u8>>,
) -> String {
    let mut out = String::new();
    let title = format!("{} on {}", about.model, dataset.name);
    sheet::begin(&mut out, &title, STYLE);
    head(&mut out, dataset, scores, about);
    by_class(&mut out, dataset, scores);
    by_size(&mut out, scores, about.summary);
    charts(&mut out, dataset, scores);
    findings(&mut out, dataset);
    samples(&mut out, dataset, scores, found, about.samples, thumbnail);
    sheet::end(&mut out, &about.command);
    out
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |v| format!("{v:.3}"))
}

fn head(out: &mut String, dataset: &Dataset, scores: &Scores, about: &About) {
    let (objects, images) = scores.totals();
    append(
        out,
        format_args!(
            "<h1>{}</h1><p class=\"sub\">{} ({}) · {} · {}{}{}</p><div class=\"tiles\">",
            escaped(&about.model),
            escaped(&dataset.name),
            dataset.kind.name(),
            counted(images as u64, "image"),
            counted(objects as u64, "object"),
            if about.run.is_empty() { "" } else { " · " },
            escaped(&about.run)
        ),
    );
    let Figures { map50_95, map50, map75, .. } = scores.evaluation.overall;
    let Point { precision, recall, f1 } = scores.curves.best;
    let mut tiles = vec![
        (figure(map50_95), "mAP50-95".to_owned()),
        (figure(map50), "mAP50".into()),
        (figure(map75), "mAP75".into()),
        (figure(Some(precision)), "precision".into()),
        (figure(Some(recall)), "recall".into()),
        (figure(Some(f1)), format!("best F1, at {:.3}", scores.curves.best_confidence)),
    ];
    tiles.extend(about.ms.map(|ms| (format!("{ms:.1} ms"), "an image".to_owned())));
    for (n, (value, label)) in tiles.iter().enumerate() {
        let lead = if n == 0 { " lead" } else { "" };
        append(out, format_args!("<div class=\"tile{lead}\"><b>{value}</b><span>{label}</span></div>"));
    }
    out.push_str("</div>\n");
}

fn by_class(out: &mut String, dataset: &Dataset, scores: &Scores) {
    out.push_str(
        "<h2>By class</h2><div class=\"scroll\"><table><tr><th>class</th><th>images</th><th>objects</th><th>P</th>\
         <th>R</th><th>F1</th><th>mAP50</th><th>mAP75</th><th>mAP50-95</th><th></th></tr>\n",
    );
    let mut row = |class: &str, name: &str, [images, objects]: [usize; 2], at: Point, f: Figures| {
        let share = f.map50_95.unwrap_or(0.0) * 100.0;
        append(
            out,
            format_args!(
                "<tr{class}><td>{}</td><td>{}</td><td>{}</td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td class=\"bar\"><i style=\"width:{share:.1}%\"></i></td></tr>\n",
                escaped(name),
                grouped(images as u64),
                grouped(objects as u64),
                at.precision,
                at.recall,
                at.f1,
                figure(f.map50),
                figure(f.map75),
                figure(f.map50_95)
            ),
        );
    };
    let (objects, images) = scores.totals();
    row(" class=\"all\"", "all", [images, objects], scores.curves.best, scores.evaluation.overall);
    let classes = dataset.classes.iter().zip(&scores.evaluation.classes).zip(&scores.curves.at_best);
    for ((class, result), at_best) in classes {
        if let Some(at_best) = at_best {
            row("", &class.name, [result.images, result.truths], *at_best, result.figures);
        }
    }
    append(
        out,
        format_args!(
            "</table></div><p class=\"note\">P, R and F1 at IoU 0.5 and confidence {:.3}, where the mean F1 is best. \
         The rest as the COCO evaluator has it, up to {} boxes an image and class.</p>\n",
            scores.curves.best_confidence, scores.max_dets[2]
        ),
    );
}

fn by_size(out: &mut String, scores: &Scores, summary: &Summary) {
    let f = scores.evaluation.overall;
    out.push_str(
        "<h2>By size</h2><div class=\"scroll\"><table><tr><th>objects</th><th>labelled</th><th>recall</th>\
         <th>mAP50-95</th><th></th></tr>\n",
    );
    let [small, medium, large] = summary.by_size;
    let rows = [
        ("small, below 32² px", small, f.ar_small, f.map_small),
        ("medium", medium, f.ar_medium, f.map_medium),
        ("large, from 96² px", large, f.ar_large, f.map_large),
    ];
    for (name, count, recall, map) in rows {
        append(
            out,
            format_args!(
                "<tr><td>{name}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"bar\"><i style=\"width:{:.1}%\"></i></td></tr>\n",
                grouped(count as u64),
                figure(recall),
                figure(map),
                map.unwrap_or(0.0) * 100.0
            ),
        );
    }
    out.push_str("</table></div>\n");
}

fn charts(out: &mut String, dataset: &Dataset, scores: &Scores) {
    out.push_str("<h2>Curves</h2><div class=\"charts\">\n");
    let curves = &scores.curves;
    for scene in [
        precision_recall(dataset, scores),
        over_confidence(dataset, curves, "F1", |p| p.f1),
        over_confidence(dataset, curves, "precision", |p| p.precision),
        over_confidence(dataset, curves, "recall", |p| p.recall),
    ] {
        append(out, format_args!("<div class=\"chart\">{}</div>\n", to_svg(&scene)));
    }
    let matrix = to_svg(&confusion_matrix(dataset, scores));
    append(out, format_args!("</div><h2>What is taken for what</h2><div class=\"chart matrix\">{matrix}</div>\n"));
}

fn findings(out: &mut String, dataset: &Dataset) {
    let kept = dataset.findings.kept();
    if kept.is_empty() {
        return;
    }
    out.push_str("<h2>The dataset</h2><div class=\"scroll\"><table class=\"findings\"><tr><th>finding</th><th></th><th></th></tr>\n");
    for (kind, count) in dataset.findings.counts() {
        for (n, finding) in kept.iter().filter(|f| f.kind == *kind).take(5).enumerate() {
            let name = if n == 0 { format!("{} ({})", kind.name(), grouped(*count)) } else { String::new() };
            let (place, text) = (escaped(&finding.place), escaped(&finding.text));
            append(out, format_args!("<tr><td>{name}</td><td>{place}</td><td>{text}</td></tr>\n"));
        }
    }
    out.push_str("</table></div><p class=\"note\">Up to five of a kind; the report lists more.</p>\n");
}

fn samples(
    out: &mut String,
    dataset: &Dataset,
    scores: &Scores,
    found: &Found,
    most: usize,
    thumbnail: &dyn Fn(&Image) -> Option<Vec<u8>>,
) {
    let mut ranked: Vec<(f64, usize, usize, Pairing)> = Vec::new();
    for (index, (image, boxes)) in dataset.images.iter().zip(found).enumerate().filter(|(i, _)| scores.counted[*i]) {
        let pairing = pair(image, boxes, scores.curves.best_confidence);
        let (right, wrong, missed) = pairing.counts(image, &scores.scored);
        if image.size.is_some() && right + wrong + missed > 0 {
            ranked.push((pairing.f1(image, &scores.scored), wrong + missed, index, pairing));
        }
    }
    // Of images that are equally bad, the one with more to see.
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2)));
    ranked.truncate(most);
    if ranked.is_empty() {
        return;
    }
    out.push_str(
        "<h2>The worst images</h2><p class=\"note\">Left what is labelled, right what was found.\
         <span class=\"key right\"></span>right<span class=\"key missed\"></span>missed, or found where nothing is\
         <span class=\"key confused\"></span>taken for another class. Point at a box for its class.</p>\n",
    );
    for (f1, _, index, pairing) in &ranked {
        let image = &dataset.images[*index];
        let (right, wrong, missed) = pairing.counts(image, &scores.scored);
        append(
            out,
            format_args!(
                "<figure><figcaption><b>{}</b> · F1 {f1:.2} · {right} right, {missed} missed, {wrong} wrong</figcaption>\
             <div class=\"pair\">",
                escaped(&image.name)
            ),
        );
        sample(out, dataset, scores, (*index, image), &found[*index], pairing, thumbnail(image));
        out.push_str("</div></figure>\n");
    }
}

fn sample(
    out: &mut String,
    dataset: &Dataset,
    scores: &Scores,
    (index, image): (usize, &Image),
    found: &[Scored],
    pairing: &Pairing,
    jpeg: Option<Vec<u8>>,
) {
    let Some(size) = image.size else { return };
    let (w, h) = (size.width, size.height);
    let open = format!("<svg viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"");
    let px = f64::from(w.max(h)) / 60.0;
    // The image is in the page once; the other side refers to it.
    append(out, format_args!("{open}what is labelled\">"));
    if let Some(jpeg) = jpeg {
        let data = STANDARD.encode(jpeg);
        append(
            out,
            format_args!(
                "<image id=\"image{index}\" width=\"{w}\" height=\"{h}\" href=\"data:image/jpeg;base64,{data}\"/>"
            ),
        );
    }
    let zones: String = image.ignored.iter().map(|r| rect(r, "zone", "nothing counts here")).collect();
    out.push_str(&zones);
    let name = |class: usize| escaped(&dataset.classes[class].name);
    let few = image.truths.len() <= NAMED;
    for (truth, taken) in image.truths.iter().zip(&pairing.truths) {
        let class = match taken.map(|b| pairing.boxes[b]) {
            _ if truth.crowd || !scores.scored[truth.class] => "crowd",
            Some(Fate::Right(_)) => "right",
            Some(_) => "confused",
            None => "missed",
        };
        out.push_str(&rect(&truth.bbox, class, &name(truth.class)));
        if few {
            out.push_str(&label(&truth.bbox, px, &name(truth.class)));
        }
    }
    append(out, format_args!("</svg>{open}what was found\"><use href=\"#image{index}\"/>{zones}"));
    let shown = || found.iter().zip(&pairing.boxes).filter(|(_, fate)| **fate != Fate::Dropped);
    let few = shown().count() <= NAMED;
    for (b, fate) in shown() {
        let (class, more) = match fate {
            Fate::Right(_) => ("right", String::new()),
            Fate::Confused(t) => ("confused", format!(", labelled {}", name(image.truths[*t].class))),
            Fate::Ignored => ("crowd", ", does not count".into()),
            Fate::False | Fate::Dropped => ("false", String::new()),
        };
        out.push_str(&rect(&b.bbox, class, &format!("{} {:.2}{more}", name(b.class), b.score)));
        if few {
            out.push_str(&label(&b.bbox, px, &format!("{} {:.2}", name(b.class), b.score)));
        }
    }
    out.push_str("</svg>");
}

/// `title` is escaped already.
fn rect(r: &LabelBox, class: &str, title: &str) -> String {
    let LabelBox { x, y, width, height } = r;
    format!(
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{title}</title></rect>"
    )
}

fn label(r: &LabelBox, px: f64, text: &str) -> String {
    let y = if r.y > px * 1.2 { r.y - px * 0.3 } else { r.y + px };
    format!("<text x=\"{:.1}\" y=\"{y:.1}\" font-size=\"{px:.1}\">{text}</text>", r.x.max(0.0))
}
