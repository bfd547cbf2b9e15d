//! Fits projections, and measures how well they preserve neighbourhoods.

use prospect_analysis::space::{
    neighbors::{Graph, Metric, exact},
    projection::{
        layout::Layout,
        linfa::{pca_linfa, tsne_linfa},
        pca::Pca,
        quality::quality,
        tsne::{TsneSettings, kl_divergence, neighbors_needed, tsne},
        umap::{UmapSettings, umap},
    },
};
use prospect_common::Result;
use prospect_config::ProjectionMethod;

use super::{
    inputs::{Inputs, Phase},
    tables::{Map, Quality},
};

/// A map with its fit statistics.
#[derive(Default)]
pub struct FittedMap {
    pub map: Map,
    /// Variance ratios of the two axes, of a linear method.
    pub ratios: Option<[f64; 2]>,
    pub kl: Option<f64>,
    pub perplexity: Option<f64>,
}

/// Fits the map of all images by one method. `scores`: `[n, pca.len()]`, the images' principal component scores.
pub fn fit(
    inputs: &Inputs,
    method: ProjectionMethod,
    pca: &Pca,
    scores: &[f32],
) -> Result<FittedMap> {
    let settings = &inputs.ctx.config.project;
    let start = columns(scores, pca.len(), inputs.n());
    let phase = Phase::new(inputs.ctx, method.name(), "epochs");
    let mut epoch = |done: usize, total: usize| phase.at(done as u64, total as u64);
    let fitted = match method {
        ProjectionMethod::Pca => {
            return Ok(linear(scores, &pca.variance_ratio, inputs.n()));
        }
        ProjectionMethod::PcaLinfa => {
            let features = &inputs.features;
            let pca = pca_linfa(&features.values, features.dimension, settings.components)?;
            return Ok(linear(&pca.scores, &pca.variance_ratio, inputs.n()));
        }
        // Identical images have no components; all lie at the origin.
        ProjectionMethod::Tsne | ProjectionMethod::TsneLinfa if pca.is_empty() => {
            return Ok(FittedMap::new(start, inputs.n()));
        }
        ProjectionMethod::Tsne => {
            let neighbors = score_neighbors(inputs, pca, scores)?;
            let settings = TsneSettings {
                perplexity: settings.perplexity,
                seed: settings.seed,
            };
            tsne(&neighbors, &start, &settings, &mut epoch)?
        }
        ProjectionMethod::TsneLinfa => {
            let fitted = tsne_linfa(scores, pca.len(), settings.perplexity)?;
            let neighbors = score_neighbors(inputs, pca, scores)?;
            let kl = kl_divergence(&neighbors, settings.perplexity, &fitted.xy)?;
            Layout { kl, ..fitted }
        }
        ProjectionMethod::Umap => {
            let settings = UmapSettings {
                n_neighbors: settings.n_neighbors,
                min_dist: settings.min_dist,
                seed: settings.seed,
            };
            match umap_neighbors(inputs)? {
                Some(neighbors) => umap(&neighbors, &start, &settings, &mut epoch)?,
                None => umap(&inputs.graph, &start, &settings, &mut epoch)?,
            }
        }
    };
    Ok(FittedMap {
        kl: fitted.kl,
        perplexity: fitted.perplexity,
        ..FittedMap::new(fitted.xy, inputs.n())
    })
}

impl FittedMap {
    fn new(xy: Vec<f32>, n: usize) -> FittedMap {
        let map = Map {
            xy,
            z: None,
            placed: vec![false; n],
        };
        FittedMap {
            map,
            ..FittedMap::default()
        }
    }

    /// How well the map preserves the neighbourhoods in feature space.
    pub fn quality(&self, inputs: &Inputs) -> Quality {
        let ctx = inputs.ctx;
        let features = &inputs.features;
        let measured = quality(
            &features.values,
            features.dimension,
            &self.map.xy,
            ctx.config.neighbors.k,
            ctx.config.project.seed,
        );
        Quality {
            trustworthiness: measured.map(|measured| measured.trustworthiness),
            knn_preservation: measured.map(|measured| measured.knn_preservation),
            k: measured.map_or(0, |measured| measured.k),
            kl: self.kl,
            perplexity: self.perplexity,
            n: inputs.n(),
            sampled: measured.map_or(0, |measured| measured.sampled),
        }
    }
}

/// A map of the first three scores; missing axes are 0.
fn linear(scores: &[f32], ratios: &[f64], n: usize) -> FittedMap {
    let m = ratios.len();
    let ratio = |axis: usize| ratios.get(axis).copied().unwrap_or(0.0);
    let z = (m > 2).then(|| scores.iter().skip(2).step_by(m).copied().collect());
    let fitted = FittedMap::new(columns(scores, m, n), n);
    FittedMap {
        map: Map { z, ..fitted.map },
        ratios: Some([ratio(0), ratio(1)]),
        ..fitted
    }
}

/// The first two columns of `[n, m]`; missing columns are 0.
fn columns(scores: &[f32], m: usize, n: usize) -> Vec<f32> {
    let score = |at: usize| scores.get(at).copied().unwrap_or(0.0);
    (0..n)
        .flat_map(|row| [0, 1].map(|axis| if axis < m { score(row * m + axis) } else { 0.0 }))
        .collect()
}

/// The neighbours that t-SNE needs, by exact search in principal component space.
fn score_neighbors(inputs: &Inputs, pca: &Pca, scores: &[f32]) -> Result<Graph> {
    let k = neighbors_needed(inputs.n(), inputs.ctx.config.project.perplexity);
    let phase = Phase::new(inputs.ctx, "neighbours for t-SNE", "tiles");
    let tick = |done, total| phase.at(done, total);
    exact::graph(scores, pca.len(), k, Metric::L2, inputs.device, &tick)
}

/// Whether the table `neighbors` has enough neighbours for UMAP.
pub fn table_suffices(inputs: &Inputs) -> bool {
    let wanted = inputs.ctx.config.project.n_neighbors - 1;
    inputs.graph.k >= wanted.min(inputs.n().saturating_sub(1))
}

/// Neighbours for UMAP by exact search in feature space; None if the table `neighbors` has enough.
fn umap_neighbors(inputs: &Inputs) -> Result<Option<Graph>> {
    if table_suffices(inputs) {
        return Ok(None);
    }
    let phase = Phase::new(inputs.ctx, "neighbours for UMAP", "tiles");
    let tick = |done, total| phase.at(done, total);
    let config = inputs.ctx.config;
    let graph = exact::graph(
        &inputs.features.values,
        inputs.features.dimension,
        config.project.n_neighbors - 1,
        config.neighbors.metric,
        inputs.device,
        &tick,
    )?;
    Ok(Some(graph))
}
