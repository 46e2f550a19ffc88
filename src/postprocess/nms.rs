//! Greedy non-maximum suppression, per class unless told otherwise.

use super::Thresholds;
use super::reading::Candidate;

/// Candidates that NMS looks at, at most (the most confident ones), as in the reference implementation.
const MAX_CANDIDATES: usize = 30_000;

/// Sorts `candidates` by falling confidence (ties keep their order) and puts the best into `kept`: they are one an object.
pub(super) fn choose(candidates: &mut [Candidate], thresholds: &Thresholds, kept: &mut Vec<Candidate>) {
    kept.clear();
    candidates.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    kept.extend(candidates.iter().take(thresholds.max_det));
}

/// Sorts `candidates` by falling confidence (ties keep their order) and puts the survivors into `kept`.
pub(super) fn suppress(candidates: &mut Vec<Candidate>, thresholds: &Thresholds, kept: &mut Vec<Candidate>) {
    kept.clear();
    candidates.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    candidates.truncate(MAX_CANDIDATES);
    for candidate in candidates.iter() {
        if kept.len() == thresholds.max_det {
            break;
        }
        let covered = kept.iter().any(|k| {
            (thresholds.agnostic || k.class_id == candidate.class_id) && k.bbox.iou(&candidate.bbox) > thresholds.iou
        });
        if !covered {
            kept.push(*candidate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::ModelBox;
    use proptest::prelude::*;

    fn thresholds(agnostic: bool) -> Thresholds {
        Thresholds { conf: 0.0, iou: 0.5, max_det: 300, agnostic, classes: None }
    }

    fn candidate() -> impl Strategy<Value = Candidate> {
        (0u16..3, 0.0f32..1.0, 0.0f32..50.0, 0.0f32..50.0, 1.0f32..30.0, 1.0f32..30.0).prop_map(
            |(class_id, confidence, x, y, w, h)| Candidate {
                class_id,
                confidence,
                bbox: ModelBox::new(x, y, x + w, y + h),
            },
        )
    }

    proptest! {
        #[test]
        fn survivors_do_not_overlap_and_survive_again(
            mut boxes in proptest::collection::vec(candidate(), 0..60), agnostic in any::<bool>()
        ) {
            let (mut once, mut twice) = (Vec::new(), Vec::new());
            suppress(&mut boxes, &thresholds(agnostic), &mut once);
            suppress(&mut once.clone(), &thresholds(agnostic), &mut twice);
            prop_assert_eq!(&once, &twice);
            for (i, a) in once.iter().enumerate() {
                for b in &once[i + 1..] {
                    prop_assert!(a.confidence >= b.confidence);
                    prop_assert!(!(agnostic || a.class_id == b.class_id) || a.bbox.iou(&b.bbox) <= 0.5);
                }
            }
            // What was removed was covered by a survivor at least as certain.
            for gone in boxes.iter().filter(|b| !once.contains(b)) {
                prop_assert!(once.iter().any(|k| k.confidence >= gone.confidence && k.bbox.iou(&gone.bbox) > 0.5));
            }
        }
    }
}
