//! `prospect export`.

use std::path::PathBuf;

use clap::Args;
use prospect_common::{Complaint, Complaints, Error, text};
use prospect_engine::{Context, progress::Cancel};
use prospect_output::export::{Format, Images};
use prospect_queries::export::{Export, Request, export as write};
use prospect_stages::STAGES;
use prospect_store::RunFolder;

use super::{Global, interrupt, logging, output};

const INTERRUPTED: interrupt::Messages = interrupt::Messages {
    first: "stopping; press again to stop immediately",
    second: "stopped; the next export removes the partial output",
};

/// Export the run's labels, predictions and findings to another tool's format
///
/// Reads the run folder's tables, and the images for links, copies and thumbnails; writes a folder, which appears only when
/// complete, and prints the code that opens it. An earlier export of the same format is replaced; any other non-empty folder
/// is refused. Unreadable images and missing tables are left out.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect export labels                             corrected labels, and links to the images by class
  prospect export huggingface                        under export/ of the run folder
  prospect export huggingface --images copy --out ~/photos-hf
  prospect export embedding-atlas --thumbnails 0
  prospect export tensorboard --points 50000 --out projector

In CSV files, text that a spreadsheet would take for a formula is prefixed with an apostrophe.")]
pub(super) struct ExportArgs {
    /// Target tool or format
    #[arg(value_enum)]
    format: Format,
    /// Output folder. Default: export/FORMAT in the run folder
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How labels and huggingface include the images; other formats refer to the originals. Default: link
    #[arg(long, value_enum)]
    images: Option<Images>,
    /// Maximum number of images for tensorboard, an evenly spaced sample. Default: 10000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    points: Option<u64>,
    /// Longer side of the thumbnails for tensorboard (default 48) and embedding-atlas (default 64); 0 for none
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(0..=512))]
    thumbnails: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn export(global: &Global, args: &ExportArgs) -> anyhow::Result<u8> {
    let config = global.config()?;
    check(args)?;
    let run = RunFolder::open(&config.run.dir)?;
    let progress = global.progress();
    logging::start(global, &progress, None, "export")?;
    let cancel = Cancel::default();
    interrupt::install(&cancel, &progress, INTERRUPTED)?;
    let ctx = Context::new(&config, &run, STAGES, &progress, &cancel);
    let out = match &args.out {
        Some(out) => out.clone(),
        None => run.path(&format!("export/{}", args.format.name())),
    };
    let request = Request {
        format: args.format,
        out: &out,
        images: args.images.unwrap_or(Images::Link),
        points: args.points.unwrap_or(10_000),
        thumbnails: args.thumbnails,
    };
    match write(&ctx, &request) {
        Err(error @ Error::Interrupted) => {
            output::print_error("interrupted; nothing exported");
            Ok(error.exit_code())
        }
        Err(error) => Err(error.into()),
        Ok(done) if args.json => output::print_json(&done).map(|()| 0),
        Ok(done) => {
            output::print(&page(&done))?;
            Ok(0)
        }
    }
}

/// Rejects options of other formats.
fn check(args: &ExportArgs) -> Result<(), Error> {
    use Format::{EmbeddingAtlas, Huggingface, Labels, Tensorboard};
    let options: [(&str, bool, &[Format]); 3] = [
        ("--images", args.images.is_some(), &[Labels, Huggingface]),
        ("--points", args.points.is_some(), &[Tensorboard]),
        (
            "--thumbnails",
            args.thumbnails.is_some(),
            &[Tensorboard, EmbeddingAtlas],
        ),
    ];
    let wrong = options
        .iter()
        .filter(|(_, is_given, of)| *is_given && !of.contains(&args.format))
        .map(|(name, _, of)| {
            let of: Vec<&str> = of.iter().map(|format| format.name()).collect();
            Complaint::new(format!(
                "{name} applies to {}, not to {}",
                of.join(" and "),
                args.format.name()
            ))
        });
    wrong.collect::<Complaints>().into_result()
}

fn page(done: &Export) -> String {
    let mut page = format!(
        "{}: {}, {} in {}\n",
        done.format.name(),
        text::counted(done.summary.rows, "image"),
        text::counted(done.files, "file"),
        text::escaped(&done.path)
    );
    for remark in &done.summary.remarks {
        page += &format!("  {}\n", text::escaped(remark));
    }
    page + &format!("open it with\n  {}\n", text::escaped(&done.summary.open))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn parsed(line: &str) -> Result<ExportArgs, clap::Error> {
        let command = ExportArgs::augment_args(Command::new("export"));
        let matches = command.try_get_matches_from(line.split_whitespace())?;
        ExportArgs::from_arg_matches(&matches)
    }

    #[test]
    fn options_of_another_format_are_rejected() {
        let error = check(&parsed("export coco --images copy --points 9").unwrap());
        assert_eq!(
            error.unwrap_err().to_string(),
            "--images applies to labels and huggingface, not to coco\n--points applies to tensorboard, not to coco"
        );
        assert!(check(&parsed("export tensorboard --points 9 --thumbnails 0").unwrap()).is_ok());
        assert!(parsed("export tensorboard --points 0").is_err());
        assert!(parsed("export excel").is_err());
    }

    #[test]
    fn page_ends_with_the_code_that_opens_the_export() {
        let done = Export {
            format: Format::Coco,
            path: "/a\nb".to_string(),
            files: 2,
            summary: prospect_output::export::Summary {
                rows: 1,
                open: "pycocotools.coco.COCO(\"/a\\nb/annotations.json\")".to_string(),
                remarks: vec!["3 annotations".to_string()],
            },
        };
        assert_eq!(
            page(&done),
            "coco: 1 image, 2 files in /a\\nb\n  3 annotations\nopen it with\n  \
             pycocotools.coco.COCO(\"/a\\nb/annotations.json\")\n"
        );
    }
}
