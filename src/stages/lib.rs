//! The stages of a run, in the order in which they run.
//!
//! A stage is a value: one folder with a `const STAGE`, and one line in [`STAGES`].

pub mod audit;
pub mod backprop;
pub mod confusion;
pub mod duplicates;
pub mod explain;
pub mod extract;
pub mod labels;
pub mod neighbors;
pub mod outliers;
pub mod patches;
pub mod probe;
pub mod project;
pub mod report;
pub mod scan;
pub mod shortcuts;

use prospect_engine::Stage;

/// Every stage; whatever a stage needs stands before it.
pub const STAGES: &[Stage] = &[
    scan::STAGE,
    extract::STAGE,
    patches::STAGE,
    neighbors::STAGE,
    project::STAGE,
    confusion::STAGE,
    backprop::STAGE,
    explain::STAGE,
    duplicates::STAGE,
    probe::STAGE,
    labels::STAGE,
    outliers::STAGE,
    shortcuts::STAGE,
    audit::STAGE,
    report::STAGE,
];

/// The stage that writes a table, as its line about itself says.
pub fn writer_of(table: &str) -> Option<&'static Stage> {
    let table = match table {
        // Made of them when a query asks.
        "attributes" => "images",
        // Written beside them where there is a previous run.
        "changes" => "issues",
        table => table,
    };
    STAGES.iter().find(|stage| {
        let written = stage
            .about
            .split_once("writes ")
            .map_or("", |(_, list)| list);
        let mut words = written.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.any(|word| word == table)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_need_runs_earlier_and_names_are_unique() {
        for (at, stage) in STAGES.iter().enumerate() {
            let earlier: Vec<&str> = STAGES[..at].iter().map(|stage| stage.name).collect();
            for need in stage.needs {
                assert!(
                    earlier.contains(need),
                    "{} needs {need}, which does not run earlier",
                    stage.name
                );
            }
            assert!(
                !earlier.contains(&stage.name),
                "two stages are called {}",
                stage.name
            );
            assert!(stage.version > 0 && !stage.about.is_empty());
        }
    }
}
