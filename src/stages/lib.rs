//! The stages of a run, in the order in which they run.
//!
//! A stage is a value: one folder with a `const STAGE`, its `mod` line and its place in the list.

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
use prospect_store::derived_from;

/// All stages, each after those it needs.
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

/// The stage that writes a table, or the source of a derived table.
pub fn writer_of(table: &str) -> Option<&'static Stage> {
    let table = derived_from(table).unwrap_or(table);
    STAGES
        .iter()
        .find(|stage| stage.writes.iter().any(|written| written.name == table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_run_earlier_and_names_are_unique() {
        for (at, stage) in STAGES.iter().enumerate() {
            let earlier: Vec<&str> = STAGES[..at].iter().map(|stage| stage.name).collect();
            for need in stage.needs.names() {
                assert!(
                    earlier.contains(need),
                    "{} needs {need}, which does not run earlier",
                    stage.name
                );
            }
            assert!(
                !earlier.contains(&stage.name),
                "two stages named {}",
                stage.name
            );
            assert!(stage.version > 0 && !stage.about.is_empty());
        }
    }

    #[test]
    fn every_table_has_one_writer() {
        let mut written: Vec<&str> = STAGES
            .iter()
            .flat_map(|stage| stage.writes)
            .map(|table| table.name)
            .collect();
        let n = written.len();
        written.sort_unstable();
        written.dedup();
        assert_eq!(written.len(), n);
        assert_eq!(writer_of("changes").unwrap().name, "audit");
        assert_eq!(writer_of("neighbor_candidates").unwrap().name, "neighbors");
    }

    #[test]
    fn findings_are_gathered_after_all_stages_that_yield_some() {
        let place = |name: &str| STAGES.iter().position(|stage| stage.name == name);
        let last = STAGES.iter().rposition(|stage| stage.findings.is_some());
        assert!(last < place(audit::STAGE.name));
    }
}
