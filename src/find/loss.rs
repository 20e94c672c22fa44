//! What a transaction destroyed, told from its records.
//!
//! | files removed | files made | dropped statistics | it was |
//! |---|---|---|---|
//! | yes | no | | a DROP |
//! | yes | yes | none | a TRUNCATE, or a REINDEX: WAL alone does not tell |
//! | yes | yes | of files that it made | a rewrite (VACUUM FULL, CLUSTER, ALTER): harmless |
//! | yes | yes | of others | a DROP beside one of these |
//!
//! The last one is said too often rather than too rarely: REFRESH MATERIALIZED VIEW and an ALTER TABLE that writes rows anew
//! drop the old TOAST table, and ALTER TABLE the indexes of a column, which no number tells from tables of others.
//!
//! Before 15 there are no dropped statistics: a rewrite is told by the pages that it wrote into the new files, and a DROP
//! beside it by the row of pg_class that it removed and had not made.

use super::deeds::Deeds;
use crate::scan::event::EndDetails;

/// What was lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Loss {
    /// Tables or indexes were dropped.
    Drop,
    /// Tables were emptied (or indexes rebuilt).
    Truncate,
    /// Tables were rewritten: nothing is lost.
    Rewrite,
}

impl Loss {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Truncate => "truncate",
            Self::Rewrite => "rewrite",
        }
    }
}

/// What a committed transaction destroyed.
pub fn losses(details: Option<&EndDetails>, deeds: &Deeds) -> Vec<Loss> {
    /// `PGSTAT_KIND_RELATION`.
    const RELATION: i32 = 2;
    let mut losses = Vec::new();
    if deeds.truncated > 0 {
        losses.push(Loss::Truncate);
    }
    let Some(details) = details else { return losses };
    let stats: Vec<u64> =
        details.dropped_stats.iter().filter(|item| item.kind == RELATION).map(|item| item.object).collect();
    let made = |oid: &u64| deeds.created.iter().any(|file| u64::from(file.number) == *oid);
    let foreign_stats = stats.iter().any(|oid| !made(oid));
    if details.dropped_files.is_empty() {
        if foreign_stats {
            losses.push(Loss::Drop);
        }
    } else if deeds.created.is_empty() {
        losses.push(Loss::Drop);
    } else {
        if foreign_stats || deeds.class_rows.removed_others() {
            losses.push(Loss::Drop);
        }
        let rewritten = stats.iter().any(made) || deeds.filled;
        losses.push(if rewritten { Loss::Rewrite } else { Loss::Truncate });
    }
    losses.sort_unstable();
    losses.dedup();
    losses
}
