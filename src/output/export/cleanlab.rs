//! cleanlab: labels, out-of-fold probabilities, and the run's findings, with matching rows.

use std::borrow::Cow;

use prospect_common::{Result, spreadsheet::cell, text::counted};

use super::{
    Folder, Outline, Record, Summary, Writer,
    csv_cells::{Csv, number, optional},
    npy::Npy,
    writer::literal,
};

const IMAGES: [&str; 13] = [
    "row",
    "image_id",
    "path",
    "split",
    "label",
    "label_name",
    "prediction",
    "confidence",
    "probe",
    "probe_confidence",
    "suggested_label",
    "label_score",
    "is_label_issue",
];
const ISSUES: [&str; 6] = ["row", "image_id", "path", "kind", "score", "evidence"];

/// `labels.npy` (`[rows]`, class indices), `pred_probs.npy` (`[rows, classes]`), `classes.json` (names by index), `images.csv` and
/// `issues.csv`, all without images that lack a label or a probe prediction.
pub(super) struct Cleanlab {
    outline: Outline,
    labels: Npy,
    probabilities: Npy,
    images: Csv,
    issues: Csv,
    rows: u64,
    skipped: u64,
}

impl Cleanlab {
    pub fn new(folder: &Folder, outline: Outline) -> Result<Cleanlab> {
        let names: Vec<String> = (outline.probe_classes.iter())
            .map(|class| outline.class(*class))
            .collect();
        let mut classes = folder.create("classes.json")?;
        classes.json(&names)?;
        classes.finish()?;
        Ok(Cleanlab {
            labels: Npy::new(folder, "labels.npy", "<i8", None)?,
            probabilities: Npy::new(folder, "pred_probs.npy", "<f4", Some(names.len()))?,
            images: Csv::new(folder.create("images.csv")?, &IMAGES)?,
            issues: Csv::new(folder.create("issues.csv")?, &ISSUES)?,
            outline,
            rows: 0,
            skipped: 0,
        })
    }
}

impl Writer for Cleanlab {
    fn write(&mut self, _: &Folder, record: Record) -> Result<()> {
        let index = |label| {
            self.outline
                .probe_classes
                .iter()
                .position(|class| *class == label)
        };
        let label = record.label.and_then(index);
        let (Some(label), Some(probabilities)) = (label, &record.probabilities) else {
            self.skipped += 1;
            return Ok(());
        };
        self.labels.row(&(label as i64).to_le_bytes())?;
        let bytes: Vec<u8> = probabilities.iter().flat_map(|p| p.to_le_bytes()).collect();
        self.probabilities.row(&bytes)?;
        let outline = &self.outline;
        let name = record.label.map(|label| outline.class(label));
        let suggested = record.suggested.map(|label| outline.class(label));
        let (prediction, probe) = (record.prediction.as_ref(), record.probe.as_ref());
        self.images.row([
            number(Some(self.rows)),
            number(Some(record.image_id)),
            cell(&record.path),
            optional(record.split.as_deref()),
            number(Some(label)),
            optional(name.as_deref()),
            optional(prediction.map(|predicted| predicted.name.as_str())),
            number(prediction.map(|predicted| predicted.confidence)),
            optional(probe.map(|predicted| predicted.name.as_str())),
            number(probe.map(|predicted| predicted.confidence)),
            optional(suggested.as_deref()),
            number(record.label_score),
            number(record.label_issue),
        ])?;
        for found in &record.findings {
            self.issues.row([
                number(Some(self.rows)),
                number(Some(record.image_id)),
                cell(&record.path),
                Cow::Borrowed(found.kind.as_str()),
                number(Some(found.score)),
                cell(&found.evidence),
            ])?;
        }
        self.rows += 1;
        Ok(())
    }

    fn finish(self: Box<Self>, folder: &Folder) -> Result<Summary> {
        self.labels.finish()?;
        self.probabilities.finish()?;
        self.images.finish()?;
        self.issues.finish()?;
        let load = |name: &str| format!("numpy.load({})", literal(&folder.target().join(name)));
        let mut remarks = Vec::new();
        if self.skipped > 0 {
            let skipped = counted(self.skipped, "image");
            remarks.push(format!(
                "skipped {skipped} without a label or a probe prediction"
            ));
        }
        Ok(Summary {
            rows: self.rows,
            open: format!(
                "cleanlab.filter.find_label_issues({}, {})",
                load("labels.npy"),
                load("pred_probs.npy")
            ),
            remarks,
        })
    }
}
