//! The end of a stage.

use prospect_common::Result;
use serde_json::Value;

use super::{super::sweep, StageWriter};

impl StageWriter {
    /// Marks the stage complete and deletes its previous files. `result` is a digest of the output, if dependent stages should
    /// go by that instead of the key; `summary` is for people.
    pub fn finish(&self, result: Option<String>, summary: Value) -> Result<()> {
        self.drop_previous()?;
        self.shared.update(|record| {
            let missing = (0..record.parts_total.unwrap_or(0))
                .filter(|part| !record.parts.contains_key(part))
                .count();
            if missing > 0 {
                return Err(self
                    .shared
                    .misuse("every part", format!("{missing} not written")));
            }
            record.complete = true;
            record.result = result;
            record.summary = summary;
            Ok(true)
        })
    }

    /// Deletes the previous files before the stage counts as complete: safe to crash here.
    fn drop_previous(&self) -> Result<()> {
        let shared = &self.shared;
        let mut state = shared.state();
        let name = &shared.stage;
        let is_due = state.manifest.stages.get(name).is_some_and(|record| {
            let mut parts = 0..record.parts_total.unwrap_or(0);
            record.previous.is_some() && parts.all(|part| record.parts.contains_key(&part))
        });
        if !is_due {
            return Ok(());
        }
        shared.update_in(&mut state, |record| {
            sweep::drop_previous(record);
            Ok(true)
        })?;
        sweep::sweep(&shared.run, &mut state.manifest, name)
    }
}
