//! What a transaction destroyed, told from its records.
//!
//! Every file that a transaction made is one of these:
//!
//! | a file that | it was made by |
//! |---|---|
//! | a new row of pg_class came with | CREATE, or a rewrite, which fills a table of its own and exchanges the two |
//! | came without one and was built as a whole | REINDEX, SET TABLESPACE, ALTER SEQUENCE; the indexes of all others |
//! | came without one, empty or filled row by row | TRUNCATE |
//!
//! It truncated if there is one of the last kind beside a file that it removed from the same place: an empty table that
//! moves to another tablespace is not truncated. It dropped if it removed a row of pg_class, or statistics (15 and later),
//! of what it had not made itself. What it made itself and removed again is no loss.
//!
//! A rewrite that also removes rows of pg_class is no drop as long as fewer than two rows of pg_type go with them, which a
//! table has: REFRESH MATERIALIZED VIEW and an ALTER TABLE that writes rows anew drop the old TOAST table, and ALTER TABLE
//! the indexes of a column. An index or a sequence that was dropped beside a rewrite is not told, then. Up to 13 a TOAST
//! table has one such row, so that two rewrites in one transaction look like a drop.
//!
//! Where rows of pg_class are not seen, because that catalog was itself rewritten, say, a loss is said too often rather
//! than too rarely.

use super::deeds::Deeds;
use crate::scan::event::EndDetails;
use crate::scan::files::Files;
use crate::wal::record::RelationFile;

/// Rows of pg_type that a table has: of its rows, and of arrays of them.
const TYPES_OF_TABLE: usize = 2;

/// What was lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Loss {
    /// Tables or indexes were dropped.
    Drop,
    /// Tables were emptied.
    Truncate,
    /// Tables were rewritten or moved, or indexes built again: nothing is lost.
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
    let nothing = EndDetails::default();
    let evidence = Evidence::of(details.unwrap_or(&nothing), &deeds.files);
    let rewritten = evidence.rewrote();
    let dropped = evidence.dropped(rewritten);
    let truncated = evidence.truncated(dropped || rewritten);
    let removed = evidence.removed_of_others;
    let harmless = removed && (rewritten || !dropped && !truncated);
    let told = [(dropped, Loss::Drop), (truncated, Loss::Truncate), (harmless, Loss::Rewrite)];
    told.into_iter().filter(|(is_so, _)| *is_so).map(|(_, loss)| loss).collect()
}

/// Whether the transaction made this file. Up to 11 the record of the first that it makes may name no transaction.
fn made_file(files: &Files, file: &RelationFile) -> bool {
    files.created.contains(file) || files.catalogs.relations.contains(&file.number)
}

/// What the records of one transaction tell of relations and their files.
struct Evidence<'a> {
    files: &'a Files,
    /// Files removed at its end.
    removed: &'a [RelationFile],
    /// Some of them it had not made itself.
    removed_of_others: bool,
    /// OIDs of relations whose statistics it removed (15 and later).
    stats: Vec<u32>,
}

impl<'a> Evidence<'a> {
    fn of(details: &'a EndDetails, files: &'a Files) -> Self {
        /// `PGSTAT_KIND_RELATION`.
        const RELATION: i32 = 2;
        let stats = details.dropped_stats.iter().filter(|item| item.kind == RELATION);
        Self {
            files,
            removed: &details.dropped_files,
            removed_of_others: details.dropped_files.iter().any(|file| !made_file(files, file)),
            stats: stats.filter_map(|item| u32::try_from(item.object).ok()).collect(),
        }
    }

    /// Whether this transaction made the relation with this OID.
    fn made(&self, oid: u32) -> bool {
        self.files.catalogs.relations.contains(&oid)
            || self.files.created.iter().any(|file| file.number == oid)
    }

