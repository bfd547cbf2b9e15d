//! Nearest neighbours in feature space: by exact search, or by an HNSW index that is audited and repaired.
//!
//! Exact search writes one part per pair of image blocks; with several blocks, one more part per block merges the candidates.
//! With an index, part 0 is the index and part 1 the audited search. The last part holds the statistics.

mod choice;
mod estimate;
mod quality;
mod tables;
#[cfg(test)]
mod tests;

use std::time::Duration;

use prospect_analysis::space::neighbors::{
    Neighbor,
    audit::{self, Audit},
    exact::{self, Block},
    hnsw::{self, Index},
    lists::Nearest,
};
use prospect_common::{Error, Result};
use prospect_config::SearchMethod;
use prospect_engine::{
    Context, Needs, Outcome, Stage,
    progress::Bar,
    schema::{class_neighbors, neighbor_stats, neighbors},
    tables::features::{FeatureReader, Features, read_features},
};
use prospect_model::device::{self, Device};
use prospect_store::{Manifest, RunFolder, StageWriter, check_bytes};
use serde_json::{Value, json};

use self::{
    choice::{Choice, choose},
    tables::{index_audit, neighbor_candidates},
};

pub use self::tables::nearest_of;

pub const STAGE: Stage = Stage {
    name: "neighbors",
    version: 1,
    about: "find each image's nearest neighbours",
    needs: Needs::Named(&["scan", "extract"]),
    writes: &[
        &neighbors::TABLE,
        &neighbor_stats::TABLE,
        &class_neighbors::TABLE,
        &index_audit::TABLE,
        &neighbor_candidates::TABLE,
    ],
    findings: None,
    reuse: None,
    parameters,
    estimate: estimate::estimate,
    run,
};

/// Folder of the index in the run folder.
const INDEX: &str = "index";

fn parameters(ctx: &Context) -> Result<Value> {
    let settings = &ctx.config.neighbors;
    Ok(json!({
        "k": settings.k,
        "metric": settings.metric,
        "method": settings.method,
        "min_recall": settings.min_recall,
        "block_size": settings.block_size,
    }))
}

/// State shared by all parts.
struct Work<'a> {
    ctx: &'a Context<'a>,
    manifest: Manifest,
    device: Device,
    /// Rows of the table `features`.
    rows: usize,
    bar: Bar,
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    let manifest = ctx.run.manifest()?;
    let settings = &ctx.config.neighbors;
    let mut first = FeatureReader::new(ctx.run, &manifest, 1);
    let rows = first.rows();
    let dimension = first.next().transpose()?.map_or(0, |first| first.dimension);
    let work = Work {
        ctx,
        device: device::choose(ctx.config.model.device)?,
        rows,
        bar: ctx.progress.stage("neighbors", rows as u64, "images"),
        manifest,
    };
    let choice = choose(settings.method, rows, dimension, work.device);
    tracing::info!("neighbour search: {choice}");
    work.bar.note(&choice.to_string());

    let mut next = 0;
    let mut audit = None;
    if choice.method == SearchMethod::Hnsw {
        writer.set_parts_total(3)?;
        work.search_by_index(writer)?;
        let (audited, accepted) = tables::read_audit(ctx.run, &ctx.run.manifest()?)?;
        if accepted {
            next = 2;
        } else {
            tracing::warn!(
                "HNSW index recall {:.4} is below [neighbors] min_recall = {}; falling back to exact search",
                audited.recall,
                settings.min_recall
            );
        }
        audit = Some((audited, accepted));
    }
    let by_index = next == 2;
    if !by_index {
        let first = if audit.is_some() { 2 } else { 0 };
        next = work.search_exactly(writer, first)?;
    }
    let quality = quality::Tables::read(ctx.run, &ctx.run.manifest()?)?;
    if !writer.has_part(next) {
        let mut part = writer.part(next)?;
        part.write(neighbor_stats::NAME, &quality.neighbor_stats)?;
        part.write(class_neighbors::NAME, &quality.class_neighbors)?;
        writer.commit(part)?;
    }
    let mut summary = summary(&work, &choice, by_index, audit)?;
    summary["label_agreement"] = json!(quality.all.label_agreement);
    summary["hubness"] = json!(quality.all.in_degree_skewness);
    work.bar.finish(&format!(
        "{} neighbours per image, {}",
        summary["k"],
        if by_index {
            "HNSW index"
        } else {
            "exact search"
        }
    ));
    Ok(Outcome {
        result: None,
        summary,
    })
}

