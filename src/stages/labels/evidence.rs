//! Evidence against a label, in figures that a person can check.

use std::collections::{BTreeMap, HashMap, HashSet};

use prospect_analysis::{
    audit::label_issues::{UNLABELLED, rare::RARE, scores::Votes, voters},
    units::saliency::overlap,
};
use prospect_common::{Result, text::plural};
use prospect_config::ProbabilitySource;
use prospect_engine::{
    Context,
    schema::{explanations, label_votes, probe},
    tables::{
        classes::{ClassNames, labels, name_of},
        related::related_groups,
        reviewed::reviewed_labels,
    },
};
use prospect_findings::{Finding, Kind};
use prospect_model::CamMethod;
use prospect_store::Manifest;

use super::{super::neighbors::nearest_of, tables::Scores};

/// Evidence about one image.
#[derive(Debug, Default)]
struct Evidence {
    /// Class and probability, by the probe or the network.
    predicted: Option<(i32, f32)>,
    of_network: bool,
    votes: Option<Votes>,
    /// Fraction of the annotators' votes for the label, and the class with the most.
    annotators: Option<(f32, String)>,
    /// Overlap of the Grad-CAM maps of label and suggestion.
    overlap: Option<f64>,
}

/// `of_layers`: whether earlier layers judge the labels instead of the features.
pub fn findings(ctx: &Context, manifest: &Manifest, of_layers: bool) -> Result<Vec<Finding>> {
    let scores = Scores::read(ctx, manifest)?;
    let budget = ctx.config.audit.budget;
    let reported: Vec<usize> = (0..scores.image_ids.len())
        .filter(|row| {
            let is_doubtful = scores.suspicious[*row] || scores.ambiguous[*row];
            is_doubtful || scores.ranks[*row] as usize <= budget
        })
        .collect();
    let names = ClassNames::read(ctx.run, manifest)?;
    let mut evidence: HashMap<u32, Evidence> = (reported.iter())
        .map(|row| (scores.image_ids[*row], Evidence::default()))
        .collect();
    if !of_layers {
        // Where earlier layers judge, probe and neighbours see features that have memorised the labels.
        read_predictions(ctx, manifest, &mut evidence)?;
        read_votes(ctx, manifest, &mut evidence)?;
    }
    read_annotators(ctx, manifest, &mut evidence)?;
    let pairs: HashMap<u32, [i32; 2]> = (reported.iter())
        .filter_map(|row| {
            let (label, suggested) = scores.classes(*row);
            Some((scores.image_ids[*row], [label, suggested?.0]))
        })
        .collect();
    read_overlaps(ctx, manifest, &names, &pairs, &mut evidence)?;
    let sizes = scores.class_sizes();
    let finding = |row: usize| {
        let image_id = scores.image_ids[row];
        let (kind, score) = if scores.ambiguous[row] {
            (Kind::Ambiguous, 1.0 - scores.ambiguity[row])
        } else {
            (Kind::Label, scores.scores[row])
        };
        Finding {
            image_id,
            kind,
            score,
            flagged: scores.suspicious[row] || scores.ambiguous[row],
            suggested_label: scores.suggested[row],
            other_id: None,
            evidence: sentence(
                &scores,
                row,
                &evidence[&image_id],
                of_layers,
                &sizes,
                &names.dataset,
            ),
        }
    };
    Ok(reported.into_iter().map(finding).collect())
}

/// "labelled hat; probe says shoes 0.97; 18 of 20 neighbours are shoes; Grad-CAM for the two classes overlaps 0.10"
fn sentence(
    scores: &Scores,
    row: usize,
    evidence: &Evidence,
    of_layers: bool,
    sizes: &HashMap<i32, usize>,
    names: &BTreeMap<i32, String>,
) -> String {
    let (label, suggested) = scores.classes(row);
    let name = name_of(names, label);
    let mut parts = vec![match &evidence.annotators {
        None => format!("labelled {name}"),
        Some((share, majority)) if *majority == name => {
            format!("labelled {name} by {:.0} % of the votes", 100.0 * share)
        }
        Some((share, majority)) => format!(
            "labelled {name} by {:.0} % of the votes, most are for {majority}",
            100.0 * share
        ),
    }];
    if let Some((class, p)) = evidence.predicted {
        let who = if evidence.of_network {
            "network"
        } else {
            "probe"
        };
        let says = if class == label { "agrees" } else { "says" };
        parts.push(format!("{who} {says} {} {p:.2}", name_of(names, class)));
    }
    if let Some(votes) = evidence.votes {
        let (class, n) = votes.top.unwrap_or((label as u32, 0));
        let class = name_of(names, class as i32);
        parts.push(format!("{n} of {} neighbours are {class}", votes.labelled));
    }
    let predicted = evidence.predicted.map(|(class, _)| class);
    if let Some((class, _)) = suggested.filter(|(class, _)| predicted != Some(*class)) {
        let judges = if of_layers {
            "earlier layers say"
        } else {
            "together most like"
        };
        parts.push(format!("{judges} {}", name_of(names, class)));
    }
    if scores.ambiguous[row] && evidence.annotators.is_none() {
        parts.push("classifier and neighbours do not agree on another class".into());
    }
    let images = sizes.get(&label).copied().unwrap_or(0);
    if images < RARE && !of_layers {
        parts.push(format!(
            "judged by its neighbours alone, since the class has {}",
            plural(images as u64, "image", "images")
        ));
    }
    if let Some(overlap) = evidence.overlap {
        parts.push(format!(
            "Grad-CAM for the two classes overlaps {overlap:.2}"
        ));
    }
    parts.join("; ")
}

