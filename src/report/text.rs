//! Text for a terminal: colours, aligned columns, numbers that can be read.

use super::printable;
use crate::finding::{Finding, Severity};
use anstyle::{AnsiColor, Style};
use std::fmt::Write as _;

/// Findings shown of one kind of severity; the rest are counted.
const FINDINGS_SHOWN: usize = 50;

/// Whether to use colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Palette {
    /// Use them.
    pub colored: bool,
}

impl Palette {
    /// `text` in a style, if styles are wanted.
    pub fn paint(self, style: Style, text: &str) -> String {
        if self.colored { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Good news.
    pub fn good(self, text: &str) -> String {
        self.paint(AnsiColor::Green.on_default().bold(), text)
    }

    /// Bad news.
    pub fn bad(self, text: &str) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    /// Neither.
    pub fn caution(self, text: &str) -> String {
        self.paint(AnsiColor::Yellow.on_default().bold(), text)
    }

    /// Less important.
    pub fn faint(self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    /// A heading.
    pub fn heading(self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    fn severity(self, severity: Severity, acknowledged: bool) -> String {
        match severity {
            _ if acknowledged => self.faint("known  "),
            Severity::Error => self.bad("ERROR  "),
            Severity::Warning => self.caution("WARNING"),
            Severity::Info => self.faint("info   "),
        }
    }
}

/// Bytes in the unit that leaves one to three digits before the point.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let mut value = count as f64;
    // What would be shown as 1024.0 is one of the next unit.
    while value >= if unit == 0 { 1024.0 } else { 1023.95 } && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {name}") }
}

/// A number with its digits in groups of three.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `count` and its noun.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", number(count), if count == 1 { "" } else { "s" })
}

/// Findings, one block each, in the order given.
pub fn findings(findings: &[Finding], palette: Palette) -> String {
    let mut text = String::new();
    for severity in [Severity::Error, Severity::Warning, Severity::Info] {
        let of_kind: Vec<&Finding> = findings.iter().filter(|finding| finding.severity == severity).collect();
        for finding in of_kind.iter().take(FINDINGS_SHOWN) {
            text.push_str(&block(finding, palette));
        }
        if let Some(more) = of_kind.len().checked_sub(FINDINGS_SHOWN).filter(|more| *more > 0) {
            let _ = writeln!(text, "         … and {more} more ({} has all)", palette.faint("--format json"));
        }
    }
    text
}

fn block(finding: &Finding, palette: Palette) -> String {
    let mut text = String::new();
    let severity = palette.severity(finding.severity, finding.acknowledged);
    let code = palette.heading(finding.code.name());
    let _ = writeln!(text, "{severity}  {code}  {}", printable(&finding.message));
    let place: Vec<String> = [
        finding.segment.as_deref().map(|segment| format!("segment {}", printable(segment))),
        finding.timeline.map(|timeline| format!("timeline {timeline}")),
        finding.lsn.map(|lsn| format!("LSN {lsn}")),
        finding.offset.map(|offset| format!("offset {offset}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let shows_place = finding.severity != Severity::Info && !place.is_empty();
    if shows_place {
        let _ = writeln!(text, "         {}", palette.faint(&place.join(", ")));
    }
    if let (Severity::Error, Some(expected), Some(found)) =
        (finding.severity, &finding.expected, &finding.found)
    {
        let _ = writeln!(text, "         expected {}, found {}", printable(expected), printable(found));
    }
    if let Some(impact) = &finding.impact {
        let _ = writeln!(text, "         {}", palette.caution(&format!("→ {}", printable(impact))));
    }
    text
}

/// A table with aligned columns and no lines.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(header.iter().map(|name| (*name).to_owned()));
    for row in rows {
        table.add_row(row);
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        let _ = writeln!(text, "  {}", line.trim_end());
    }
    text
}

/// A word as a shell takes it: in quotes where it would take it for something else.
pub fn shell_word(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@,=".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A name in quotes, those of its own behind a backslash.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", printable(name).replace('"', "\\\""))
}

/// A path or URL as an argument: what begins with a hyphen would be taken for an option.
pub fn shell_path(path: &str) -> String {
    if path.starts_with('-') { shell_word(&format!("./{path}")) } else { shell_word(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_bytes_have_units() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 1023, 1024, (1 << 20) - 1, 16 << 20, 3 << 30].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "16.0 MiB", "3.0 GiB"]
        );
    }
}
