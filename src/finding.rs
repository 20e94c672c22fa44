//! What is wrong, or worth knowing, with its place.

use crate::wal::fault::Fault;
use crate::wal::{Lsn, TimelineId};
use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something can no longer be recovered, or must not be trusted.
    Error,
    /// Nothing is lost, but somebody should look.
    Warning,
    /// Worth knowing.
    Info,
}

macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident $text:literal $severity:ident;)+) => {
        /// What kind of finding. Names are stable: scripts read them.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
        pub enum Code {
            $($(#[$doc])+ #[serde(rename = $text)] $name,)+
        }

        impl Code {
            /// Every code, errors first.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name that reports use.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// How bad it is.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }
        }
    };
}

codes! {
    /// A page does not begin with the magic of its version: overwritten or damaged storage.
    /// Replay ends there. Restore the segment from another copy.
    PageMagic "page-magic" Error;
    /// A page header contradicts itself or its version. Replay may end there.
    PageHeader "page-header" Error;
    /// A page says that it belongs to another position, as in a file stored under a wrong name. Replay ends there.
    PageAddress "page-address" Error;
    /// A page carries a timeline that does not own it by the history.
    PageTimeline "page-timeline" Error;
    /// One segment inside a chain says that it belongs to another cluster. Replay ends there.
    SystemIdentifier "system-identifier" Error;
    /// A segment's size, stored or actual, is not that of its chain. A file of the wrong size stops the server.
    SegmentSize "segment-size" Error;
    /// A record's header or block headers cannot be. Replay ends there.
    RecordHeader "record-header" Error;
    /// A record's checksum is wrong: a byte changed since the server wrote it. Replay ends there.
    RecordCrc "record-crc" Error;
    /// A record does not link to the one before it: something between is missing, or another history was put here.
    RecordPrevLink "record-prev-link" Error;
    /// The rest of a record that crosses pages is not where it should be. Replay ends there.
    Contrecord "contrecord" Error;
    /// A file ends before its segment does, as when a copy was interrupted. The server refuses it.
    SegmentTruncated "segment-truncated" Error;
    /// A segment that a path through the archive needs is not there. Replay ends before it.
    SegmentMissing "segment-missing" Error;
    /// The WAL of a segment ends in the middle although the next segment exists.
    SegmentEndsEarly "segment-ends-early" Error;
    /// A timeline has segments but no history file: the server cannot know where it came from. As a warning: a number
    /// among those of other timelines has none, and hides the ones behind it.
    TimelineHistoryMissing "timeline-history-missing" Error;
    /// A history file cannot be read, or says what the WAL contradicts.
    TimelineHistoryInvalid "timeline-history-invalid" Error;
    /// The WAL that a timeline copied from its parent is not what the parent's file has.
    TimelineDiverges "timeline-diverges" Error;
    /// Two stored copies of one segment hold different WAL.
    DuplicateDiffers "duplicate-differs" Error;
    /// An object was obtained and cannot be decoded, or could not be obtained: then the exit status is 3.
    Unreadable "unreadable" Error;
    /// Segments of another cluster stand among these: two servers archive to one place.
    ForeignCluster "foreign-cluster" Error;
    /// A complete earlier cluster stands in the same place, as pg_upgrade leaves it. No replay leads across.
    EarlierCluster "earlier-cluster" Warning;
    /// A file that is no part of a WAL archive.
    UnknownFile "unknown-file" Warning;
    /// A segment is only there as `.partial`, which recovery never asks for.
    PartialOnly "partial-only" Warning;
    /// Bytes that nothing protects and nothing reads are not zero. Harmless, but storage may have changed them.
    PaddingNotZero "padding-not-zero" Warning;
    /// The newest WAL is older than was asked for.
    ArchiveStale "archive-stale" Warning;
    /// WAL was written at wal_level minimal: it does not hold every change.
    WalLevelMinimal "wal-level-minimal" Warning;
    /// Times of commits run backwards by more than a second: a time target may stop earlier than meant.
    CommitTimeRegression "commit-time-regression" Warning;
    /// A file of a pg_wal that is kept for later use and holds old WAL.
    Recycled "recycled" Info;
    /// A record that a crash cut off, and that the server then overwrote. Nothing is lost.
    OverwriteContrecord "overwrite-contrecord" Info;
    /// The newest WAL of a timeline ends in the middle of a record or segment.
    IncompleteTail "incomplete-tail" Info;
    /// The oldest WAL begins in the middle of a record.
    LeadingFragment "leading-fragment" Info;
    /// The version of PostgreSQL changes.
    VersionChange "version-change" Info;
    /// A parameter grew that a standby must follow.
    ParameterIncrease "parameter-increase" Info;
}

/// One finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// What kind.
    pub code: Code,
    /// How bad; of an acknowledged one always [`Severity::Info`].
    pub severity: Severity,
    /// Somebody accepted it.
    pub acknowledged: bool,
    /// The file, by its name.
    pub segment: Option<String>,
    /// The timeline.
    pub timeline: Option<TimelineId>,
    /// Start of the record, or of the page where it is the page.
    #[serde(serialize_with = "crate::report::json::optional_text")]
    pub lsn: Option<Lsn>,
    /// Byte in the segment.
    pub offset: Option<u64>,
    /// What should be there.
    pub expected: Option<String>,
    /// What is there.
    pub found: Option<String>,
    /// One sentence for a person.
    pub message: String,
    /// One sentence on what can no longer be recovered.
    pub impact: Option<String>,
}

