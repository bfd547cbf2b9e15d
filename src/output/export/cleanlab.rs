//! cleanlab: labels, out-of-fold probabilities, and the run's own findings, row for row.

use std::borrow::Cow;

use prospect_common::{Result, text::counted};

use super::{
    Folder, Outline, Record, Told, Writer,
    csv_cells::{Csv, cell, number, optional},
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

/// `labels.npy` (`[rows]`, positions of the classes), `pred_probs.npy` (`[rows, classes]`), `classes.json` (names by position),
/// `images.csv` and `issues.csv`. Images without a label, and those that the probe has not judged, are in none of them.
pub(super) struct Cleanlab {
    outline: Outline,
    labels: Npy,
    probabilities: Npy,
    images: Csv,
    issues: Csv,
    rows: u64,
    left_out: u64,
}

impl Cleanlab {
    pub fn new(folder: &Folder, outline: Outline) -> Result<Cleanlab> {
        let names: Vec<String> = (outline.judged.iter())
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
            left_out: 0,
        })
    }
}

impl Writer for Cleanlab {
    fn write(&mut self, _: &Folder, record: Record) -> Result<()> {
        let place = |label| self.outline.judged.iter().position(|class| *class == label);
        let label = record.label.and_then(place);
        let (Some(label), Some(probabilities)) = (label, &record.probabilities) else {
            self.left_out += 1;
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
            optional(prediction.map(|judged| judged.name.as_str())),
            number(prediction.map(|judged| judged.confidence)),
            optional(probe.map(|judged| judged.name.as_str())),
            number(probe.map(|judged| judged.confidence)),
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

    fn finish(self: Box<Self>, folder: &Folder) -> Result<Told> {
        self.labels.finish()?;
        self.probabilities.finish()?;
        self.images.finish()?;
        self.issues.finish()?;
        let load = |name: &str| format!("numpy.load({})", literal(&folder.target().join(name)));
        let mut remarks = Vec::new();
        if self.left_out > 0 {
            let left_out = counted(self.left_out, "image");
            remarks.push(format!(
                "left out {left_out} without a label or the probe's verdict"
            ));
        }
        Ok(Told {
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
