//! FiftyOneDataset: `metadata.json` with the dataset's fields, `samples.json` with a document per image. The images are not
//! copied.

use prospect_common::{Result, text::counted};
use serde_json::{Value, json};

use super::{
    Folder, Outline, Prediction, Record, Summary, Writer, folder::Output, record::kinds,
    writer::literal,
};

/// The format version written; FiftyOne migrates datasets when it reads them.
const VERSION: &str = "1.0.0";

pub(super) struct Fiftyone {
    outline: Outline,
    samples: Output,
    rows: u64,
    skipped: u64,
}

impl Fiftyone {
    pub fn new(folder: &Folder, outline: Outline) -> Result<Fiftyone> {
        let mut metadata = folder.create("metadata.json")?;
        metadata.json(&dataset(&outline))?;
        metadata.finish()?;
        let mut samples = folder.create("samples.json")?;
        samples.bytes(b"{\"samples\": [")?;
        Ok(Fiftyone {
            outline,
            samples,
            rows: 0,
            skipped: 0,
        })
    }
}

impl Writer for Fiftyone {
    fn write(&mut self, _: &Folder, record: Record) -> Result<()> {
        let Some(file) = self.outline.file(&record) else {
            self.skipped += 1;
            return Ok(());
        };
        let sample = sample(&self.outline, &record, &file.to_string_lossy());
        self.samples
            .bytes(if self.rows == 0 { b"\n" } else { b",\n" })?;
        self.samples.json(&sample)?;
        self.rows += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>, folder: &Folder) -> Result<Summary> {
        self.samples.bytes(b"\n]}\n")?;
        self.samples.finish()?;
        let mut remarks = vec![format!(
            "the images stay in {}",
            self.outline.images.display()
        )];
        if self.skipped > 0 {
            let skipped = counted(self.skipped, "image");
            remarks.push(format!("skipped {skipped} with paths outside that folder"));
        }
        Ok(Summary {
            rows: self.rows,
            open: format!(
                "fiftyone.Dataset.from_dir({}, fiftyone.types.FiftyOneDataset)",
                literal(folder.target())
            ),
            remarks,
        })
    }
}

fn sample(outline: &Outline, record: &Record, file: &str) -> Value {
    let mut tags: Vec<&str> = record.split.as_deref().into_iter().collect();
    tags.extend(kinds(record));
    let id = |field: &str, at: usize| object_id(&format!("{field} {at} {}", record.image_id));
    let prediction = |field: &str, predicted: &Option<Prediction>| {
        let predicted = predicted.as_ref()?;
        Some(json!({
            "_id": id(field, 0),
            "_cls": "Classification",
            "tags": [],
            "label": predicted.name,
            "confidence": predicted.confidence,
        }))
    };
    let named = |field: &str, class: Option<i32>| {
        let label = outline.class(class?);
        Some(json!({"_id": id(field, 0), "_cls": "Classification", "tags": [], "label": label}))
    };
    let findings: Vec<Value> = (record.findings.iter().enumerate())
        .map(|(at, found)| {
            json!({
                "_id": id("findings", at),
                "_cls": "Classification",
                "tags": [],
                "label": found.kind,
                "score": found.score,
                "evidence": found.evidence,
            })
        })
        .collect();
    let mut sample = json!({
        "filepath": file,
        "tags": tags,
        "metadata": {"_cls": "ImageMetadata", "width": record.size[0], "height": record.size[1]},
        "_media_type": "image",
        "_rand": random(record.image_id),
        "image_id": record.image_id,
        "ground_truth": named("ground_truth", record.label),
        "prediction": prediction("prediction", &record.prediction),
        "probe": prediction("probe", &record.probe),
        "suggested": named("suggested", record.suggested),
        "label_score": record.label_score,
        "label_issue": record.label_issue,
        "findings": {"_cls": "Classifications", "classifications": findings},
    });
    for (map, at) in outline.maps.iter().zip(&record.coordinates) {
        sample[format!("{map}_x")] = json!(at.map(|at| at[0]));
        sample[format!("{map}_y")] = json!(at.map(|at| at[1]));
    }
    sample
}

