//! The model's classes and the dataset's: by name, or as the user says.

use super::dataset::{Class, Dataset};
use crate::text::{counted, printable};

/// Which class of the dataset each class of the model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassMap {
    /// By the model's class id.
    pub dataset_from_model: Vec<Option<usize>>,
    /// Classes of the dataset that the model cannot name, by index.
    pub unknown: Vec<usize>,
    /// Whether classes were brought together by their numbers, as no name fits.
    pub by_number: bool,
}

/// Why classes cannot be brought together.
#[derive(Debug, thiserror::Error)]
pub enum ClassError {
    /// A name in `--map` is not there.
    #[error(
        "--map {entry}: {whose} has no class {name:?}; the nearest is {nearest:?}\n  write MODEL_CLASS=DATASET_CLASS, by name or number"
    )]
    NoSuchClass {
        /// As given.
        entry: String,
        /// The model or the dataset.
        whose: &'static str,
        /// The name in question.
        name: String,
        /// The closest.
        nearest: String,
    },
    /// An entry of `--map` without `=`.
    #[error("--map {0}: expected MODEL_CLASS=DATASET_CLASS\n  e.g. --map 'person=pedestrian,motorcycle=motor'")]
    NoPair(String),
    /// Not one class in common.
    #[error(
        "the model and the dataset have no class in common\n  the model has {model}; the dataset has {dataset}; say which is which with --map MODEL_CLASS=DATASET_CLASS"
    )]
    NothingInCommon {
        /// The model's classes.
        model: String,
        /// The dataset's classes.
        dataset: String,
    },
}

impl ClassMap {
    /// Brings them together: entries of `--map` first, then equal names whatever their case and spaces; by number when no
    /// name fits and there are equally many.
    ///
    /// # Errors
    /// When an entry cannot be used, or nothing fits.
    pub fn new(model: &[String], dataset: &[Class], map: &[String]) -> Result<Self, ClassError> {
        let names: Vec<String> = dataset.iter().map(|c| c.name.clone()).collect();
        let position = |name: &String| names.iter().position(|n| plain(n) == plain(name));
        let mut dataset_from_model: Vec<Option<usize>> = model.iter().map(position).collect();
        for entry in map.iter().map(|e| e.trim()).filter(|e| !e.is_empty()) {
            let (from, to) = entry.split_once('=').ok_or_else(|| ClassError::NoPair(entry.into()))?;
            let find = |whose, name: &str, names: &[String]| {
                let known = names.iter().position(|n| plain(n) == plain(name));
                let number = || name.trim().parse().ok().filter(|id| *id < names.len());
                known.or_else(number).ok_or_else(|| ClassError::NoSuchClass {
                    entry: entry.into(),
                    whose,
                    name: name.trim().into(),
                    nearest: nearest(name, names),
                })
            };
            let (from, to) = (find("the model", from, model)?, find("the dataset", to, &names)?);
            dataset_from_model[from] = Some(to);
        }
        let by_number = dataset_from_model.iter().all(Option::is_none) && model.len() == dataset.len();
        if by_number {
            dataset_from_model = (0..model.len()).map(Some).collect();
        }
        if dataset_from_model.iter().all(Option::is_none) {
            return Err(ClassError::NothingInCommon { model: some(model), dataset: some(&names) });
        }
        let unknown = (0..dataset.len()).filter(|id| !dataset_from_model.contains(&Some(*id))).collect();
        Ok(Self { dataset_from_model, unknown, by_number })
    }

    /// What the user should know: which classes of `dataset` and of the model, whose names are `model`, have no counterpart.
    #[must_use]
    pub fn notices(&self, dataset: &Dataset, model: &[String]) -> Vec<String> {
        let mut notices = Vec::new();
        if self.by_number {
            notices.push(
                "no class of the model has a name of the dataset's: classes are taken by number (--map says otherwise)"
                    .into(),
            );
        }
        let instances = dataset.instances();
        let unknown = self.unknown.iter().filter(|class| instances[**class].0 > 0);
        let unknown: Vec<String> = unknown.map(|class| printable(&dataset.classes[*class].name)).collect();
        if !unknown.is_empty() {
            notices.push(format!(
                "not scored, as the model has no such class: {} (--map MODEL_CLASS=DATASET_CLASS)",
                unknown.join(", ")
            ));
        }
        let unused = model.iter().zip(&self.dataset_from_model).filter(|(_, to)| to.is_none()).count();
        if unused > 0 {
            notices.push(format!(
                "{} of the model are none of the dataset's: their boxes do not count",
                counted(unused as u64, "class")
            ));
        }
        notices
    }
}

/// A name for comparison: `Traffic-Light` is `traffic light`.
fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace(['-', '_'], " ")
}

fn nearest(name: &str, names: &[String]) -> String {
    let near = |other: &String| strsim::jaro_winkler(&plain(other), &plain(name));
    names.iter().max_by(|a, b| near(a).total_cmp(&near(b))).cloned().unwrap_or_default()
}

/// A few names, for a message.
fn some(names: &[String]) -> String {
    let shown = names.iter().take(6).map(|n| printable(n)).collect::<Vec<_>>().join(", ");
    if names.len() > 6 { format!("{shown}, …") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(model: &[&str], dataset: &[&str], entries: &[&str]) -> Result<ClassMap, ClassError> {
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let classes: Vec<Class> =
            (1..).zip(dataset).map(|(category, n)| Class { name: (*n).to_owned(), category }).collect();
        ClassMap::new(&own(model), &classes, &own(entries))
    }

    #[test]
    fn names_meet_whatever_their_case() {
        let found =
            map(&["Car", "traffic_light", "dog"], &["traffic light", "car", "bus"], &[]).expect("two in common");
        assert_eq!(found.dataset_from_model, [Some(1), Some(0), None]);
        assert_eq!((found.unknown, found.by_number), (vec![2], false));
    }

    #[test]
    fn the_user_has_the_last_word() {
        let found =
            map(&["person", "car"], &["pedestrian", "car", "van"], &["person=pedestrian", "1=van"]).expect("maps");
        assert_eq!(found.dataset_from_model, [Some(0), Some(2)]);
        let wrong = map(&["person"], &["pedestrian"], &["persn=pedestrian"]).expect_err("a slip");
        assert!(wrong.to_string().contains("nearest is \"person\""), "{wrong}");
        assert!(map(&["person"], &["pedestrian"], &["person"]).is_err());
    }

    #[test]
    fn without_names_numbers_decide() {
        assert!(map(&["class0", "class1"], &["a", "b"], &[]).expect("as many").by_number);
        let nothing = map(&["class0"], &["a", "b"], &[]).expect_err("nothing in common");
        assert!(nothing.to_string().contains("--map"));
    }
}
