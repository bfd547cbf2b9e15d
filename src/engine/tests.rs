mod rescan;
mod space;

use std::{cell::RefCell, path::Path};

use prospect_common::{Error, Result};
use prospect_config::Config;
use prospect_store::{RunFolder, StageWriter, table};
use serde_json::json;

use crate::{
    progress::{Cancel, Progress, ProgressKind},
    schema::{images, patches},
    *,
};

table! {
    /// Output of the fake stages, estimated at one kilobyte per image.
    mod extract = "extract", "part", [2000.0, 1000.0] {
        n: i32,
    }
}

thread_local! {
    /// Parts written by the fake stages, in order: "scan 0" is part 0 of scan.
    static DONE: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// Behaviour of the fake stages.
    static BEHAVIOUR: RefCell<Behaviour> = const { RefCell::new(Behaviour { found: 1, touched: 0, stop_after: usize::MAX, unread: 0 }) };
}

struct Behaviour {
    /// Number of images that scan finds.
    found: i32,
    /// Changes scan's parameters, but not its result.
    touched: i32,
    /// Part of extract after which it is interrupted.
    stop_after: usize,
    /// Number of times that part 1 of extract cannot read image 1.
    unread: u32,
}

fn behaviour(change: impl FnOnce(&mut Behaviour)) {
    BEHAVIOUR.with_borrow_mut(change);
}

/// Writes a part with one row; for scan, with three images.
fn write(writer: &mut StageWriter, stage: &str, part: usize, unread: u64) -> Result<()> {
    let (table, rows) = match stage {
        "scan" => (images::NAME, 3),
        other => (other, 1),
    };
    let n = vec![part as i32; rows].into();
    let mut out = writer.part(part)?;
    out.set_unread(unread);
    out.write(table, &extract::Columns { n }.batch()?)?;
    writer.commit(out)?;
    DONE.with_borrow_mut(|done| done.push(format!("{stage} {part}")));
    Ok(())
}

fn fake_scan(_: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    writer.set_parts_total(1)?;
    if !writer.has_part(0) {
        write(writer, "scan", 0, 0)?;
    }
    let found = BEHAVIOUR.with_borrow(|behaviour| behaviour.found);
    Ok(Outcome {
        result: Some(format!("images {found}")),
        summary: json!({"images": found}),
    })
}

fn fake_extract(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    writer.set_parts_total(3)?;
    for part in 0..3 {
        if writer.has_part(part) {
            continue;
        }
        ctx.cancel.check()?;
        let is_unread = BEHAVIOUR.with_borrow_mut(|behaviour| {
            let now = part == 1 && behaviour.unread > 0;
            behaviour.unread -= u32::from(now);
            now
        });
        if is_unread {
            ctx.unread.add(1);
        }
        write(writer, "extract", part, u64::from(is_unread))?;
        if BEHAVIOUR.with_borrow(|behaviour| behaviour.stop_after == part) {
            ctx.cancel.request();
        }
    }
    Ok(Outcome {
        result: None,
        summary: json!({}),
    })
}

fn fake_patches(_: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    writer.set_parts_total(1)?;
    if !writer.has_part(0) {
        write(writer, "patches", 0, 0)?;
    }
    Ok(Outcome {
        result: None,
        summary: json!({}),
    })
}

fn fake_estimate(_: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    Ok(vec![TableEstimate::of(&extract::TABLE, images)])
}

const SCAN: Stage = Stage {
    name: "scan",
    version: 1,
    about: "lists images",
    needs: Needs::Named(&[]),
    writes: &[&images::TABLE],
    findings: None,
    reuse: None,
    parameters: |_| {
        let listing = BEHAVIOUR.with_borrow(|behaviour| (behaviour.found, behaviour.touched));
        Ok(json!({"listing": listing, "files": {"n": 3}}))
    },
    estimate: fake_estimate,
    run: fake_scan,
};

pub(crate) const EXTRACT: Stage = Stage {
    name: "extract",
    version: 1,
    about: "runs the network",
    needs: Needs::Named(&["scan"]),
    writes: &[&extract::TABLE],
    findings: None,
    reuse: None,
    parameters: |ctx| {
        Ok(json!({"layers": ctx.config.extract.layers, "part_size": ctx.config.extract.part_size}))
    },
    estimate: fake_estimate,
    run: fake_extract,
};

const PATCHES: Stage = Stage {
    name: "patches",
    version: 1,
    about: "keeps the best patches",
    needs: Needs::Named(&["extract", "scan"]),
    writes: &[&patches::TABLE],
    findings: None,
    reuse: None,
    parameters: |ctx| {
        if ctx.config.patches.k > 1000 {
            return Err(Error::setting("patches", "k", "too large for this fake"));
        }
        Ok(json!({"k": ctx.config.patches.k}))
    },
    estimate: fake_estimate,
    run: fake_patches,
};

