//! What speaks against a target.

macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident $text:literal;)+) => {
        /// What kind of thing speaks against a target. Names are stable: scripts read them.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum ProblemCode {
            $($(#[$doc])+ $name,)+
        }

        impl ProblemCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

codes! {
    /// Replay comes to the end of the WAL without the target.
    TargetNotReached "target-not-reached";
    /// The server would stop, at a state that is later than what was asked for: the backup holds more already.
    TargetBeforeBackup "target-before-backup";
    /// The server would stop before the backup is consistent, and dies there.
    BeforeConsistency "before-consistency";
    /// A segment that is needed before the stop is not there.
    SegmentMissing "segment-missing";
    /// A segment that is needed before the stop is damaged, of the wrong size, or stored twice with different content.
    SegmentDamaged "segment-damaged";
    /// The timeline asked for has no history, or one that the server refuses.
    TimelineNotFound "timeline-not-found";
    /// The way to the timeline does not lead through the backup.
    TimelineNotDescendant "timeline-not-descendant";
    /// No base backup is known, or none from which a server can start.
    NoUsableBackup "no-usable-backup";
    /// The WAL ends before the backup is consistent.
    ConsistencyNotReached "consistency-not-reached";
    /// The server would read a parent's WAL where the child's is due, and not notice.
    WrongTimelineReplayed "wrong-timeline-replayed";
    /// The transaction is a part of another one: no server stops at it.
    SubtransactionXid "subtransaction-xid";
    /// A configuration sets more targets than its version takes.
    MultipleTargets "multiple-targets";
    /// Clocks were changed: the time was there twice, or never.
    AmbiguousTime "ambiguous-time";
    /// Several restore points have the name. It alone may stand beside a feasible target.
    AmbiguousName "ambiguous-name";
    /// WAL of `wal_level` minimal would be replayed: changes to new tables are not in it.
    WalLevelMinimal "wal-level-minimal";
}

/// One thing that speaks against a target, in a sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What.
    pub code: ProblemCode,
    /// In a sentence.
    pub message: String,
}
