//! Where the network looked, in the images that the pages show large: drawn from the stored maps.

use std::collections::{HashMap, HashSet};

use prospect_common::Result;
use prospect_engine::tables::{
    columns::{Columns, number, text},
    layers,
};
use prospect_model::CamMethod;
use prospect_store::PartWriter;

use super::{
    super::explain::pictures::{Chosen, Shown, draw},
    frame::Frame,
    images::SHARD,
};

/// The layer and method whose maps are shown: those of the first row.
fn first(frame: &Frame) -> Result<Option<(String, CamMethod)>> {
    const TABLE: &str = "explanations";
    if !frame.manifest.has(TABLE) {
        return Ok(None);
    }
    let run = frame.ctx.run;
    for batch in run
        .read(&frame.manifest, TABLE)
        .columns(&["layer", "method"])
    {
        let batch = batch?;
        let columns = Columns::of(run, TABLE, &batch);
        let (layers, methods) = (columns.texts("layer")?, columns.texts("method")?);
        if let (Some(layer), Some(method)) = (text(&layers, 0), text(&methods, 0)) {
            let method = method.parse::<CamMethod>().ok();
            return Ok(method.map(|method| (layer.to_string(), method)));
        }
    }
    Ok(None)
}

/// Draws the overlays of the wanted images and says where each lies, from the pages' folder.
pub fn draw_all(
    frame: &Frame,
    wanted: &[u32],
    labels: &HashMap<u32, String>,
    files: &mut PartWriter,
) -> Result<HashMap<u32, String>> {
    let Some((layer, method)) = first(frame)? else {
        return Ok(HashMap::new());
    };
    let ids: HashSet<u32> = wanted.iter().copied().collect();
    let (run, manifest) = (frame.ctx.run, &frame.manifest);
    let mut chosen = Vec::new();
    for batch in run
        .read(manifest, "predictions")
        .columns(&["image_id", "p_pred", "p_label"])
    {
        let batch = batch?;
        let columns = Columns::of(run, "predictions", &batch);
        let (p_pred, p_label) = (columns.numbers("p_pred")?, columns.numbers("p_label")?);
        for (row, image_id) in columns.image_ids()?.into_iter().enumerate() {
            if ids.contains(&image_id) {
                chosen.push(Chosen {
                    image_id,
                    path: format!("report/overlays/{:03}/{image_id:06}.png", image_id / SHARD),
                    label: labels.get(&image_id).cloned(),
                    p_pred: number(&p_pred, row).unwrap_or(0.0),
                    p_label: number(&p_label, row),
                });
            }
        }
    }
    let last = frame.names.network.keys().max().map_or(0, |last| last + 1);
    let classes: Vec<String> = (0..last)
        .map(|class| {
            frame
                .names
                .network
                .get(&class)
                .cloned()
                .unwrap_or_else(|| format!("class {class}"))
        })
        .collect();
    let spec = layers::input_spec(manifest)?;
    let shown = Shown {
        layer: &layer,
        method,
        classes: &classes,
        spec: &spec,
    };
    let (drawn, _) = draw(frame.ctx, manifest, &shown, &chosen, files)?;
    let paths = drawn
        .into_iter()
        .map(|id| (id, format!("overlays/{:03}/{id:06}.png", id / SHARD)));
    Ok(paths.collect())
}