const FAKES: &[Stage] = &[SCAN, EXTRACT, PATCHES];
const NEWER: &[Stage] = &[
    SCAN,
    Stage {
        version: 2,
        ..EXTRACT
    },
    PATCHES,
];

/// A run folder and the pipeline's stages.
struct Bench {
    folder: tempfile::TempDir,
    stages: &'static [Stage],
}

impl Bench {
    fn new() -> Bench {
        behaviour(|behaviour| {
            *behaviour = Behaviour {
                found: 1,
                touched: 0,
                stop_after: usize::MAX,
                unread: 0,
            }
        });
        Bench {
            folder: tempfile::tempdir().unwrap(),
            stages: FAKES,
        }
    }

    fn with<T>(&self, set: &[&str], act: impl FnOnce(&Context) -> T) -> T {
        let set: Vec<String> = set.iter().map(|option| option.to_string()).collect();
        let config = Config::parse(Path::new(""), "[images]\ndir = \"x\"\n", &set).unwrap();
        let run = RunFolder::create(self.folder.path()).unwrap();
        let (progress, cancel) = (Progress::new(ProgressKind::Quiet), Cancel::default());
        let ctx = Context::new(&config, &run, self.stages, &progress, &cancel);
        act(&ctx)
    }

    fn plan(&self, set: &[&str], wanted: &[&str]) -> Vec<String> {
        let wanted: Vec<String> = wanted.iter().map(|name| name.to_string()).collect();
        let planned = self.with(set, |ctx| plan(ctx, &wanted)).unwrap();
        let stages = planned.stages.iter();
        stages
            .map(|planned| match &planned.decision {
                Decision::Reuse => format!("{} reuse", planned.stage),
                Decision::Resume { done, total, lost } => {
                    format!("{} resume {done} of {total:?}, {lost} lost", planned.stage)
                }
                Decision::Run { reason } => format!("{} run: {reason}", planned.stage),
                Decision::WaitsFor { stage } => format!("{} waits for {stage}", planned.stage),
            })
            .collect()
    }

    /// Estimates of each stage: rows, bytes, and bytes to be deleted.
    fn estimates(&self, set: &[&str]) -> Vec<(u64, u64, u64)> {
        let plan = self.with(set, |ctx| plan(ctx, &[])).unwrap();
        let sizes = plan.stages.iter().map(|planned| {
            let tables = &planned.tables;
            (
                tables.iter().map(|table| table.rows).sum(),
                tables.iter().map(|table| table.bytes).sum(),
                planned.replaces,
            )
        });
        sizes.collect()
    }

    fn run_within(&self, set: &[&str], free: u64) -> Result<()> {
        DONE.with_borrow_mut(Vec::clear);
        self.with(set, |ctx| {
            let lock = ctx.run.lock("test")?;
            run_within(ctx, &lock, &[], &|| free, &mut |_| {})
        })
    }

    /// Runs the stages; returns the parts written.
    fn run(&self, set: &[&str], wanted: &[&str]) -> Result<Vec<String>> {
        let wanted: Vec<String> = wanted.iter().map(|name| name.to_string()).collect();
        DONE.with_borrow_mut(Vec::clear);
        self.with(set, |ctx| {
            let lock = ctx.run.lock("test")?;
            run(ctx, &lock, &wanted, &mut |_| {})
        })?;
        Ok(done())
    }
}

fn done() -> Vec<String> {
    DONE.with_borrow(Vec::clone)
}

const ALL_PARTS: [&str; 5] = ["scan 0", "extract 0", "extract 1", "extract 2", "patches 0"];

#[test]
fn first_run_does_everything_and_second_nothing() {
    let bench = Bench::new();
    assert_eq!(
        bench.plan(&[], &[]),
        [
            "scan run: no run yet",
            "extract waits for scan",
            "patches waits for extract"
        ]
    );
    assert_eq!(bench.run(&[], &[]).unwrap(), ALL_PARTS);
    assert_eq!(
        bench.plan(&[], &[]),
        ["scan reuse", "extract reuse", "patches reuse"]
    );
    assert!(bench.run(&[], &[]).unwrap().is_empty());
}

#[test]
fn named_stage_runs_with_its_dependencies_only() {
    let bench = Bench::new();
    assert_eq!(
        bench.run(&[], &["extract"]).unwrap(),
        ["scan 0", "extract 0", "extract 1", "extract 2"]
    );
    assert_eq!(bench.plan(&[], &["scan"]), ["scan reuse"]);
    assert_eq!(bench.plan(&[], &["patches"])[2], "patches run: no run yet");
}

