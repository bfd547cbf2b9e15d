//! Writes the stage's tables and reads its candidates back.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ListBuilder, RecordBatch, StringArray, UInt32Builder};
use prospect_analysis::audit::groups::Group;
use prospect_common::Result;
use prospect_engine::{
    schema::{associations, groups, shortcuts},
    tables::classes::name_of,
};
use prospect_store::{Manifest, RunFolder, table};

use super::{
    association::Association, attributes::Attribute, evaluation::Evaluation, layer::Candidate,
    suspects::Suspect,
};

table! {
    /// Units of each layer that may detect a shortcut.
    pub mod shortcut_candidates = "shortcut_candidates", "layer, class and unit", [100.0, 100.0] {
        layer: Text,
        class: i32,
        unit: i32,
        score: f64,
        /// fraction of the class's images with the strongest cell in the place
        share_of_class: f64,
        /// the same fraction of all other images
        share_of_others: f64,
        /// the place, 0 to 1 of the network's input
        x0: f64,
        y0: f64,
        x1: f64,
        y1: f64,
        /// AUROC of the unit, the class against all others
        exclusivity: f64,
        /// fraction of the marked images with the strongest cell in the outermost ring
        border: f64,
        /// fraction of those with boxes whose strongest cell is outside them
        outside_boxes: Option<f64>,
        /// ids of the class's images with the strongest cell in the place
        marked: Ragged<u32>,
    }
}

/// One row per attribute, in the given order.
pub fn associations(
    found: &[(&Attribute, Association)],
    evaluation: &Evaluation,
) -> Result<RecordBatch> {
    let all = || found.iter().map(|(_, one)| one);
    let attributes = || found.iter().map(|(attribute, _)| attribute);
    let label = |one: &Association| Some(evaluation.classes[one.top?.label]);
    let value = |(attribute, one): &(&Attribute, Association)| {
        Some(attribute.values[one.top?.value].clone())
    };
    let label_name = |one: &Association| Some(name_of(&evaluation.names.dataset, label(one)?));
    associations::Columns {
        attribute: StringArray::from_iter_values(attributes().map(|one| &one.name)),
        kind: StringArray::from_iter_values(attributes().map(|one| one.kind)),
        values: all().map(|one| one.values as i32).collect(),
        images: all().map(|one| one.images as u32).collect(),
        ami: all().map(|one| one.ami).collect(),
        nmi: all().map(|one| one.nmi).collect(),
        test: StringArray::from_iter_values(all().map(|one| one.test.name())),
        p_value: all().map(|one| one.p_value).collect(),
        q_value: all().map(|one| one.q_value).collect(),
        top_value: found.iter().map(value).collect(),
        top_label: all().map(label).collect(),
        top_label_name: all().map(label_name).collect(),
        lift: all().map(|one| Some(one.top?.lift)).collect(),
        support: all().map(|one| Some(one.top?.support as u32)).collect(),
    }
    .batch()
}

/// The groups of one attribute.
pub fn groups(
    attribute: &Attribute,
    found: &[Group],
    evaluation: &Evaluation,
) -> Result<RecordBatch> {
    let all = || found.iter();
    let value = |group: &Group| &attribute.values[group.value as usize];
    let label = |group: &Group| Some(evaluation.classes[group.label? as usize]);
    let name = |group: &Group| Some(name_of(&evaluation.names.dataset, label(group)?));
    groups::Columns {
        attribute: StringArray::from_iter_values(all().map(|_| &attribute.name)),
        value: StringArray::from_iter_values(all().map(value)),
        label: all().map(label).collect(),
        label_name: all().map(name).collect(),
        images: all().map(|group| group.tally.images as u32).collect(),
        accuracy: all().map(|group| group.tally.accuracy()).collect(),
        accuracy_low: all().map(|group| Some(group.tally.interval()?.0)).collect(),
        accuracy_high: all().map(|group| Some(group.tally.interval()?.1)).collect(),
        rest: all().map(|group| group.rest.accuracy()).collect(),
        p_value: all().map(|group| group.p_value).collect(),
        q_value: all().map(|group| group.q_value).collect(),
        worse: all().map(|group| Some(group.is_worse())).collect(),
        worst: all().map(|group| Some(group.worst)).collect(),
        source: all().map(|_| evaluation.source.as_deref()).collect(),
    }
    .batch()
}