impl Work<'_> {
    /// A callback that moves the bar from the first fraction of `within` to the second, and checks for cancellation.
    fn tick(&self, within: [f64; 2]) -> impl Fn(u64, u64) -> Result<()> + Sync + '_ {
        let [from, to] = within;
        move |done, total| {
            let share = from + (to - from) * done as f64 / total.max(1) as f64;
            self.bar.set_done((share * self.rows as f64) as u64);
            self.ctx.cancel.check()
        }
    }

    fn block(&self, features: &Features) -> Result<Block> {
        Block::new(
            features.image_ids.clone(),
            &features.values,
            features.dimension,
            self.ctx.config.neighbors.metric,
            self.device,
        )
    }

    /// Part 0: the index. Part 1: its audit and the repaired neighbours; no neighbours if the recall is too low.
    fn search_by_index(&self, writer: &mut StageWriter) -> Result<()> {
        if writer.has_part(1) {
            return Ok(());
        }
        let settings = &self.ctx.config.neighbors;
        let (features, _) = read_features(self.ctx.run, &self.manifest)?;
        let block = self.block(&features)?;
        drop(features);
        let files = hnsw::FILES.map(|file| format!("{INDEX}/{file}"));
        let index = if writer.has_part(0) && !block.is_empty() {
            load_index(self.ctx.run, &self.ctx.run.manifest()?)?
        } else {
            Index::build(&block, &self.tick([0.0, 0.7]))?
        };
        if !writer.has_part(0) {
            let mut part = writer.part(0)?;
            // hnsw_rs cannot write an index without points.
            if !block.is_empty() {
                let names: Vec<&str> = files.iter().map(String::as_str).collect();
                part.files_by(&names, |folder| index.save(folder))?;
            }
            writer.commit(part)?;
        }
        let chosen = audit::choose_ef(&index, &block, settings.k, settings.min_recall)?;
        let accepted = chosen.1 >= settings.min_recall;
        let mut part = writer.part(1)?;
        let audit = if accepted {
            let found = audit::graph(&index, &block, settings.k, chosen, &self.tick([0.7, 1.0]))?;
            let lists = (block.ids().iter()).zip(&found.nearest).zip(&found.exact);
            let lists = lists.map(|((id, nearest), exact)| (*id, nearest.items(), *exact));
            tables::write_neighbors(&mut part, neighbors::NAME, lists)?;
            found.audit
        } else {
            let (ef, recall, sample) = chosen;
            Audit {
                ef,
                recall,
                sample,
                self_recall: f64::NAN,
                unreachable: 0,
                repaired: 0,
            }
        };
        part.write(index_audit::NAME, &tables::audit(&audit, accepted)?)?;
        writer.commit(part)
    }

    /// Writes parts from `first` on; returns the number after the last.
    fn search_exactly(&self, writer: &mut StageWriter, first: usize) -> Result<usize> {
        let size = self.ctx.config.neighbors.block_size;
        let blocks = self.rows.div_ceil(size);
        let pairs: Vec<(usize, usize)> = (0..blocks)
            .flat_map(|a| (a..blocks).map(move |b| (a, b)))
            .collect();
        let merging = if blocks > 1 { blocks } else { 0 };
        let last = first + pairs.len().max(1) + merging;
        writer.set_parts_total(last + 1)?;
        if pairs.is_empty() && !writer.has_part(first) {
            let mut part = writer.part(first)?;
            tables::write_neighbors(&mut part, neighbors::NAME, std::iter::empty())?;
            writer.commit(part)?;
        }
        let share = |done: usize| done as f64 / pairs.len() as f64;
        for a in 0..blocks {
            let wanted = |at: usize| pairs[at].0 == a && !writer.has_part(first + at);
            if !(0..pairs.len()).any(wanted) {
                continue;
            }
            // One pass over the features pairs block a with itself and all blocks after it.
            let mut block_a: Option<Block> = None;
            let reader = FeatureReader::new(self.ctx.run, &self.manifest, size);
            for (b, features) in reader.enumerate() {
                let features = features?;
                let Some(at) = pairs.iter().position(|pair| *pair == (a, b)) else {
                    continue;
                };
                let is_first = b == a;
                if !is_first && writer.has_part(first + at) {
                    continue;
                }
                let block = self.block(&features)?;
                drop(features);
                let tick = self.tick([share(at), share(at + 1)]);
                if writer.has_part(first + at) {
                    block_a = Some(block);
                    continue;
                }
                let mut part = writer.part(first + at)?;
                let k = self.ctx.config.neighbors.k;
                let table = if merging == 0 {
                    neighbors::NAME
                } else {
                    neighbor_candidates::NAME
                };
                match &block_a {
                    Some(block_a) => {
                        let [of_a, of_b] = exact::between(block_a, &block, k, &tick)?;
                        let lists = listed(block_a.ids(), &of_a).chain(listed(block.ids(), &of_b));
                        tables::write_neighbors(&mut part, table, lists)?;
                    }
                    None => {
                        let lists = exact::within(&block, k, &tick)?;
                        tables::write_neighbors(&mut part, table, listed(block.ids(), &lists))?;
                    }
                }
                writer.commit(part)?;
                if is_first {
                    block_a = Some(block);
                }
            }
        }
        for block in 0..merging {
            let number = first + pairs.len() + block;
            if !writer.has_part(number) {
                self.ctx.cancel.check()?;
                let mut part = writer.part(number)?;
                let of_block = (0..pairs.len()).filter(|at| {
                    let (a, b) = pairs[*at];
                    a == block || b == block
                });
                let of_block: Vec<usize> = of_block.map(|at| first + at).collect();
                let ids = self.ids(block, size)?;
                let k = self.ctx.config.neighbors.k;
                let lists = tables::merge(self.ctx.run, &of_block, &ids, k)?;
                tables::write_neighbors(&mut part, neighbors::NAME, listed(&ids, &lists))?;
                writer.commit(part)?;
            }
        }
        Ok(last)
    }

    /// Image ids of a block.
    fn ids(&self, block: usize, size: usize) -> Result<Vec<u32>> {
        let mut reader = FeatureReader::new(self.ctx.run, &self.manifest, size);
        let features = reader.nth(block).transpose()?;
        Ok(features.map_or(Vec::new(), |features| features.image_ids))
    }
}

