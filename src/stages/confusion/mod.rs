//! Confusion matrix of labels and predictions, and overlap of classes in feature space.
//!
//! Labels and the network's classes are matched by name. If the network knows none of the labels, `confusion` has no rows and no
//! picture; `class_overlap` needs only labels.

mod count;
mod estimate;
mod pictures;
mod tables;
#[cfg(test)]
mod tests;

use prospect_analysis::space::confusion::{Pair, agreement, most_confused};
use prospect_common::{
    Result,
    text::{escaped, percent},
};
use prospect_engine::{
    Context, Needs, Outcome, Stage,
    schema::{class_overlap, confusion},
    tables::classes::name_of,
};
use prospect_store::StageWriter;
use serde_json::{Value, json};

use self::count::PairCounts;

pub const STAGE: Stage = Stage {
    name: "confusion",
    version: 1,
    about: "count confused classes, and classes that overlap in feature space",
    needs: Needs::Named(&["scan", "extract", "neighbors"]),
    writes: &[&confusion::TABLE, &class_overlap::TABLE],
    findings: None,
    reuse: None,
    parameters,
    estimate: estimate::estimate,
    run,
};

/// Pairs named in the summary.
const NAMED: usize = 5;

fn parameters(_: &Context) -> Result<Value> {
    Ok(json!({}))
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    writer.set_parts_total(1)?;
    let manifest = ctx.run.manifest()?;
    let counted = PairCounts::of_run(ctx, &manifest)?;
    if !writer.has_part(0) {
        let mut part = writer.part(0)?;
        part.write(confusion::NAME, &tables::confusion(&counted)?)?;
        part.write(class_overlap::NAME, &tables::overlap(&counted)?)?;
        ctx.cancel.check()?;
        for (name, png) in pictures::draw(&counted)? {
            part.file(&format!("pictures/confusion/{name}"), &png)?;
        }
        writer.commit(part)?;
    }
    let summary = summary(&counted);
    counted.bar.finish(&line(&counted));
    Ok(Outcome {
        result: None,
        summary,
    })
}

fn summary(counted: &PairCounts) -> Value {
    let names = &counted.names;
    let pairs = |pairs: &[Pair], to: &dyn Fn(u32) -> String, from: &dyn Fn(u32) -> String| {
        let most = most_confused(pairs, NAMED).into_iter().map(|pair| {
            json!({
                "label": from(pair.from),
                "as": to(pair.to),
                "count": pair.count,
                "share": pair.share,
            })
        });
        most.collect::<Vec<Value>>()
    };
    let of_network = |class: u32| name_of(&names.network, class as i32);
    let of_dataset = |class: u32| name_of(&names.dataset, class as i32);
    let evaluated: u64 = counted.confusion.iter().map(|pair| pair.count).sum();
    let edges: u64 = counted.overlap.iter().map(|pair| pair.count).sum();
    json!({
        "evaluated_images": evaluated,
        "accuracy": agreement(&counted.confusion),
        "labels_unknown_to_the_network": counted.unknown_labels,
        "most_confused": pairs(&counted.confusion, &of_network, &of_network),
        "labelled_edges": edges,
        "neighbors_of_own_class": agreement(&counted.overlap),
        "most_overlapping": pairs(&counted.overlap, &of_dataset, &of_dataset),
    })
}

fn line(counted: &PairCounts) -> String {
    let own = agreement(&counted.overlap)
        .map(|share| format!("{} of neighbours share the label", percent(share)));
    let right = agreement(&counted.confusion).map(|share| {
        let mut line = format!("accuracy {}", percent(share));
        if let [pair] = most_confused(&counted.confusion, 1)[..] {
            let [from, to] =
                [pair.from, pair.to].map(|class| name_of(&counted.names.network, class as i32));
            let (from, to) = (escaped(&from), escaped(&to));
            line += &format!(", most confused: {from} as {to} ({} times)", pair.count);
        }
        line
    });
    let lines: Vec<String> = right.into_iter().chain(own).collect();
    if lines.is_empty() {
        return "no labels".into();
    }
    lines.join("; ")
}
