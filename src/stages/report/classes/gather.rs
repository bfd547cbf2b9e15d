//! Reads the classes from the tables: their predictions, neighbours and mean explanation maps. Nothing is formatted here.

use std::collections::{BTreeMap, HashMap};

use prospect_analysis::audit::groups::Tally;
use prospect_common::Result;
use prospect_engine::{
    Context,
    schema::{class_overlap, explanations, predictions, probe},
    tables::classes::{ClassNames, labels, name_of},
};
use prospect_store::{Manifest, declare::Column};

/// Rows in memory at a time.
const BATCH_ROWS: usize = 65_536;
/// Images kept per cell of the confusion matrix.
pub const OF_CELL: usize = 48;
/// Wrong predictions kept per class, and classes of its neighbours.
const CONFUSED: usize = 24;
const OVERLAPPING: usize = 6;

/// Source of the predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The network, for labels with the names of its classes.
    Network,
    /// The cross-validated linear probe on its features, or another source set by `[audit] source`.
    Probe,
}

#[derive(Debug, Default)]
pub struct Classes {
    /// `None` if nothing predicts these labels.
    pub source: Option<Source>,
    /// The classes that occur as labels, by number.
    pub classes: Vec<Class>,
    /// Predicted classes that are not labels, numbered after `classes`.
    pub other_classes: Vec<String>,
    /// Ordered by `from`, then by number of images, largest first, ties with the correct cell first; per `from` at most
    /// [`CONFUSED`] and itself.
    pub cells: Vec<Cell>,
    /// Number of classes without a network class of the same name, if the network is the source.
    pub unknown: usize,
    /// Method and layer of the mean maps, as in `gradcam at layer4`.
    pub map_of: Option<String>,
}

#[derive(Debug, Default)]
pub struct Class {
    pub number: i32,
    pub name: String,
    pub tally: Tally,
    /// Fraction of neighbours with the same label.
    pub own_neighbors: Option<f64>,
    /// Labels of the other neighbours (index, fraction), most frequent first.
    pub overlap: Vec<(usize, f64)>,
    /// Mean of the class's explanation maps, each scaled to its own maximum.
    pub map: Option<MeanMap>,
}

/// Values in 0..=1.
#[derive(Debug, Clone, PartialEq)]
pub struct MeanMap {
    pub height: usize,
    pub width: usize,
    pub values: Vec<f64>,
    /// Number of images averaged.
    pub images: u64,
}

/// A cell of the confusion matrix: `from` is an index into `classes`, `to` into `classes` followed by `other_classes`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub from: usize,
    pub to: usize,
    pub n: u64,
    /// At most [`OF_CELL`]: mistakes with the most confident first, correct predictions with the least confident first.
    pub images: Vec<u32>,
}

impl Classes {
    pub fn of_run(ctx: &Context, manifest: &Manifest) -> Result<Classes> {
        let names = ClassNames::read(ctx.run, manifest)?;
        let labels = labels(ctx.run, manifest)?;
        let mut images: BTreeMap<i32, u64> = BTreeMap::new();
        for label in labels.iter().flatten() {
            *images.entry(*label).or_default() += 1;
        }
        let classes = (images.into_iter()).map(|(number, images)| Class {
            number,
            name: name_of(&names.dataset, number),
            tally: Tally {
                images,
                ..Tally::default()
            },
            ..Class::default()
        });
        let mut found = Classes {
            classes: classes.collect(),
            ..Classes::default()
        };
        let place_of: HashMap<i32, usize> = (found.classes.iter().enumerate())
            .map(|(at, class)| (class.number, at))
            .collect();
        let place: Vec<Option<usize>> = (labels.iter())
            .map(|label| label.and_then(|label| place_of.get(&label).copied()))
            .collect();
        let network = names.network_of_dataset();
        let known = network
            .keys()
            .filter(|label| place_of.contains_key(label))
            .count();
        if manifest.has(predictions::NAME) && 2 * known > found.classes.len() {
            let of_network =
                (network.iter()).filter_map(|(label, class)| Some((*class, *place_of.get(label)?)));
            let of_network: HashMap<i32, usize> = of_network.collect();
            found.unknown = found.classes.len() - known;
            let columns = (
                predictions::image_id,
                predictions::pred,
                predictions::p_pred,
                predictions::p_label,
            );
            let cells = found.tally(ctx, manifest, columns, &place, &of_network, &names)?;
            found.keep(cells, Source::Network);
        } else if manifest.has(probe::NAME) {
            let columns = (probe::image_id, probe::pred, probe::p_pred, probe::p_label);
            let cells = found.tally(ctx, manifest, columns, &place, &place_of, &names)?;
            found.keep(cells, Source::Probe);
        }
        found.read_overlap(ctx, manifest, &place_of)?;
        let network =
            (network.iter()).filter_map(|(label, class)| Some((*class, *place_of.get(label)?)));
        found.read_maps(ctx, manifest, &network.collect())?;
        Ok(found)
    }

