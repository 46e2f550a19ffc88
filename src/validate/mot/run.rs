//! From files to a report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::figures::{Counts, Figures, Unscored};
use super::format::Format;
use super::prepare::{self, DRONE_CLASSES, LAST_CATEGORY};
use super::read::{Role, check, frames, rows};
use super::scene::Scene;
use super::sequences::{Found, Sequence};
use crate::mot::{MotError, Row};
use crate::shutdown::Shutdown;
use crate::text::counted;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The benchmark; by the columns of ground truth where it is not said.
    pub format: Option<Format>,
    /// A file with the frames that count.
    pub frames: Option<PathBuf>,
}

/// What was scored.
#[derive(Debug, Clone)]
pub struct Scored {
    /// By which rules.
    pub format: Format,
    /// All sequences together.
    pub combined: Figures,
    /// By name.
    pub sequences: BTreeMap<String, Figures>,
    /// `VisDrone`: by class, over all sequences; empty where the result has no categories.
    pub classes: BTreeMap<&'static str, Figures>,
    /// `VisDrone`: all classes as one, over all sequences.
    pub class_agnostic: Option<Figures>,
    /// What a user should know.
    pub notices: Vec<String>,
}

/// The report: what was compared, and the figures.
#[derive(Debug, serde::Serialize)]
pub struct Report<'a> {
    version: &'static str,
    command: String,
    mot: Mot<'a>,
}

#[derive(Debug, serde::Serialize)]
struct Mot<'a> {
    gt: String,
    result: String,
    format: &'static str,
    frames_file: Option<String>,
    combined: Figures,
    sequences: &'a BTreeMap<String, Figures>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    classes: &'a BTreeMap<&'static str, Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_agnostic: Option<Figures>,
    notices: &'a [String],
}

impl<'a> Report<'a> {
    /// Of what a command compared.
    #[must_use]
    pub fn of(scored: &'a Scored, gt: &Path, result: &Path, options: &Options, command: String) -> Self {
        let mot = Mot {
            gt: gt.display().to_string(),
            result: result.display().to_string(),
            format: scored.format.name(),
            frames_file: options.frames.as_ref().map(|file| file.display().to_string()),
            combined: scored.combined,
            sequences: &scored.sequences,
            classes: &scored.classes,
            class_agnostic: scored.class_agnostic,
            notices: &scored.notices,
        };
        Self { version: env!("CARGO_PKG_VERSION"), command, mot }
    }
}

/// A sequence's rows, as they are read.
struct Read<'a> {
    sequence: &'a Sequence,
    gt: Vec<Row>,
    result: Vec<Row>,
    frames: u64,
}

/// Scores all sequences; none where the user asked to stop.
///
/// # Errors
/// When a file cannot be read, or holds what cannot be scored.
pub fn score(found: &Found, options: &Options, stopping: &Shutdown) -> Result<Option<Scored>, MotError> {
    let listed = options.frames.as_deref().map(frames).transpose()?;
    let mut known: Option<(Format, &str)> = options.format.map(|format| (format, "--mot-format"));
    let (mut sequences, mut classes, mut agnostic) = (Vec::new(), BTreeMap::<i64, Vec<Counts>>::new(), Vec::new());
    let (mut without_categories, mut gt_rows) = (None, 0);
    for sequence in &found.sequences {
        let gt = rows(&sequence.gt)?;
        let guessed = options.format.unwrap_or_else(|| Format::guess(&sequence.name, &gt));
        let (format, of) = *known.get_or_insert((guessed, &sequence.name));
        if guessed != format {
            let problem = format!("it looks like {}, but {of} like {}", guessed.name(), format.name());
            return Err(MotError::new(sequence.gt.display(), problem, "say which it is with --mot-format"));
        }
        let read = read(sequence, gt, format, listed.as_ref())?;
        gt_rows += read.gt.len();
        let scene = |scene: &Scene| match Counts::of(scene, read.frames, stopping) {
            Ok(counts) => Ok(Some(counts)),
            Err(Unscored::Stopped) => Ok(None),
            Err(Unscored::TooMany(gt, result)) => {
                let problem = format!("{gt} tracks, and {result} of the result, overlap one another");
                Err(MotError::new(sequence.gt.display(), problem, "split the sequence"))
            }
        };
        let counts = match format {
            Format::Mot15 => scene(&prepare::mot15(&read.gt, &read.result))?,
            Format::Mot16 | Format::Mot20 => scene(&prepare::mot16(&read.gt, &read.result, format == Format::Mot20))?,
            Format::VisDrone => {
                let bare = are_without_categories(&read, &mut without_categories)?;
                let all = DRONE_CLASSES.map(|(class, _)| class);
                let Some(whole) = scene(&prepare::drone(&read.gt, &read.result, &all, bare))? else { return Ok(None) };
                agnostic.push(whole);
                if bare { Some(whole) } else { by_class(&read, &mut classes, &scene)? }
            }
        };
        let Some(counts) = counts else { return Ok(None) };
        sequences.push((sequence.name.clone(), counts));
    }
    let format = known.map_or(Format::Mot15, |(format, _)| format);
    let counts: Vec<Counts> = sequences.iter().map(|(_, counts)| *counts).collect();
    let combined = Counts::sum(&counts).together();
    let mut notices = notices(found, without_categories == Some(true));
    if gt_rows > 0 && combined.gt_boxes == 0 {
        notices.push(
            "no row of ground truth counts: there column 7 is a flag, and what is below 1 is left out".to_owned(),
        );
    }
    let names: BTreeMap<i64, &'static str> = DRONE_CLASSES.into_iter().collect();
    Ok(Some(Scored {
        format,
        combined,
        sequences: sequences.into_iter().map(|(name, counts)| (name, counts.alone())).collect(),
        classes: classes
            .iter()
            .filter_map(|(class, all)| Some((*names.get(class)?, Counts::sum(all).together())))
            .collect(),
        class_agnostic: (format == Format::VisDrone).then(|| Counts::sum(&agnostic).together()),
        notices,
    }))
}

