//! Explanation overlays for the large pictures, drawn from the stored maps.

use std::collections::{BTreeMap, HashMap, HashSet};

use prospect_common::Result;
use prospect_engine::{
    schema::{explanations, predictions},
    tables::{classes::name_of, files::File, layers::input_spec},
};
use prospect_model::CamMethod;
use prospect_store::PartWriter;

use super::{
    super::explain::pictures::{MapChoice, Overlay, draw},
    frame::Frame,
    images::SHARD,
};

/// Layer and method of the first row, whose maps are shown.
fn first(frame: &Frame) -> Result<Option<(String, CamMethod)>> {
    if !frame.manifest.has(explanations::NAME) {
        return Ok(None);
    }
    let columns = (explanations::layer, explanations::method);
    let rows = (frame.ctx.run).rows(&frame.manifest, columns);
    for batch in rows.batch_rows(1) {
        if let Some((layer, method)) = batch?.iter().next() {
            let method = method.parse::<CamMethod>().ok();
            return Ok(method.map(|method| (layer.to_string(), method)));
        }
    }
    Ok(None)
}

/// Draws the overlays of the wanted images; returns their paths relative to the pages.
pub fn draw_all(
    frame: &Frame,
    wanted: &HashSet<u32>,
    images: &BTreeMap<u32, File>,
    files: &mut PartWriter,
) -> Result<HashMap<u32, String>> {
    let Some((layer, method)) = first(frame)? else {
        return Ok(HashMap::new());
    };
    let (run, manifest) = (frame.ctx.run, &frame.manifest);
    let columns = (
        predictions::image_id,
        predictions::p_pred,
        predictions::p_label,
    );
    let mut overlays = Vec::new();
    for batch in run.rows(manifest, columns) {
        for (image_id, p_pred, p_label) in batch?.iter() {
            if wanted.contains(&image_id) {
                overlays.push(Overlay {
                    image_id,
                    path: format!("report/overlays/{:03}/{image_id:06}.png", image_id / SHARD),
                    label: (images.get(&image_id)).and_then(|file| file.label.clone()),
                    p_pred: p_pred.into(),
                    p_label: p_label.map(f64::from),
                });
            }
        }
    }
    let network = &frame.names.network;
    let last = network.keys().max().map_or(0, |last| last + 1);
    let classes: Vec<String> = (0..last).map(|class| name_of(network, class)).collect();
    let spec = input_spec(manifest)?;
    let choice = MapChoice {
        layer: &layer,
        method,
        classes: &classes,
        spec: &spec,
    };
    let (drawn, _) = draw(frame.ctx, manifest, &choice, &overlays, files, |_| ())?;
    let paths = drawn
        .into_iter()
        .map(|id| (id, format!("overlays/{:03}/{id:06}.png", id / SHARD)));
    Ok(paths.collect())
}