    /// The tally over all classes.
    pub fn overall(&self) -> Tally {
        let mut all = Tally::default();
        for class in &self.classes {
            all.images += class.tally.images;
            all.evaluated += class.tally.evaluated;
            all.correct += class.tally.correct;
        }
        all
    }

    /// Tallies the images whose label is a class of the source; `columns` are the source's, `place` is indexed by image id,
    /// `place_of` by the source's class.
    fn tally(
        &mut self,
        ctx: &Context,
        manifest: &Manifest,
        columns: (Column<u32>, Column<i32>, Column<f32>, Column<Option<f32>>),
        place: &[Option<usize>],
        place_of: &HashMap<i32, usize>,
        names: &ClassNames,
    ) -> Result<BTreeMap<(usize, usize), CellImages>> {
        let mut cells: BTreeMap<(usize, usize), CellImages> = BTreeMap::new();
        let mut other_classes: HashMap<i32, usize> = HashMap::new();
        for batch in (ctx.run.rows(manifest, columns)).batch_rows(BATCH_ROWS) {
            ctx.cancel.check()?;
            for (id, predicted, p, p_label) in batch?.iter() {
                // A label outside the source's classes has no probability.
                let from = place.get(id as usize).copied().flatten();
                let Some(from) = from.filter(|_| p_label.is_some()) else {
                    continue;
                };
                let to = match place_of.get(&predicted) {
                    Some(place) => *place,
                    None => *other_classes.entry(predicted).or_insert_with(|| {
                        self.other_classes.push(name_of(&names.network, predicted));
                        self.classes.len() + self.other_classes.len() - 1
                    }),
                };
                let tally = &mut self.classes[from].tally;
                tally.evaluated += 1;
                tally.correct += u64::from(from == to);
                let order = if from == to { p } else { -p };
                cells.entry((from, to)).or_default().add(order, id);
            }
        }
        Ok(cells)
    }

    fn keep(&mut self, cells: BTreeMap<(usize, usize), CellImages>, source: Source) {
        let cells: Vec<Cell> = cells
            .into_iter()
            .map(|((from, to), gathered)| Cell {
                from,
                to,
                n: gathered.n,
                images: gathered.images(),
            })
            .collect();
        self.source = (!cells.is_empty()).then_some(source);
        for of_one in cells.chunk_by(|a, b| a.from == b.from) {
            let mut of_one = of_one.to_vec();
            // Stable: ties stay ordered by number.
            of_one.sort_by_key(|cell| (cell.from != cell.to, std::cmp::Reverse(cell.n)));
            of_one.truncate(1 + CONFUSED);
            of_one.sort_by_key(|cell| std::cmp::Reverse(cell.n));
            self.cells.extend(of_one);
        }
    }