impl Finding {
    /// A finding without a place.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            acknowledged: false,
            segment: None,
            timeline: None,
            lsn: None,
            offset: None,
            expected: None,
            found: None,
            message: message.into(),
            impact: None,
        }
    }

    /// In this file.
    #[must_use]
    pub fn in_segment(mut self, segment: impl std::fmt::Display) -> Self {
        self.segment = Some(segment.to_string());
        self
    }

    /// On this timeline.
    #[must_use]
    pub const fn on(mut self, timeline: TimelineId) -> Self {
        self.timeline = Some(timeline);
        self
    }

    /// At this position, where one is known, this many bytes into the segment.
    #[must_use]
    pub const fn at(mut self, lsn: Lsn, offset: u64) -> Self {
        self.lsn = if lsn.0 == Lsn::INVALID.0 { None } else { Some(lsn) };
        self.offset = Some(offset);
        self
    }

    /// What should be there, and what is.
    #[must_use]
    pub fn expecting(mut self, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Self {
        self.expected = Some(expected.to_string());
        self.found = Some(found.to_string());
        self
    }

    /// What can no longer be recovered because of it, where the WAL around it does not tell.
    #[must_use]
    pub fn costing(mut self, impact: impl Into<String>) -> Self {
        self.impact = Some(impact.into());
        self
    }

    /// With this severity rather than its code's.
    #[must_use]
    pub const fn rated(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}

impl From<Fault> for Code {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::PageMagic { .. } => Self::PageMagic,
            Fault::PageSegmentSize { .. } => Self::SegmentSize,
            Fault::PageAddress { .. } => Self::PageAddress,
            Fault::PageTimeline { .. } => Self::PageTimeline,
            Fault::PrevLink { .. } => Self::RecordPrevLink,
            // Where no record was dropped, it is the page's flag that is wrong.
            Fault::OverwriteMismatch { expected: Lsn::INVALID, .. } => Self::PageHeader,
            Fault::NoContinuation
            | Fault::UnexpectedContinuation { .. }
            | Fault::ContinuationLength { .. }
            | Fault::ContinuationEnd { .. }
            | Fault::OverwriteMismatch { .. } => Self::Contrecord,
            Fault::Crc { .. } => Self::RecordCrc,
            Fault::EndsEarly { .. } => Self::SegmentEndsEarly,
            Fault::RecordLength { .. }
            | Fault::LengthAgainstChecksum { .. }
            | Fault::ResourceManager { .. }
            | Fault::BlockOrder { .. }
            | Fault::BlockId { .. }
            | Fault::BlockData { .. }
            | Fault::BlockSameRelation
            | Fault::Image { .. }
            | Fault::BodyLength => Self::RecordHeader,
            Fault::PageFlags { .. } | Fault::PageRemaining { .. } | Fault::PageBlockSize { .. } => {
                Self::PageHeader
            }
        }
    }
}