#[test]
fn changed_parameter_reruns_its_stage_and_dependents() {
    let bench = Bench::new();
    bench.run(&[], &[]).unwrap();
    assert_eq!(
        bench.plan(&["patches.k=4"], &[]),
        [
            "scan reuse",
            "extract reuse",
            "patches run: parameter patches.k changed: 9 → 4"
        ]
    );
    assert_eq!(bench.run(&["patches.k=4"], &[]).unwrap(), ["patches 0"]);
    let set = ["extract.layers=[\"layer4\"]", "extract.part_size=7"];
    assert_eq!(
        bench.plan(&set, &[]),
        [
            "scan reuse",
            "extract run: parameter extract.layers changed: auto → [\"layer4\"]; parameter extract.part_size changed: 1024 → 7",
            "patches waits for extract"
        ]
    );
    assert_eq!(bench.run(&set, &[]).unwrap(), ALL_PARTS[1..]);
    let after = bench.plan(&[], &["extract"]);
    assert!(
        after[1].starts_with("extract run: parameter extract.layers changed"),
        "{after:?}"
    );
}

#[test]
fn setting_outside_all_keys_reruns_nothing() {
    let bench = Bench::new();
    bench.run(&[], &[]).unwrap();
    let set = [
        "extract.decode_threads=3",
        "model.batch_size=7",
        "model.device=cpu",
    ];
    assert!(bench.run(&set, &[]).unwrap().is_empty());
}

#[test]
fn new_stage_version_reruns_it() {
    let mut bench = Bench::new();
    bench.run(&[], &[]).unwrap();
    bench.stages = NEWER;
    assert_eq!(bench.plan(&[], &[])[1], "extract run: stage version 1 → 2");
    assert_eq!(bench.run(&[], &[]).unwrap(), ALL_PARTS[1..]);
}

#[test]
fn rescan_with_the_same_images_reruns_nothing_else() {
    let bench = Bench::new();
    bench.run(&[], &[]).unwrap();
    behaviour(|behaviour| behaviour.touched = 1);
    assert_eq!(
        bench.plan(&[], &[]),
        [
            "scan run: parameter scan.listing changed: [1,0] → [1,1]",
            "extract waits for scan",
            "patches waits for extract"
        ]
    );
    assert_eq!(bench.run(&[], &[]).unwrap(), ["scan 0"]);
    behaviour(|behaviour| behaviour.found = 2);
    bench.run(&[], &["scan"]).unwrap();
    assert_eq!(
        bench.plan(&[], &[])[1],
        "extract run: scan's image list changed"
    );
    assert_eq!(bench.run(&[], &[]).unwrap(), ALL_PARTS[1..]);
}

#[test]
fn interrupted_run_keeps_its_parts_and_resumes() {
    let bench = Bench::new();
    behaviour(|behaviour| behaviour.stop_after = 1);
    let error = bench.run(&[], &[]).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert_eq!(done(), ["scan 0", "extract 0", "extract 1"]);
    assert_eq!(
        bench.plan(&[], &[])[1],
        "extract resume 2 of Some(3), 0 lost"
    );
    behaviour(|behaviour| behaviour.stop_after = usize::MAX);
    assert_eq!(bench.run(&[], &[]).unwrap(), ["extract 2", "patches 0"]);
}

#[test]
fn only_a_part_with_a_missing_file_is_redone() {
    let bench = Bench::new();
    bench.run(&[], &[]).unwrap();
    let file = bench.with(&[], |ctx| {
        let manifest = ctx.run.manifest().unwrap();
        ctx.run.files(&manifest, "extract")[1].clone()
    });
    std::fs::remove_file(file).unwrap();
    assert_eq!(
        bench.plan(&[], &["extract"])[1],
        "extract resume 2 of Some(3), 1 lost"
    );
    assert_eq!(bench.run(&[], &[]).unwrap(), ["extract 1"]);
}

#[test]
fn every_parameter_is_checked_before_any_work() {
    let bench = Bench::new();
    let error = bench.run(&["patches.k=1001"], &[]).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    assert!(done().is_empty());
    // Stages that are not requested are not checked.
    assert_eq!(
        bench.run(&["patches.k=1001"], &["scan"]).unwrap(),
        ["scan 0"]
    );
}

#[test]
fn gathering_findings_needs_all_earlier_stages_with_findings() {
    let earlier = [
        SCAN,
        Stage {
            findings: Some(|_, _| Ok(Vec::new())),
            ..EXTRACT
        },
        PATCHES,
    ];
    let names = |needs: Needs, n: usize| -> Vec<&str> {
        let needs = needs.among(&earlier[..n]);
        needs.into_iter().map(|stage| stage.name).collect()
    };
    assert_eq!(names(Needs::Findings(&["scan"]), 3), ["scan", "extract"]);
    assert_eq!(names(Needs::Findings(&["extract"]), 3), ["extract"]);
    assert_eq!(names(Needs::Findings(&["scan"]), 1), ["scan"]);
    assert_eq!(
        names(Needs::Named(&["patches", "scan"]), 3),
        ["patches", "scan"]
    );
    assert_eq!(names(Needs::Earlier, 3), ["scan", "extract", "patches"]);
}

#[test]
fn unknown_stage_suggests_the_nearest() {
    let bench = Bench::new();
    let error = bench.run(&[], &["extrct"]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("unknown stage \"extrct\" (did you mean `extract`?)"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 2);
}