fn notices(found: &Found, bare: bool) -> Vec<String> {
    let mut notices = Vec::new();
    if bare {
        notices.push("the result has no categories (column 8): all classes are scored as one".to_owned());
    }
    if let Some(first) = found.unused.first() {
        let files = counted(found.unused.len() as u64, "file");
        notices.push(format!("{files} of the result belong to no sequence, as {}", first.display()));
    }
    notices
}

/// Reads a sequence, and checks it.
fn read<'a>(
    sequence: &'a Sequence,
    mut gt: Vec<Row>,
    format: Format,
    listed: Option<&BTreeSet<u32>>,
) -> Result<Read<'a>, MotError> {
    let mut result = rows(&sequence.result)?;
    check(&sequence.gt, Role::Gt, &gt, sequence.length, format)?;
    check(&sequence.result, Role::Result, &result, sequence.length, format)?;
    check_classes(sequence, &gt, &result, format)?;
    let last = [&gt, &result].into_iter().filter_map(|rows| rows.last()).map(|row| row.frame).max();
    let length = sequence.length.or(last).unwrap_or(0);
    let frames = match listed {
        None => u64::from(length),
        Some(listed) => listed.range(..=length).count() as u64,
    };
    if let Some(listed) = listed {
        gt.retain(|row| listed.contains(&row.frame));
        result.retain(|row| listed.contains(&row.frame));
    }
    Ok(Read { sequence, gt, result, frames })
}

/// Refuses classes that the benchmark does not have.
fn check_classes(sequence: &Sequence, gt: &[Row], result: &[Row], format: Format) -> Result<(), MotError> {
    let at = |path: &Path, row: &Row, problem: String, remedy: &str| {
        Err(MotError::new(format_args!("{}:{}", path.display(), row.line), problem, remedy))
    };
    let class = |row: &Row| prepare::whole(row.extra[0]);
    match format {
        Format::Mot15 => {}
        Format::Mot16 | Format::Mot20 => {
            if let Some(row) = prepare::no_class(gt) {
                let problem = format!("class {} in column 8, from 1 to 13 are known", class(row));
                return at(&sequence.gt, row, problem, "if these are no classes, say --mot-format mot15");
            }
            if let Some(row) = result.iter().find(|row| class(row) > 1) {
                let problem = format!("class {} in column 8", class(row));
                return at(
                    &sequence.result,
                    row,
                    problem,
                    "only pedestrians are scored: leave others out of the result, or write -1",
                );
            }
        }
        Format::VisDrone => {
            let known = |row: &&Row| (0..=LAST_CATEGORY).contains(&class(row));
            if let Some(row) = gt.iter().find(|row| !known(row)) {
                let problem = format!("category {} in column 8, from 0 to {LAST_CATEGORY} are known", class(row));
                return at(&sequence.gt, row, problem, "if these are no categories, say --mot-format mot15");
            }
            if let Some(row) = result.iter().find(|row| class(row) != -1 && !known(row)) {
                let problem = format!("category {} in column 8, from 0 to {LAST_CATEGORY} are known", class(row));
                return at(&sequence.result, row, problem, "write VisDrone's category, or -1 in all lines");
            }
        }
    }
    Ok(())
}

/// Whether the result has no categories, as all results before it.
fn are_without_categories(read: &Read, before: &mut Option<bool>) -> Result<bool, MotError> {
    for row in &read.result {
        let bare = prepare::whole(row.extra[0]) == -1;
        if *before.get_or_insert(bare) != bare {
            let place = format!("{}:{}", read.sequence.result.display(), row.line);
            let problem = if bare {
                "no category in column 8, where other lines have one"
            } else {
                "a category in column 8, where other lines have none"
            };
            return Err(MotError::new(place, problem, "write VisDrone's category in all lines, or -1 in all"));
        }
    }
    Ok(before.unwrap_or(false))
}

/// The sum over the classes; one that ground truth does not have in a sequence is not scored there (`classEval.m`).
fn by_class(
    read: &Read,
    classes: &mut BTreeMap<i64, Vec<Counts>>,
    scene: &dyn Fn(&Scene) -> Result<Option<Counts>, MotError>,
) -> Result<Option<Counts>, MotError> {
    let mut all = Vec::new();
    for (class, _) in DRONE_CLASSES {
        let prepared = prepare::drone(&read.gt, &read.result, &[class], false);
        if prepared.gt_boxes == 0 {
            continue;
        }
        let Some(counts) = scene(&prepared)? else { return Ok(None) };
        classes.entry(class).or_default().push(counts);
        all.push(counts);
    }
    Ok(Some(Counts::sum(&all).with_frames(read.frames)))
}