fn read_predictions(
    ctx: &Context,
    manifest: &Manifest,
    evidence: &mut HashMap<u32, Evidence>,
) -> Result<()> {
    let columns = (probe::image_id, probe::source, probe::pred, probe::p_pred);
    for batch in ctx.run.rows(manifest, columns) {
        let batch = batch?;
        ctx.cancel.check()?;
        for (id, source, class, share) in batch.iter() {
            if let Some(evidence) = evidence.get_mut(&id) {
                evidence.predicted = Some((class, share));
                evidence.of_network = source == ProbabilitySource::Network.name();
            }
        }
    }
    Ok(())
}

/// The annotators' votes.
fn read_annotators(
    ctx: &Context,
    manifest: &Manifest,
    evidence: &mut HashMap<u32, Evidence>,
) -> Result<()> {
    if !manifest.has(label_votes::NAME) {
        return Ok(());
    }
    let columns = (
        label_votes::image_id,
        label_votes::agreement,
        label_votes::majority,
    );
    for batch in ctx.run.rows(manifest, columns) {
        for (id, agreement, majority) in batch?.iter() {
            if let (Some(evidence), Some(agreement)) = (evidence.get_mut(&id), agreement) {
                evidence.annotators = Some((agreement, majority.to_string()));
            }
        }
    }
    Ok(())
}

/// Label votes of the neighbours.
fn read_votes(
    ctx: &Context,
    manifest: &Manifest,
    evidence: &mut HashMap<u32, Evidence>,
) -> Result<()> {
    let wanted = evidence.keys().copied().collect();
    let mut lists = nearest_of(ctx, manifest, &wanted, usize::MAX)?;
    let mut labels = labels(ctx.run, manifest)?;
    for (image_id, label) in reviewed_labels(ctx.config, ctx.run, manifest)? {
        labels[image_id as usize] = label.class;
    }
    let labels: Vec<u32> = (labels.into_iter())
        .map(|label| {
            label
                .and_then(|label| u32::try_from(label).ok())
                .unwrap_or(UNLABELLED)
        })
        .collect();
    let ids: Vec<u32> = (0..labels.len() as u32).collect();
    let groups = related_groups(ctx, manifest, &ids)?;
    let group = |id: u32| groups.get(id as usize).copied().unwrap_or(id);
    for (id, evidence) in evidence {
        let Some(list) = lists.remove(id) else {
            continue;
        };
        let label = |id: u32| labels.get(id as usize).copied().unwrap_or(UNLABELLED);
        let labelled = list.iter().copied().filter(|id| label(*id) != UNLABELLED);
        let voters = voters(group(*id), labelled.map(|id| (group(id), id)));
        let votes = Votes::count(label(*id), voters.into_iter().map(label));
        evidence.votes = (votes.labelled > 0).then_some(votes);
    }
    Ok(())
}

/// Overlap of the Grad-CAM maps of label and suggested class, if the network knows both classes and `explain` made both maps.
fn read_overlaps(
    ctx: &Context,
    manifest: &Manifest,
    names: &ClassNames,
    pairs: &HashMap<u32, [i32; 2]>,
    evidence: &mut HashMap<u32, Evidence>,
) -> Result<()> {
    let network_of = names.network_of_dataset();
    if network_of.is_empty() || pairs.is_empty() || !manifest.has(explanations::NAME) {
        return Ok(());
    }
    let gradcam = CamMethod::GradCam.name();
    let layers = ctx.run.rows(manifest, (explanations::layer,));
    let mut layers = layers.only(explanations::method, gradcam);
    let first = layers.next().transpose()?;
    let Some((layer,)) = first.as_ref().and_then(|batch| batch.iter().next()) else {
        return Ok(());
    };
    let wanted: HashSet<(u32, i32)> = (pairs.iter())
        .flat_map(|(id, pair)| pair.map(|class| (*id, class)))
        .filter_map(|(id, class)| Some((id, *network_of.get(&class)?)))
        .collect();
    let mut maps: HashMap<(u32, i32), Vec<f32>> = HashMap::new();
    let columns = (
        explanations::image_id,
        explanations::class,
        explanations::map,
    );
    let rows = (ctx.run.rows(manifest, columns))
        .only(explanations::method, gradcam)
        .only(explanations::layer, layer);
    for batch in rows {
        let batch = batch?;
        ctx.cancel.check()?;
        for (id, class, map) in batch.iter() {
            if wanted.contains(&(id, class)) {
                let map = map.iter().map(|value| value.to_f32());
                maps.insert((id, class), map.collect());
            }
        }
    }
    for (id, pair) in pairs {
        let map = |class: i32| maps.get(&(*id, *network_of.get(&class)?));
        if let (Some(a), Some(b), Some(evidence)) =
            (map(pair[0]), map(pair[1]), evidence.get_mut(id))
        {
            evidence.overlap = overlap(a, b);
        }
    }
    Ok(())
}