/// A reproducible id of 12 bytes.
fn object_id(of: &str) -> Value {
    let hash = blake3::hash(of.as_bytes()).to_hex();
    json!({"$oid": &hash.as_str()[..24]})
}

/// FiftyOne's random number of a sample, 0 to 1; reproducible.
fn random(image_id: u32) -> f64 {
    let hash = blake3::hash(&image_id.to_le_bytes());
    let mut bits = [0; 4];
    bits.copy_from_slice(&hash.as_bytes()[..4]);
    f64::from(u32::from_le_bytes(bits)) / f64::from(u32::MAX)
}

/// The document of the dataset.
fn dataset(outline: &Outline) -> Value {
    let mut fields = vec![
        leaf("id", "ObjectIdField"),
        leaf("filepath", "StringField"),
        list("tags", "StringField"),
        leaf("_media_type", "StringField"),
        leaf("_rand", "FloatField"),
        document(
            "metadata",
            "metadata.ImageMetadata",
            vec![
                leaf("size_bytes", "IntField"),
                leaf("mime_type", "StringField"),
                leaf("width", "IntField"),
                leaf("height", "IntField"),
                leaf("num_channels", "IntField"),
            ],
        ),
        leaf("image_id", "IntField"),
    ];
    for name in ["ground_truth", "prediction", "probe", "suggested"] {
        fields.push(document(name, "labels.Classification", classification()));
    }
    fields.push(leaf("label_score", "FloatField"));
    fields.push(leaf("label_issue", "BooleanField"));
    let mut finding = classification();
    finding.push(leaf("score", "FloatField"));
    finding.push(leaf("evidence", "StringField"));
    let mut all = list("classifications", "EmbeddedDocumentField");
    all["embedded_doc_type"] = json!("fiftyone.core.labels.Classification");
    all["fields"] = json!(finding);
    let findings = vec![all, leaf("logits", "VectorField")];
    fields.push(document("findings", "labels.Classifications", findings));
    for map in &outline.maps {
        fields.push(leaf(&format!("{map}_x"), "FloatField"));
        fields.push(leaf(&format!("{map}_y"), "FloatField"));
    }
    json!({
        "name": "prospect",
        "version": VERSION,
        "media_type": "image",
        "tags": [],
        "info": {"written_by": concat!("prospect ", env!("CARGO_PKG_VERSION"))},
        "app_config": {},
        "classes": {"ground_truth": outline.classes, "probe": outline.classes, "suggested": outline.classes},
        "default_classes": [],
        "mask_targets": {},
        "default_mask_targets": {},
        "skeletons": {},
        "group_media_types": {},
        "sample_fields": fields,
        "frame_fields": [],
        "saved_views": [],
        "annotation_runs": {},
        "brain_methods": {},
        "evaluations": {},
        "runs": {},
    })
}

/// The fields of a `Classification`.
fn classification() -> Vec<Value> {
    vec![
        leaf("id", "ObjectIdField"),
        list("tags", "StringField"),
        leaf("label", "StringField"),
        leaf("confidence", "FloatField"),
        leaf("logits", "VectorField"),
    ]
}

fn leaf(name: &str, kind: &str) -> Value {
    json!({
        "name": name,
        "ftype": format!("fiftyone.core.fields.{kind}"),
        "embedded_doc_type": null,
        "subfield": null,
        "fields": [],
        "db_field": if name == "id" { "_id" } else { name },
        "description": null,
        "info": null,
        "read_only": false,
        "created_at": null,
    })
}

fn list(name: &str, of: &str) -> Value {
    let mut field = leaf(name, "ListField");
    field["subfield"] = json!(format!("fiftyone.core.fields.{of}"));
    field
}

fn document(name: &str, kind: &str, fields: Vec<Value>) -> Value {
    let mut field = leaf(name, "EmbeddedDocumentField");
    field["embedded_doc_type"] = json!(format!("fiftyone.core.{kind}"));
    field["fields"] = json!(fields);
    field
}