/// One row per suspect, best first; `pictures` by the suspect's index.
pub fn shortcuts(
    suspects: &[Suspect],
    evaluation: &Evaluation,
    pictures: &BTreeMap<usize, String>,
) -> Result<RecordBatch> {
    let all = || suspects.iter();
    let class = |one: &Suspect| evaluation.classes[one.class as usize];
    let class_name = |one: &Suspect| name_of(&evaluation.names.dataset, class(one));
    let edge = |at: usize| all().map(|one| Some(one.edges?[at])).collect();
    shortcuts::Columns {
        rank: (1..=suspects.len() as i32).collect(),
        class: all().map(class).collect(),
        class_name: StringArray::from_iter_values(all().map(class_name)),
        layer: all()
            .map(|one| Some(one.unit.as_ref()?.0.as_str()))
            .collect(),
        unit: all().map(|one| Some(one.unit.as_ref()?.1 as i32)).collect(),
        kind: StringArray::from_iter_values(all().map(|one| one.kind.name())),
        mark: all().map(|one| one.mark).collect(),
        score: all().map(|one| one.score).collect(),
        p_value: all().map(|one| one.p_value).collect(),
        q_value: all().map(|one| one.q_value).collect(),
        exclusivity: all().map(|one| one.exclusivity).collect(),
        images: all().map(|one| one.marked.len() as u32).collect(),
        share_of_class: all().map(|one| one.of_class).collect(),
        share_of_others: all().map(|one| one.of_others).collect(),
        x0: edge(0),
        y0: edge(1),
        x1: edge(2),
        y1: edge(3),
        view: StringArray::from_iter_values(all().map(|one| match one.whole {
            true => "picture",
            false => "input",
        })),
        border_share: all().map(|one| one.border).collect(),
        outside_boxes: all().map(|one| one.outside_boxes).collect(),
        border_energy: all().map(|one| one.border_energy).collect(),
        background_energy: all().map(|one| one.background_energy).collect(),
        p_with: all().map(|one| one.p_with).collect(),
        p_without: all().map(|one| one.p_without).collect(),
        accuracy_drop: all().map(|one| one.ablation.accuracy_drop()).collect(),
        probability_drop: all().map(|one| one.ablation.probability_drop()).collect(),
        flagged: all().map(|one| Some(one.flagged)).collect(),
        evidence: StringArray::from_iter_values(all().map(|one| one.evidence(evaluation))),
        picture: (0..suspects.len()).map(|at| pictures.get(&at)).collect(),
    }
    .batch()
}

/// The candidates of one layer.
pub fn candidates(candidates: &[Candidate], evaluation: &Evaluation) -> Result<RecordBatch> {
    let mut marked = ListBuilder::new(UInt32Builder::new());
    for candidate in candidates {
        marked.values().append_slice(&candidate.marked);
        marked.append(true);
    }
    let all = || candidates.iter();
    let class = |one: &Candidate| evaluation.classes[one.class as usize];
    let edge = |at: usize| all().map(|one| one.edges[at]).collect();
    shortcut_candidates::Columns {
        layer: StringArray::from_iter_values(all().map(|one| &one.layer)),
        class: all().map(class).collect(),
        unit: all().map(|one| one.unit as i32).collect(),
        score: all().map(|one| one.score).collect(),
        share_of_class: all().map(|one| one.of_class).collect(),
        share_of_others: all().map(|one| one.of_others).collect(),
        x0: edge(0),
        y0: edge(1),
        x1: edge(2),
        y1: edge(3),
        exclusivity: all().map(|one| one.exclusivity).collect(),
        border: all().map(|one| one.border).collect(),
        outside_boxes: all().map(|one| one.outside_boxes).collect(),
        marked: Arc::new(marked.finish()),
    }
    .batch()
}

/// The candidates of all layers, in their order.
pub fn read_candidates(
    run: &RunFolder,
    manifest: &Manifest,
    evaluation: &Evaluation,
) -> Result<Vec<Candidate>> {
    let mut found = Vec::new();
    if !manifest.has(shortcut_candidates::NAME) {
        return Ok(found);
    }
    let columns = (
        shortcut_candidates::layer,
        shortcut_candidates::unit,
        shortcut_candidates::class,
        shortcut_candidates::score,
        shortcut_candidates::share_of_class,
        shortcut_candidates::share_of_others,
        shortcut_candidates::x0,
        shortcut_candidates::y0,
        shortcut_candidates::x1,
        shortcut_candidates::y1,
        shortcut_candidates::exclusivity,
        shortcut_candidates::border,
        shortcut_candidates::outside_boxes,
        shortcut_candidates::marked,
    );
    for batch in run.rows(manifest, columns) {
        let batch = batch?;
        for cells in batch.iter() {
            let (layer, unit, class, score, of_class, of_others, ..) = cells;
            let (.., x0, y0, x1, y1, exclusivity, border, outside_boxes, marked) = cells;
            let place = evaluation.classes.binary_search(&class);
            let (Ok(class), Ok(unit)) = (place, usize::try_from(unit)) else {
                return Err(batch.unexpected("known labels and units", "others"));
            };
            found.push(Candidate {
                layer: layer.to_string(),
                unit,
                class: class as u32,
                score,
                of_class,
                of_others,
                edges: [x0, y0, x1, y1],
                exclusivity,
                border,
                outside_boxes,
                marked: marked.to_vec(),
            });
        }
    }
    Ok(found)
}
