//! The rows of `neighbors` and of what leads to it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arrow::array::{
    BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, RecordBatch, UInt32Array,
};
use prospect_analysis::space::neighbors::{Neighbor, audit::Audit, lists::Nearest};
use prospect_common::{Error, Result};
use prospect_engine::{
    Context,
    tables::columns::{Columns, integer, number, table},
};
use prospect_store::{Manifest, PartWriter, RunFolder};

/// Images whose rows are in memory at a time.
const IMAGES: usize = 8192;

/// Writes the lists of images, nearest first, as rows of rank 1, 2, …
pub(super) fn write_neighbors<'l>(
    part: &mut PartWriter,
    table: &str,
    lists: impl Iterator<Item = (u32, &'l [Neighbor], bool)>,
) -> Result<()> {
    let mut rows = Rows::default();
    for (at, (id, neighbors, exact)) in lists.enumerate() {
        if at > 0 && at % IMAGES == 0 {
            part.write(table, &std::mem::take(&mut rows).finish()?)?;
        }
        rows.push(id, neighbors, exact);
    }
    part.write(table, &rows.finish()?)
}

#[derive(Default)]
struct Rows {
    image_ids: Vec<u32>,
    ranks: Vec<i16>,
    neighbor_ids: Vec<u32>,
    distances: Vec<f32>,
    exact: Vec<bool>,
}

impl Rows {
    fn push(&mut self, id: u32, neighbors: &[Neighbor], exact: bool) {
        for (rank, neighbor) in neighbors.iter().enumerate() {
            self.image_ids.push(id);
            self.ranks.push(rank as i16 + 1);
            self.neighbor_ids.push(neighbor.id);
            self.distances.push(neighbor.distance);
            self.exact.push(exact);
        }
    }

    fn finish(self) -> Result<RecordBatch> {
        table([
            (
                "image_id",
                Arc::new(UInt32Array::from(self.image_ids)),
                false,
            ),
            ("rank", Arc::new(Int16Array::from(self.ranks)), false),
            (
                "neighbor_id",
                Arc::new(UInt32Array::from(self.neighbor_ids)),
                false,
            ),
            (
                "distance",
                Arc::new(Float32Array::from(self.distances)),
                false,
            ),
            ("exact", Arc::new(BooleanArray::from(self.exact)), false),
        ])
    }
}

/// The images and their neighbours in a batch with `image_id`, `neighbor_id` and `distance`, row by row.
pub fn read_edges(columns: &Columns) -> Result<Vec<(u32, Neighbor)>> {
    let (ids, distances) = (
        columns.integers("neighbor_id")?,
        columns.numbers("distance")?,
    );
    let edge = |(row, image): (usize, u32)| {
        let id = u32::try_from(integer(&ids, row)?).ok()?;
        let distance = number(&distances, row)? as f32;
        Some((image, Neighbor { id, distance }))
    };
    (columns.image_ids()?.into_iter().enumerate())
        .map(edge)
        .collect::<Option<_>>()
        .ok_or_else(|| columns.unexpected("neighbours and their distances", "nulls"))
}

/// The `most` nearest neighbours of the wanted images, nearest first; no image without the table.
pub fn nearest_of(
    ctx: &Context,
    manifest: &Manifest,
    wanted: &HashSet<u32>,
    most: usize,
) -> Result<HashMap<u32, Vec<u32>>> {
    let mut found: HashMap<u32, Vec<u32>> = HashMap::new();
    if wanted.is_empty() || !manifest.has("neighbors") {
        return Ok(found);
    }
    let columns = ["image_id", "neighbor_id", "distance"];
    for batch in ctx.run.read(manifest, "neighbors").columns(&columns) {
        let batch = batch?;
        ctx.cancel.check()?;
        for (id, neighbor) in read_edges(&Columns::of(ctx.run, "neighbors", &batch))? {
            if wanted.contains(&id) {
                let near = found.entry(id).or_default();
                if near.len() < most {
                    near.push(neighbor.id);
                }
            }
        }
    }
    Ok(found)
}

/// The k nearest of each image among what some parts of the candidates hold.
pub(super) fn merge(
    run: &RunFolder,
    parts: &[usize],
    ids: &[u32],
    k: usize,
) -> Result<Vec<Nearest>> {
    let manifest = run.manifest()?;
    let places: HashMap<u32, usize> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    let mut lists = vec![Nearest::new(k); ids.len()];
    for part in parts {
        let columns = ["image_id", "neighbor_id", "distance"];
        let reader = (run.read(&manifest, super::CANDIDATES)).columns(&columns);
        for batch in reader.part(*part) {
            let batch = batch?;
            let columns = Columns::of(run, super::CANDIDATES, &batch);
            for (id, neighbor) in read_edges(&columns)? {
                if let Some(place) = places.get(&id) {
                    lists[*place].offer(neighbor);
                }
            }
        }
    }
    Ok(lists)
}

/// The one row of `index_audit`.
pub(super) fn audit(audit: &Audit, accepted: bool) -> Result<RecordBatch> {
    let number = |value: f64| {
        let value = value.is_finite().then_some(value);
        Arc::new(Float64Array::from(vec![value])) as _
    };
    let count = |value: usize| Arc::new(Int32Array::from(vec![value as i32])) as _;
    table([
        ("ef", count(audit.ef), false),
        ("recall", number(audit.recall), true),
        ("sample", count(audit.sample), false),
        ("self_recall", number(audit.self_recall), true),
        ("unreachable", count(audit.unreachable), false),
        ("repaired", count(audit.repaired), false),
        (
            "accepted",
            Arc::new(BooleanArray::from(vec![accepted])),
            false,
        ),
    ])
}

/// What the audit of the index found, and whether the index is good enough.
pub(super) fn read_audit(run: &RunFolder, manifest: &Manifest) -> Result<(Audit, bool)> {
    const TABLE: &str = "index_audit";
    let batch = run.read(manifest, TABLE).next().transpose()?;
    let batch = batch.ok_or_else(|| Error::Missing {
        what: "the audit of the index".into(),
        next: "run `prospect run neighbors` again".into(),
    })?;
    let columns = Columns::of(run, TABLE, &batch);
    let whole = |name: &str| -> Result<usize> {
        let value = integer(&columns.integers(name)?, 0);
        Ok(value
            .and_then(|value| usize::try_from(value).ok())
            .unwrap_or(0))
    };
    let share =
        |name: &str| -> Result<f64> { Ok(number(&columns.numbers(name)?, 0).unwrap_or(f64::NAN)) };
    let audit = Audit {
        ef: whole("ef")?,
        recall: share("recall")?,
        sample: whole("sample")?,
        self_recall: share("self_recall")?,
        unreachable: whole("unreachable")?,
        repaired: whole("repaired")?,
    };
    Ok((audit, whole("accepted")? == 1))
}

/// How many images have neighbours.
pub(super) fn images(run: &RunFolder, manifest: &Manifest) -> Result<usize> {
    const TABLE: &str = "neighbors";
    let mut images = 0;
    for batch in run.read(manifest, TABLE).columns(&["rank"]) {
        let batch = batch?;
        let ranks = Columns::of(run, TABLE, &batch).integers("rank")?;
        images += ranks.iter().filter(|rank| *rank == Some(1)).count();
    }
    Ok(images)
}
