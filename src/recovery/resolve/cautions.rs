//! What a person should mind although the server will do what was asked for.

use crate::recovery::library::Library;
use crate::recovery::model::{Prediction, Request, next_timeline};
use crate::recovery::route::Route;
use crate::scan::event::{Event, What};
use crate::wal::Major;
use crate::wal::payload::xlog::ParameterChange;

/// All of them, as far as the WAL shows them.
pub(super) fn of(library: &Library<'_>, request: &Request<'_>, prediction: &Prediction<'_>) -> Vec<String> {
    let one = [parameters(request, prediction), timeline_taken(library, prediction)];
    one.into_iter().flatten().chain(databases_half_dropped(prediction)).collect()
}

/// A promoted server takes the first number without a history. Where that history was lost, files of that timeline are
/// there already.
///
/// PostgreSQL: `findNewestTimeLine` in `src/backend/access/transam/timeline.c`, 9.5 to 19.
fn timeline_taken(library: &Library<'_>, prediction: &Prediction<'_>) -> Option<String> {
    let history = prediction.history.as_ref().filter(|_| prediction.fatal.is_none())?;
    let new = next_timeline(library, history.timeline);
    library.own().any(|(timeline, ..)| timeline == new).then(|| {
        format!(
            "the server promotes to timeline {new}, of which segments are there already, without their history: it \
             would archive its own under the same names"
        )
    })
}

/// The events that are replayed, those of transactions left out.
fn applied<'p>(prediction: &'p Prediction<'_>) -> impl Iterator<Item = &'p Event> {
    let is_applied = |event: &&Event| event.lsn >= prediction.redo && event.end <= prediction.applied_to;
    prediction.route.iter().flat_map(Route::others).filter(is_applied)
}

/// Databases that a transaction dropped which has not ended at the stop: their files go at once, and late minor versions
/// mark the row in front of that, without a transaction. So the stop is in front of the drop by the clock, and the
/// database is gone all the same.
///
/// PostgreSQL: `dropdb` in `src/backend/commands/dbcommands.c`, 9.5 to 19.
fn databases_half_dropped(prediction: &Prediction<'_>) -> Vec<String> {
    let ended = |drop: &Event| {
        let ends = prediction.route.iter().flat_map(|route| route.events_if(|facts| facts.end() > drop.lsn));
        let mut ends = ends.take_while(|event| event.end <= prediction.applied_to);
        ends.any(|event| event.lsn > drop.lsn && event.xid == drop.xid && matches!(event.what, What::End(_)))
    };
    let half_dropped = |drop: &Event| match drop.what {
        What::Database { created: false, database } if !ended(drop) => Some(format!(
            "the database with OID {database} is not to be had at this stop: DROP DATABASE (transaction {}) had removed \
             its files by then, at {}, although its commit is behind the stop; `walproof find --kind drop-database` tells \
             where to stop in front of it",
            drop.xid, drop.lsn
        )),
        _ => None,
    };
    applied(prediction).filter_map(half_dropped).collect()
}

/// Parameters that the server of the WAL changed after the backup, whose configuration has them as they were: with
/// hot_standby, the default from 10 on, a server needs them at least as large, and ends (from 14 on: waits) where they
/// are not.
///
/// PostgreSQL: `CheckRequiredParameterValues` in `src/backend/access/transam/xlogrecovery.c`, 10 to 19.
fn parameters(request: &Request<'_>, prediction: &Prediction<'_>) -> Option<String> {
    let changes: Vec<&ParameterChange> = applied(prediction)
        .filter_map(|event| match &event.what {
            What::ParameterChange(change) => Some(&**change),
            _ => None,
        })
        .collect();
    if changes.is_empty() || request.major < Major::V10 {
        return None;
    }
    let largest =
        |of: fn(&ParameterChange) -> Option<i32>| changes.iter().filter_map(|change| of(change)).max();
    let needed = [
        ("max_connections", largest(|change| Some(change.max_connections))),
        ("max_worker_processes", largest(|change| Some(change.max_worker_processes))),
        ("max_wal_senders", largest(|change| change.max_wal_senders)),
        ("max_prepared_transactions", largest(|change| Some(change.max_prepared_transactions))),
        ("max_locks_per_transaction", largest(|change| Some(change.max_locks_per_transaction))),
    ];
    let needed: Vec<String> =
        needed.into_iter().filter_map(|(name, value)| Some(format!("{name} = {}", value?))).collect();
    let does = if request.major < Major::V14 { "ends with an error" } else { "waits" };
    Some(format!(
        "parameters were changed behind the backup: unless its configuration has at least {}, or hot_standby = off, the \
         server {does} on the way",
        needed.join(", ")
    ))
}
