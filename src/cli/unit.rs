//! `prospect unit`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use prospect_common::{Error, text};
use prospect_engine::{Context, progress::Cancel};
use prospect_queries::unit::{UnitFacts, picture_name, unit_facts, unit_sheet};
use prospect_stages::STAGES;
use prospect_store::RunFolder;
use serde::Serialize;

use super::{Global, logging, output};

/// Classes listed; `--json` gives all.
const CLASSES_SHOWN: usize = 10;

/// Show one unit of the network: what activates it, and which pixels it responds to
///
/// Reads the run folder's tables; prints the unit's statistics, top patches and classes; writes one picture of the patches,
/// each next to its gradient with respect to the pixels ([backprop] rules). The picture is copied from the run if it has one,
/// and otherwise computed from the model and the images.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect unit layer4:17
  prospect unit features.12:3 -o pictures
  prospect unit layer3:200 --json --set 'backprop.rules=[\"plain\", \"deconv\", \"guided\"]'")]
pub(super) struct UnitArgs {
    /// A recorded layer (see `prospect query "select layer, channels from layers"`) and a channel, counted from 0
    #[arg(value_name = "LAYER:CHANNEL")]
    unit: String,
    /// Output folder of the picture
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Output of `--json`.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    facts: &'a UnitFacts,
    /// The file written; none for a dead unit.
    picture: Option<String>,
}

pub(super) fn unit(global: &Global, args: &UnitArgs) -> anyhow::Result<u8> {
    let config = global.config()?;
    let run = RunFolder::open(&config.run.dir)?;
    let progress = global.progress();
    logging::start(global, &progress, None, "unit")?;
    let cancel = Cancel::default();
    let ctx = Context::new(&config, &run, STAGES, &progress, &cancel);
    let facts = unit_facts(&ctx, &args.unit)?;
    if !args.json {
        output::print(&page(&facts))?;
    }
    let (layer, number) = (&facts.layer, facts.stats.unit);
    let picture = match unit_sheet(&ctx, layer, number)? {
        Some(bytes) => Some(write(&args.out, &picture_name(layer, number), &bytes)?),
        None => None,
    };
    if args.json {
        output::print_json(&Answer {
            facts: &facts,
            picture: picture.map(|path| path.display().to_string()),
        })?;
        return Ok(0);
    }
    let rules: Vec<&str> = (config.backprop.rules.iter())
        .map(|rule| rule.name())
        .collect();
    output::print(&match picture {
        Some(path) => format!(
            "wrote {}: the patches in order, each with its gradient on the right ({})",
            path.display(),
            rules.join(", ")
        ),
        None if facts.stats.dead => {
            "no picture: the unit is dead (same activation on every image)".to_string()
        }
        None => "no picture: no image activates the unit".to_string(),
    })?;
    Ok(0)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
    fs::create_dir_all(folder).map_err(Error::io(folder, "creating the folder"))?;
    let path = folder.join(name);
    fs::write(&path, bytes).map_err(Error::io(&path, "writing"))?;
    Ok(path)
}

fn page(facts: &UnitFacts) -> String {
    let stats = &facts.stats;
    let number = |value: Option<f32>| value.map_or("-".to_string(), |value| format!("{value:.3}"));
    let mut page = format!(
        "unit {} of {} in layer {}, {}x{} cells{}\n",
        stats.unit,
        facts.channels,
        text::escaped(&facts.layer),
        facts.map.0,
        facts.map.1,
        if stats.dead { ": dead" } else { "" }
    );
    let active = (stats.share_active).map_or("-".into(), |share| text::percent(share.into()));
    page += &format!(
        "activation over {}: mean {}, std {}, min {}, max {}; positive in {active}\n",
        text::counted(stats.images, "image"),
        number(stats.mean),
        number(stats.std),
        number(stats.min),
        number(stats.max),
    );
    page += &format!(
        "{} {}\n",
        stats.measure.replace('_', " "),
        number(stats.selectivity)
    );

    if !facts.patches.is_empty() {
        let head = [
            "rank",
            "value",
            "row",
            "col",
            "box in file pixels",
            facts.grouped_by,
            "image",
        ];
        let mut rows = vec![head.map(String::from).to_vec()];
        rows.extend(facts.patches.iter().map(|patch| {
            let [x0, y0, x1, y1] = patch.file_box.map(f32::round);
            vec![
                patch.rank.to_string(),
                format!("{:.3}", patch.value),
                patch.row.to_string(),
                patch.col.to_string(),
                format!("{x0},{y0} to {x1},{y1}"),
                patch.class.clone().unwrap_or_else(|| "-".into()),
                patch.path.clone(),
            ]
        }));
        page += "\n";
        page += &output::columns(&rows, &[true, true, true, true, false, false, false]);
    }
    if !facts.classes.is_empty() {
        let share = format!("share of top {}", facts.n_top);
        let head = [facts.grouped_by, "images", "mean activation", &share];
        let mut rows = vec![head.map(String::from).to_vec()];
        rows.extend(facts.classes.iter().take(CLASSES_SHOWN).map(|class| {
            vec![
                class.name.clone(),
                text::count(class.images),
                format!("{:.3}", class.mean),
                format!("{:.0} %", class.share_of_top * 100.0),
            ]
        }));
        page += "\n";
        page += &output::columns(&rows, &[false, true, true, true]);
        if facts.classes.len() > CLASSES_SHOWN {
            page += &format!(
                "and {} more (--json shows all)\n",
                facts.classes.len() - CLASSES_SHOWN
            );
        }
    }
    page
}
