//! A plan with its proof: what would go, what can be recovered to before and after, and whether anything speaks
//! against it.

use super::baseline::{Accepted, last_of};
use super::plan::{Cleanup, Ruled, plan};
use super::{Policy, choose, prove};
use crate::archive::{Entry, StoreError};
use crate::audit::Options;
use crate::backup::BaseBackup;
use crate::clock::Clock;
use crate::finding::{Code, Finding};
use crate::recovery::Library;
use crate::recovery::windows::{Window, windows};
use crate::wal::PgTime;

/// A plan, proved or refused.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// What goes and what stays. Nothing goes where it is refused.
    pub cleanup: Cleanup,
    /// What can be recovered to now.
    pub before: Vec<Window>,
    /// What can be recovered to then.
    pub after: Vec<Window>,
    /// Why nothing may be removed.
    pub refused: Option<String>,
    /// Gaps that an audit will find then, behind backups that keep their own WAL only: see [`prove::new_gaps`].
    pub gaps: Vec<Finding>,
}

/// Plans a cleanup by `policy`. `findings`: what an audit of the same archive found, what is accepted marked as such.
pub fn propose(
    library: &Library<'_>,
    backups: &[BaseBackup],
    policy: &Policy,
    findings: &[Finding],
    options: &Options,
) -> Result<Proposal, StoreError> {
    let before = windows(library, backups, library.major)?;
    let nothing = Proposal {
        cleanup: Cleanup::default(),
        after: before.clone(),
        before,
        refused: None,
        gaps: Vec::new(),
    };
    let chosen = match choose(library, backups, &nothing.before, policy, &options.clock) {
        Ok(chosen) => chosen,
        Err(reason) => return Ok(nothing.refuse(library, reason)),
    };
    let cleanup = plan(library, backups, &chosen, policy);
    let after = prove::windows_after(library, backups, &cleanup)?;
    let gaps = prove::new_gaps(library, &cleanup, options, findings);
    let proof = prove::Proof {
        library,
        backups,
        chosen: &chosen,
        cleanup: &cleanup,
        before: &nothing.before,
        after: &after,
        findings,
    };
    Ok(match proof.objection() {
        Some(reason) => nothing.refuse(library, reason),
        None => Proposal { cleanup, after, gaps, ..nothing },
    })
}

impl Proposal {
    /// What carrying it out takes away behind backups that keep their own WAL only, for the baseline: at the end, and
    /// wherever carrying out may be ended before. Accepted at `now`.
    pub fn losses(&self, library: &Library<'_>, now: PgTime) -> Vec<Accepted> {
        let at_end =
            self.gaps.iter().filter_map(|gap| Some((gap.segment.clone()?, last_of(gap)?.to_owned())));
        let on_the_way = self.cleanup.runs(library).into_iter().map(|(a, b)| (a.to_string(), b.to_string()));
        let accepted = |(segment, through)| Accepted {
            segment,
            reason: "walproof cleanup removed it: the backup before it keeps its own WAL only".to_owned(),
            accepted_at: Clock::utc().iso(now),
            through: Some(through),
            codes: vec![Code::SegmentMissing.name().to_owned()],
            lsns: Vec::new(),
            system_identifier: Some(library.system_id.to_string()),
            digests: Vec::new(),
        };
        at_end.chain(on_the_way).map(accepted).collect()
    }

    /// The same with nothing removed.
    #[must_use]
    pub fn refuse(self, library: &Library<'_>, reason: String) -> Self {
        let kept = |entry: &Entry| Ruled {
            entry: entry.clone(),
            reason: "nothing is removed: the cleanup is refused".to_owned(),
        };
        let keep = library.plan.inventory.entries.iter().map(kept).collect();
        let after = self.before.clone();
        let cleanup = Cleanup { keep, ..Cleanup::default() };
        Self { cleanup, after, refused: Some(reason), gaps: Vec::new(), ..self }
    }
}
