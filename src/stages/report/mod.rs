//! A page that opens from disk: what was mined, how it went, and what the units look for.

mod gather;
mod page;
#[cfg(test)]
mod tests;

use askama::Template;
use serde_json::{Value, json};

use super::{Context, Outcome, Stage, estimate};
use crate::{
    error::{Error, Result},
    store::StageWriter,
    text,
};

pub const STAGE: Stage = Stage {
    name: "report",
    version: 2,
    about: "put figures, contact sheets and complaints on a page; writes report/index.html",
    needs: &["scan", "extract", "patches", "backprop", "explain"],
    parameters,
    estimate: estimate::report,
    run,
};

const PAGE: &str = "report/index.html";
const STYLE: &str = "report/page.css";

fn parameters(ctx: &Context) -> Result<Value> {
    Ok(json!({
        "title": ctx.config.report.title,
        "dataset": dataset(ctx),
    }))
}

/// The image folder's name.
fn dataset(ctx: &Context) -> String {
    let dir = &ctx.config.images.dir;
    // `photos/.` and `..` have no name of their own.
    let named = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.clone());
    named
        .file_name()
        .unwrap_or(dir.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    writer.set_parts_total(1)?;
    let bar = ctx.progress.stage("report", 1, "pages");
    if writer.has_part(0) {
        bar.set_done(1);
    } else {
        let facts = gather::Facts::of_run(ctx)?;
        let page = page::Page::new(&ctx.config.report.title, &dataset(ctx), &facts);
        let html = page.render().map_err(|error| {
            Error::invalid(
                ctx.run.path(PAGE),
                "a page that can be written",
                error.to_string(),
                "please report this mistake of prospect's",
            )
        })?;
        let mut files = writer.part(0)?;
        files.file(PAGE, html.as_bytes())?;
        files.file(STYLE, include_bytes!("../../report/page.css"))?;
        writer.commit(files)?;
        bar.advance(1);
    }
    let page = ctx.run.path(PAGE);
    bar.finish(&text::escaped(&page.display().to_string()));
    Ok(Outcome {
        result: None,
        summary: json!({ "page": PAGE }),
    })
}
