//! Maps made anew, and how well maps keep neighbourhoods.

use prospect_analysis::space::{
    neighbors::{Graph, Metric, exact},
    projection::{
        layout::Fitted,
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

/// A map and what is to be said of it.
#[derive(Default)]
pub struct Made {
    pub map: Map,
    /// Shares of the variance along its axes, of the linear ones.
    pub ratios: Option<[f64; 2]>,
    pub kl: Option<f64>,
    pub perplexity: Option<f64>,
}

/// The map of all images by one method. `scores`: `[n, pca.len()]`, the images' principal components.
pub fn fit(inputs: &Inputs, method: ProjectionMethod, pca: &Pca, scores: &[f32]) -> Result<Made> {
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
            let found = pca_linfa(&features.values, features.dimension, settings.components)?;
            return Ok(linear(&found.scores, &found.variance_ratio, inputs.n()));
        }
        // Images that are all alike lie in one place.
        ProjectionMethod::Tsne | ProjectionMethod::TsneLinfa if pca.is_empty() => {
            return Ok(Made::new(start, inputs.n()));
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
            Fitted { kl, ..fitted }
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
    Ok(Made {
        kl: fitted.kl,
        perplexity: fitted.perplexity,
        ..Made::new(fitted.xy, inputs.n())
    })
}

impl Made {
    fn new(xy: Vec<f32>, n: usize) -> Made {
        let map = Map {
            xy,
            z: None,
            placed: vec![false; n],
        };
        Made {
            map,
            ..Made::default()
        }
    }

    /// How well it keeps the neighbourhoods of the features.
    pub fn quality(&self, inputs: &Inputs) -> Quality {
        let ctx = inputs.ctx;
        let features = &inputs.features;
        let judged = quality(
            &features.values,
            features.dimension,
            &self.map.xy,
            ctx.config.neighbors.k,
            ctx.config.project.seed,
        );
        Quality {
            trustworthiness: judged.map(|judged| judged.trustworthiness),
            knn_preservation: judged.map(|judged| judged.knn_preservation),
            k: judged.map_or(0, |judged| judged.k),
            kl: self.kl,
            perplexity: self.perplexity,
            n: inputs.n(),
            sampled: judged.map_or(0, |judged| judged.sampled),
        }
    }
}

/// The first three of the scores; axes that are missing are 0.
fn linear(scores: &[f32], ratios: &[f64], n: usize) -> Made {
    let m = ratios.len();
    let ratio = |axis: usize| ratios.get(axis).copied().unwrap_or(0.0);
    let z = (m > 2).then(|| scores.iter().skip(2).step_by(m).copied().collect());
    let made = Made::new(columns(scores, m, n), n);
    Made {
        map: Map { z, ..made.map },
        ratios: Some([ratio(0), ratio(1)]),
        ..made
    }
}

/// The first two columns of `[n, m]`; columns that are missing are 0.
fn columns(scores: &[f32], m: usize, n: usize) -> Vec<f32> {
    let score = |at: usize| scores.get(at).copied().unwrap_or(0.0);
    (0..n)
        .flat_map(|row| [0, 1].map(|axis| if axis < m { score(row * m + axis) } else { 0.0 }))
        .collect()
}

/// As many neighbours in the space of the principal components as t-SNE wants, by exact search.
fn score_neighbors(inputs: &Inputs, pca: &Pca, scores: &[f32]) -> Result<Graph> {
    let k = neighbors_needed(inputs.n(), inputs.ctx.config.project.perplexity);
    let phase = Phase::new(inputs.ctx, "neighbours for t-SNE", "tiles");
    let tick = |done, total| phase.at(done, total);
    exact::graph(scores, pca.len(), k, Metric::L2, inputs.device, &tick)
}

/// Whether the table `neighbors` has as many neighbours as UMAP wants.
pub fn table_suffices(inputs: &Inputs) -> bool {
    let wanted = inputs.ctx.config.project.n_neighbors - 1;
    inputs.graph.k >= wanted.min(inputs.n().saturating_sub(1))
}

/// Neighbours for UMAP, by exact search in the space of the features, where the table `neighbors` has too few.
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