fn listed<'l>(
    ids: &'l [u32],
    lists: &'l [Nearest],
) -> impl Iterator<Item = (u32, &'l [Neighbor], bool)> {
    let lists = ids.iter().zip(lists);
    lists.map(|(id, nearest)| (*id, nearest.items(), true))
}

/// The run's index; its files' checksums are verified first.
///
/// # Errors
/// The run has no index, or its files are damaged.
pub fn load_index(run: &RunFolder, manifest: &Manifest) -> Result<Index> {
    let files = manifest.stages.get(STAGE.name).into_iter();
    let files: Vec<_> = files
        .flat_map(|stage| stage.parts.values())
        .flat_map(|part| &part.files)
        .filter(|file| file.path.starts_with(INDEX))
        .collect();
    if files.len() != hnsw::FILES.len() {
        return Err(Error::Missing {
            what: format!("an index in {}", run.root().display()),
            next: "build one with `prospect run neighbors --set neighbors.method=hnsw`".into(),
        });
    }
    for file in files {
        check_bytes(run, file)?;
    }
    Index::load(&run.path(INDEX))
}

fn summary(
    work: &Work,
    choice: &Choice,
    by_index: bool,
    audit: Option<(Audit, bool)>,
) -> Result<Value> {
    let settings = &work.ctx.config.neighbors;
    let manifest = work.ctx.run.manifest()?;
    // A single image has no neighbours but is not left out.
    let images = tables::images(work.ctx.run, &manifest)?.max(work.rows.min(1));
    let mut summary = json!({
        "method": if by_index { "hnsw" } else { "exact" },
        "metric": settings.metric,
        "k": settings.k.min(images.saturating_sub(1)),
        "images": images,
        "left_out": work.rows.saturating_sub(images),
    });
    if choice.auto {
        let tenths = |time: Duration| (10.0 * time.as_secs_f64()).round() / 10.0;
        summary["exact_estimate_s"] = json!(tenths(choice.exact));
        summary["index_estimate_s"] = json!(tenths(choice.index));
    }
    if let Some((audit, _)) = audit {
        summary["recall"] = json!(audit.recall);
        summary["index_ef"] = json!(audit.ef);
        if by_index {
            summary["self_recall"] = json!(audit.self_recall);
            summary["unreachable"] = json!(audit.unreachable);
            summary["repaired"] = json!(audit.repaired);
        }
    }
    Ok(summary)
}
