//! Signs that the network was trained on the labels under evaluation. Its features then contain the label, right or wrong, and
//! predictions out of fold are no protection: neither the scores nor injected errors can show the errors it has memorised.

use std::collections::BTreeMap;

use prospect_common::Result;
use prospect_engine::{Context, schema::images, tables::classes::ClassNames};
use prospect_store::Manifest;

/// Minimum number of images to compare accuracies.
const MIN_IMAGES: usize = 100;
/// Accuracy on the given labels above which they were probably learned: few datasets have so few errors and so clear images.
const SUSPICIOUS: f64 = 0.995;
/// Accuracy on a training split, and its lead over the other images, above which it was probably memorised.
const TRAINED: f64 = 0.95;
const LEAD: f64 = 0.03;

/// A warning, if the network agrees with the labels too well. None where it does not know their classes.
pub fn warning(ctx: &Context, manifest: &Manifest, image_ids: &[u32]) -> Result<Option<String>> {
    let names = ClassNames::read(ctx.run, manifest)?;
    if names.network_of_dataset().is_empty() {
        return Ok(None);
    }
    let right = names.of_images(ctx.run, manifest, image_ids)?.right;
    let right: BTreeMap<u32, bool> = (image_ids.iter().zip(right))
        .filter_map(|(id, right)| Some((*id, right?)))
        .collect();
    let (mut train, mut rest) = (Vec::new(), Vec::new());
    for batch in ctx.run.rows(manifest, (images::image_id, images::split)) {
        for (id, split) in batch?.iter() {
            if let (Some(right), Some(split)) = (right.get(&id), split) {
                let is_train = split.to_lowercase().contains("train");
                if is_train { &mut train } else { &mut rest }.push(*right);
            }
        }
    }
    let all: Vec<bool> = right.into_values().collect();
    Ok(sentence(&all, &train, &rest))
}

fn sentence(all: &[bool], train: &[bool], rest: &[bool]) -> Option<String> {
    let accuracy = |right: &[bool]| {
        let n = right.iter().filter(|right| **right).count();
        (right.len() >= MIN_IMAGES).then(|| n as f64 / right.len() as f64)
    };
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let agrees = if let (Some(train), Some(rest)) = (accuracy(train), accuracy(rest))
        && train >= TRAINED
        && train - rest >= LEAD
    {
        format!(
            "the network agrees with {} of the labels of the training split and {} of the others",
            percent(train),
            percent(rest)
        )
    } else {
        let accuracy = accuracy(all).filter(|accuracy| *accuracy >= SUSPICIOUS)?;
        format!(
            "the network agrees with {} of the labels",
            percent(accuracy)
        )
    };
    Some(format!(
        "{agrees}: if it was trained on them, it has memorised wrong labels, which its features then hide"
    ))
}

/// What is done about it, with the `layers` that judge the labels instead.
pub fn advice(layers: &[String]) -> String {
    let better = "a network trained on other data";
    if layers.is_empty() {
        format!("; use {better}")
    } else {
        let layers = layers.join(", ");
        format!("; so only earlier layers judge the labels ({layers}); {better} finds more")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(right: usize, wrong: usize) -> Vec<bool> {
        [vec![true; right], vec![false; wrong]].concat()
    }

    #[test]
    fn near_perfect_agreement_is_suspicious() {
        assert_eq!(sentence(&labels(990, 10), &[], &[]), None);
        assert_eq!(sentence(&labels(99, 0), &[], &[]), None);
        let warning = sentence(&labels(998, 2), &[], &[]).unwrap();
        assert!(warning.starts_with("the network agrees with 99.8 % of the labels: "));
    }

    #[test]
    fn a_lead_on_the_training_split_is_suspicious() {
        let (train, rest) = (labels(970, 30), labels(180, 20));
        let all = [train.clone(), rest.clone()].concat();
        let warning = sentence(&all, &train, &rest).unwrap();
        assert!(warning.contains("97.0 % of the labels of the training split and 90.0 %"));
        assert_eq!(sentence(&all, &train, &labels(95, 5)), None);
        assert_eq!(sentence(&all, &train, &labels(8, 2)), None);
    }
}