    fn read_overlap(
        &mut self,
        ctx: &Context,
        manifest: &Manifest,
        place_of: &HashMap<i32, usize>,
    ) -> Result<()> {
        if !manifest.has(class_overlap::NAME) {
            return Ok(());
        }
        let columns = (
            class_overlap::class_a,
            class_overlap::class_b,
            class_overlap::share,
        );
        for batch in ctx.run.rows(manifest, columns) {
            for (a, b, share) in batch?.iter() {
                if let (Some(&a), Some(&b)) = (place_of.get(&a), place_of.get(&b)) {
                    if a == b {
                        self.classes[a].own_neighbors = Some(share.into());
                    } else {
                        self.classes[a].overlap.push((b, share.into()));
                    }
                }
            }
        }
        for class in &mut self.classes {
            class.overlap.sort_by(|x, y| y.1.total_cmp(&x.1));
            class.overlap.truncate(OVERLAPPING);
        }
        Ok(())
    }

    /// The mean map of each class, over the maps of one layer and method: those for the label or, where there are none, for the
    /// predicted class. `place_of` is indexed by the network's class.
    fn read_maps(
        &mut self,
        ctx: &Context,
        manifest: &Manifest,
        place_of: &HashMap<i32, usize>,
    ) -> Result<()> {
        if !manifest.has(explanations::NAME) || place_of.is_empty() {
            return Ok(());
        }
        for kind in ["label", "predicted"] {
            let how = (explanations::layer, explanations::method);
            let mut first = (ctx.run.rows(manifest, how))
                .only(explanations::class_kind, kind)
                .batch_rows(1);
            let Some(batch) = first.next() else { continue };
            let batch = batch?;
            let Some((layer, method)) = batch.iter().next() else {
                continue;
            };
            let columns = (
                explanations::class,
                explanations::height,
                explanations::width,
                explanations::map,
            );
            let rows = (ctx.run.rows(manifest, columns))
                .only(explanations::class_kind, kind)
                .only(explanations::layer, layer)
                .only(explanations::method, method);
            let mut sums: HashMap<usize, MeanMap> = HashMap::new();
            for batch in rows {
                ctx.cancel.check()?;
                for (class, height, width, map) in batch?.iter() {
                    // Stored maps are scaled by a positive factor, which dividing by the maximum cancels.
                    let max = map.iter().map(|value| value.to_f32()).fold(0.0, f32::max);
                    let Some(&place) = place_of.get(&class).filter(|_| max > 0.0) else {
                        continue;
                    };
                    let side = |side: i16| usize::try_from(side).unwrap_or(0);
                    let mean = sums.entry(place).or_insert_with(|| MeanMap {
                        height: side(height),
                        width: side(width),
                        values: vec![0.0; map.len()],
                        images: 0,
                    });
                    mean.images += 1;
                    for (sum, value) in mean.values.iter_mut().zip(map) {
                        *sum += f64::from(value.to_f32().max(0.0) / max);
                    }
                }
            }
            for (place, mut mean) in sums {
                let n = mean.images as f64;
                mean.values.iter_mut().for_each(|sum| *sum /= n);
                self.classes[place].map =
                    Some(mean).filter(|map| map.values.len() == map.height * map.width);
            }
            self.map_of = Some(format!("{method} at {layer}"));
            return Ok(());
        }
        Ok(())
    }
}

/// Keeps the images of a cell with the smallest order, one pass over them.
#[derive(Default)]
struct CellImages {
    n: u64,
    kept: Vec<(f32, u32)>,
}

impl CellImages {
    fn add(&mut self, order: f32, id: u32) {
        self.n += 1;
        self.kept.push((order, id));
        if self.kept.len() >= 4 * OF_CELL {
            self.prune();
        }
    }

    fn prune(&mut self) {
        self.kept
            .sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.kept.truncate(OF_CELL);
    }

    fn images(mut self) -> Vec<u32> {
        self.prune();
        self.kept.into_iter().map(|(_, id)| id).collect()
    }
}
