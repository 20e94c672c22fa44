//! What a person should know about an answer of `find`.

use super::find::FindArgs;
use crate::catalog::Unseen;
use crate::clock::Clock;
use crate::find::loss::Loss;
use crate::find::query::{Found, is_subtransaction};
use crate::find::{Index, Query};
use crate::names::Names;
use crate::report::text::{counted, number, quoted};
use crate::scan::event::What;
use std::collections::BTreeSet;

/// Names of restore points that are listed where another one was asked for.
const NAMES_SHOWN: usize = 10;

/// What notes are made from.
pub(super) struct About<'a> {
    pub(super) args: &'a FindArgs,
    pub(super) query: &'a Query,
    pub(super) index: &'a Index,
    pub(super) names: &'a Names,
    pub(super) clock: &'a Clock,
}

impl About<'_> {
    /// All of them. `found` is what there is to show, of which `shown` events are.
    pub(super) fn notes(&self, found: &[Found<'_>], shown: usize, unseen: Unseen) -> Vec<String> {
        let mut notes = Vec::new();
        if shown < found.len() {
            let (shown, all) = (number(shown as u64), counted(found.len() as u64, "event"));
            notes.push(format!("{shown} of {all} shown: --limit {shown}"));
        }
        notes.extend(self.unknown_table());
        notes.extend(self.unknown_name(found));
        notes.extend(self.nearest(found));
        notes.extend(self.subtransaction_or_databases(found));
        notes.extend(self.incomplete());
        notes.extend(not_listed(unseen));
        notes
    }

    /// A table that nothing is known of is not a table that nothing happened to; nor is a schema one that has no tables.
    fn unknown_table(&self) -> Option<String> {
        let table = self.query.table.as_deref().filter(|table| !is_file(table))?;
        if !self.names.has_relation(table) {
            return Some(format!(
                "which table is \"{table}\"? No row of pg_class in this WAL says: give the number of its file \
                 (pg_relation_filenode), or --backup DIR with the data files of a base backup"
            ));
        }
        let (schema, name) = table.rsplit_once('.')?;
        (!self.names.has_relation_called(table) && !self.names.has_schema(schema)).then(|| {
            format!(
                "no row of pg_namespace in this WAL tells of a schema \"{schema}\": any {name} whose schema is \
                 not known may be meant"
            )
        })
    }

    /// Which restore points there are instead.
    fn unknown_name(&self, found: &[Found<'_>]) -> Option<String> {
        let wanted = self.query.name.as_deref().filter(|_| found.is_empty())?;
        let names: BTreeSet<&str> = self.index.happenings.iter().filter_map(restore_point).collect();
        if names.is_empty() {
            let more = "walproof find --kind restore-point lists the restore points that there are";
            return Some(format!("nothing is called {}: {more}", quoted(wanted)));
        }
        let alike = |name: &&str| {
            let same = name.chars().zip(wanted.chars());
            same.take_while(|(a, b)| a.to_lowercase().eq(b.to_lowercase())).count()
        };
        let mut closest: Vec<&str> = names.iter().copied().collect();
        closest.sort_by_key(|name| std::cmp::Reverse(alike(name)));
        let shown: Vec<String> = closest.iter().take(NAMES_SHOWN).map(|name| quoted(name)).collect();
        let of = match names.len().checked_sub(NAMES_SHOWN) {
            Some(more @ 1..) => format!(" and {} more", number(more as u64)),
            _ => String::new(),
        };
        let shown = shown.join(", ");
        Some(format!("nothing is called {}; restore points are: {shown}{of}", quoted(wanted)))
    }

    /// What stands beside a place is not what is at it.
    fn nearest(&self, found: &[Found<'_>]) -> Option<String> {
        if found.is_empty() || !self.query.is_nearest() || self.query.is_met(found) {
            return None;
        }
        Some(match (self.query.lsn, self.query.time) {
            (Some(lsn), _) => format!("no event's record holds {lsn}; nearest to it:"),
            (None, time) => {
                format!("nothing at {}; nearest to it:", self.clock.iso(time.unwrap_or_default()))
            }
        })
    }

    fn subtransaction_or_databases(&self, found: &[Found<'_>]) -> Vec<String> {
        let Some(xid) = self.query.xid else { return self.dropped_too() };
        let owners =
            found.iter().map(|one| one.happening).filter(|happening| is_subtransaction(happening, xid));
        owners.map(|owner| format!("{xid} is a subtransaction of transaction {}", owner.event.xid)).collect()
    }

    /// Who asks for drops should know of whole databases.
    fn dropped_too(&self) -> Vec<String> {
        let kinds = &self.query.kinds;
        let asks_for_drops = kinds.iter().any(|kind| kind == Loss::Drop.name()) && self.args.table.is_none();
        let others = ["drop-database", "drop-tablespace"]
            .into_iter()
            .filter(|other| asks_for_drops && !kinds.iter().any(|kind| kind == other));
        others
            .filter_map(|kind| {
                let query = Query { kinds: vec![kind.to_owned()], ..self.query.clone() };
                let count = query.run(self.index, self.names).len() as u64;
                let events = counted(count, &format!("{kind} event"));
                (count > 0).then(|| format!("besides these, {events}: --kind {kind}"))
            })
            .collect()
    }

    /// Of a record that was too long to be kept whole, what it dropped may be missing.
    fn incomplete(&self) -> Vec<String> {
        if self.query.kinds.is_empty() && self.query.table.is_none() {
            return Vec::new();
        }
        let is_incomplete = |one: &&Found<'_>| match &one.happening.event.what {
            What::End(end) => end.details.as_ref().is_some_and(|details| details.incomplete),
            _ => false,
        };
        let found = self.query.bounds().run(self.index, self.names);
        let found = found.iter().filter(is_incomplete).map(|one| &one.happening.event);
        found
            .map(|event| {
                format!(
                    "the record of transaction {} at {} was too long to be kept whole: what it dropped may be missing here",
                    event.xid, event.lsn
                )
            })
            .collect()
    }
}

fn restore_point(happening: &crate::find::Happening) -> Option<&str> {
    match &happening.event.what {
        What::RestorePoint { name } => Some(name),
        _ => None,
    }
}

/// Whether this is the number or the path of a relation's file.
pub(super) fn is_file(table: &str) -> bool {
    table.rsplit('/').next().is_some_and(|number| number.parse::<u32>().is_ok())
}

/// What happened in WAL that is missing or damaged is in no answer, whether somebody accepted the loss or not.
fn not_listed(unseen: Unseen) -> Option<String> {
    let counts = [(unseen.missing, "missing"), (unseen.damaged, "damaged")];
    let told: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", counted(count, "segment")))
        .collect();
    (!told.is_empty()).then(|| {
        format!(
            "{}: what happened there may not be listed here (walproof verify says where)",
            told.join(", ")
        )
    })
}

/// A relation as servers and people write it: what stands in quotes is taken out of them, as SQL does.
pub(super) fn relation_name(text: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let Some((part, behind)) = identifier(rest) else { return text.to_owned() };
        parts.push(part);
        match behind.strip_prefix('.') {
            Some(next) => rest = next,
            None if behind.is_empty() => return parts.join("."),
            None => return text.to_owned(),
        }
    }
}

/// The first identifier of `text`, and what stands behind it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
        let (plain, behind) = text.split_at(end);
        return (!plain.is_empty()).then(|| (plain.to_owned(), behind));
    };
    let mut name = String::new();
    loop {
        let (part, behind) = rest.split_once('"')?;
        name += part;
        match behind.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::relation_name;

    #[test]
    fn names_are_taken_as_servers_print_them() {
        let cases = [
            (r#""My Schema"."Big Table""#, "My Schema.Big Table"),
            (r#"public."Order ""Lines""""#, r#"public.Order "Lines""#),
            ("sales.orders", "sales.orders"),
            (r#"odd "name""#, r#"odd "name""#),
            ("base/5/16384", "base/5/16384"),
            (r#"""#, r#"""#),
        ];
        for (typed, meant) in cases {
            assert_eq!(relation_name(typed), meant);
        }
    }
}