    /// Whether a file that it made is one that a new relation begins with.
    fn is_of_new(&self, file: &RelationFile) -> bool {
        self.files.catalogs.relations.contains(&file.number) || self.stats.contains(&file.number)
    }

    fn rewrote(&self) -> bool {
        let catalogs = &self.files.catalogs;
        // Statistics of what it made are those of the tables that a rewrite fills.
        let by_stats = || self.files.created.iter().any(|file| self.stats.contains(&file.number));
        !catalogs.transients.is_empty() || catalogs.class_rows.is_empty() && by_stats()
    }

    fn dropped(&self, rewritten: bool) -> bool {
        let catalogs = &self.files.catalogs;
        if self.stats.iter().any(|oid| !self.made(*oid))
            || self.removed_of_others && catalogs.class_rows.removed_of_others() > 0
        {
            // The table that a rewrite fills has rows in pg_type too: without them that catalog's are not seen.
            let only_parts = !catalogs.type_rows.made.is_empty()
                && catalogs.type_rows.removed_of_others() < TYPES_OF_TABLE;
            return !(rewritten && only_parts);
        }
        let kept_nothing = self.files.created.iter().all(|file| self.removed.contains(file));
        self.removed_of_others && kept_nothing && catalogs.class_rows.is_empty()
    }

    /// `explained`: something else removed files.
    fn truncated(&self, explained: bool) -> bool {
        let catalogs = &self.files.catalogs;
        let by_oid = self.files.truncated.iter().any(|oid| !catalogs.relations.contains(oid));
        // New files of unlogged tables are not in the WAL.
        let unlogged = self.removed_of_others && self.files.created.is_empty() && !explained;
        by_oid
            || unlogged
            || self.files.created.iter().any(|file| self.began_anew(file))
            || self.files.emptied.iter().any(|file| self.lost_its_rows(file))
    }

    /// Whether a table that was there before goes on with this file, which the transaction made, without its rows.
    fn began_anew(&self, file: &RelationFile) -> bool {
        let stood_here = |old: &RelationFile| {
            old != file && (old.tablespace, old.database) == (file.tablespace, file.database)
        };
        self.removed_of_others
            && !self.is_of_new(file)
            && !self.files.built.contains(file)
            && self.removed.iter().any(stood_here)
    }

    /// Whether a file that was emptied where it lies had rows that were there before. TRUNCATE does that only to files
    /// that the same transaction made, be it for a table that it rewrote or moved; VACUUM does it to any that is empty.
    fn lost_its_rows(&self, file: &RelationFile) -> bool {
        let is_new = self.is_of_new(file) && !self.files.catalogs.transients.contains(&file.number);
        self.removed_of_others && self.files.created.contains(file) && !is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn file(tablespace: u32, number: u32) -> RelationFile {
        RelationFile { tablespace, database: 5, number }
    }

    fn told(files: Files, removed: &[RelationFile]) -> Vec<Loss> {
        let details = EndDetails { dropped_files: removed.to_vec(), ..EndDetails::default() };
        losses(Some(&details), &Deeds { files, ..Deeds::default() })
    }

    #[test]
    fn without_rows_of_catalogs_a_loss_is_said_rather_than_not() {
        let (old, new) = (file(1663, 16384), file(1663, 16400));
        assert_eq!(told(Files::default(), &[old]), [Loss::Drop]);
        assert_eq!(told(Files { created: vec![new], ..Files::default() }, &[old]), [Loss::Truncate]);
        let built = Files { created: vec![new], built: [new].into(), ..Files::default() };
        assert_eq!(told(built, &[old]), [Loss::Rewrite]);
        assert!(told(Files { created: vec![new], ..Files::default() }, &[new]).is_empty());
    }

    #[test]
    fn a_file_that_moves_is_not_truncated() {
        let (old, new) = (file(1663, 16384), file(20000, 16400));
        assert_eq!(told(Files { created: vec![new], ..Files::default() }, &[old]), [Loss::Rewrite]);
    }
}
