//! Runs the network over each image once: `predictions`, `features`, `units`, `maps`, `layers`, and `extracted`, by which later
//! runs reuse rows. Images whose rows can be reused are not run again.

mod batches;
mod clocks;
mod columns;
mod estimate;
mod image_row;
mod inline;
mod messages;
mod network;
mod pipeline;
mod reuse;

use prospect_common::{Complaint, Complaints, Result};
use prospect_config::{Config, MapStorage};
use prospect_dataset::image::InputSpec;
use prospect_engine::{
    Context, Needs, Outcome, Stage,
    schema::{cams, extracted, features, layers, maps, predictions, units},
};
use prospect_model::{
    Layer, ModelInfo,
    device::{self, DeviceChoice},
    executor::Precision,
    forward::{Forward, Wanted},
    units::MAX_CELLS,
};
use prospect_store::StageWriter;
use serde_json::{Value, json};

use self::inline::Inline;
use super::explain::rows::Choice as Explained;

pub const STAGE: Stage = Stage {
    name: "extract",
    version: 2,
    about: "decode every image, run the network",
    needs: Needs::Named(&["scan"]),
    writes: &[
        &predictions::TABLE,
        &features::TABLE,
        &units::TABLE,
        &maps::TABLE,
        &cams::TABLE,
        &layers::TABLE,
        &extracted::TABLE,
    ],
    findings: None,
    reuse: Some(&["part_size"]),
    parameters,
    estimate: estimate::estimate,
    run,
};

/// Checked settings.
struct Choice {
    spec: InputSpec,
    wanted: Wanted,
    explained: Explained,
}

fn choose(config: &Config, model: &ModelInfo) -> Result<Choice> {
    let mut complaints = Complaints::default();
    let units = complaints.keep(model.layers(&config.extract.layers))?;
    let units = units.unwrap_or_default();
    let feature = complaints.keep(model.feature(&config.extract.feature_layer))?;
    for layer in &units {
        if let Some([_, _, Some(rows), Some(cols)]) = model.graph.shape(layer.value)
            && rows * cols > MAX_CELLS
        {
            let message = format!(
                "{} has {rows}x{cols} cells, more than the {MAX_CELLS} that the argmax column can index; name a \
                 deeper layer",
                layer.name
            );
            complaints.push(Complaint::setting("extract", "layers", message));
        }
    }
    let explained = complaints.keep(Explained::new(&config.explain, model))?;
    let spec = complaints.keep(model.input_spec(&config.input))?;
    let (Some(spec), Some(feature), Some(explained)) = (spec, feature, explained) else {
        return Err(complaints.into());
    };
    complaints.into_result()?;
    Ok(Choice {
        spec,
        wanted: Wanted {
            feature,
            units,
            maps: explained.maps(),
        },
        explained,
    })
}

/// The kind of device, which is part of the key because last bits differ between kinds; the index is not.
fn device_kind(choice: DeviceChoice) -> Result<&'static str> {
    Ok(if device::choose(choice)?.is_cuda() {
        "cuda"
    } else {
        "cpu"
    })
}

fn parameters(ctx: &Context) -> Result<Value> {
    let model = ctx.model()?;
    let choice = choose(ctx.config, model)?;
    let names = |layers: &[Layer]| {
        layers
            .iter()
            .map(|layer| layer.name.clone())
            .collect::<Vec<_>>()
    };
    let kind = device_kind(ctx.config.model.device)?;
    if kind == "cpu" && ctx.config.model.dtype == Precision::BFloat16 {
        let predicate = "= \"bfloat16\" needs a CUDA device (a CPU computes it several times slower than float32); \
                         use dtype = \"float32\"";
        return Err(Complaint::predicate("model", "dtype", predicate).into());
    }
    let inline = ctx.config.explain.maps == MapStorage::Inline;
    Ok(json!({
        "model": model.digest,
        "classes": blake3::hash(model.classes().join("\n").as_bytes()).to_hex()[..16],
        "input": choice.spec,
        "layers": names(&choice.wanted.units),
        "feature_layer": choice.wanted.feature.name,
        "maps": if inline { Vec::new() } else { names(&choice.wanted.maps) },
        "inline": inline.then(|| choice.explained.parameters()),
        "part_size": ctx.config.extract.part_size,
        // Kernels depend on the batch size: the last bits differ.
        "batch_size": ctx.config.model.batch_size,
        "dtype": ctx.config.model.dtype,
        "device": kind,
        "exif_orientation": ctx.config.images.exif_orientation,
        "depth": ctx.config.images.depth,
        "max_pixels": ctx.config.images.max_pixels,
    }))
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    let model = ctx.model()?;
    let choice = choose(ctx.config, model)?;
    let device = device::choose(ctx.config.model.device)?;
    let network = model.load(device, ctx.config.model.dtype)?;
    let forward = Forward::new(&network, &choice.wanted, choice.spec.mean, choice.spec.std)?;
    let decode = ctx.config.images.decode_options();
    let inline = match ctx.config.explain.maps {
        MapStorage::Stored => None,
        MapStorage::Inline => {
            let explainers = choice
                .explained
                .explainers(model, ctx.config.model.device)?;
            Some(Inline::new(choice.explained, explainers, model))
        }
    };
    let cams = inline.as_ref().map(Inline::layers);
    let tables = columns::Tables::new(model, &choice.wanted, cams);
    let by_label = inline.as_ref().is_some_and(Inline::by_label);
    let network = network::Network {
        forward,
        inline,
        batch_size: ctx.config.model.batch_size,
    };
    let earlier = reuse::EarlierRows::read(ctx, &STAGE, &parameters(ctx)?, by_label)?;
    let work = pipeline::Work {
        network: &network,
        streams: (!device.is_cuda()).then(|| ctx.config.model.streams()),
        spec: &choice.spec,
        decode: &decode,
        tables: &tables,
    };
    let report = pipeline::run(ctx, writer, &work, earlier)?;
    tracing::info!(
        "extract: {:.1} images/s on {}; {}",
        report.images_per_second(),
        device::name(device),
        report.busy_text()
    );
    let mut summary = report.summary();
    let record = writer.record();
    let (all, reused) = (record.rows(extracted::NAME), record.reused());
    if let Some(map) = summary.as_object_mut() {
        // Of all processes that worked on the stage.
        map.insert("images".into(), json!(all));
        if reused > 0 {
            map.insert("through_the_network".into(), json!(all - reused));
            map.insert("reused".into(), json!(reused));
        }
        if record.unread() > 0 {
            map.insert("unread".into(), json!(record.unread()));
        }
        map.insert("device".into(), json!(device::name(device)));
        map.insert("dtype".into(), json!(ctx.config.model.dtype));
        map.insert(
            "network".into(),
            json!(prospect_model::inspect::file_name(&model.path)),
        );
        map.insert("feature_layer".into(), json!(choice.wanted.feature.name));
    }
    Ok(Outcome {
        result: None,
        summary,
    })
}
