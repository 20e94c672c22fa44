//! Lengths of time for people.

/// `micros` in the two largest units that say something: "3 d 4 h", "5 min 12 s", "0.25 s".
pub fn span(micros: i64) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    if seconds < 10 {
        return format!("{sign}{}.{:02} s", seconds, micros % 1_000_000 / 10_000);
    }
    let largest = UNITS.iter().position(|(_, length)| seconds >= *length).unwrap_or(UNITS.len() - 1);
    let mut rest = seconds;
    let parts: Vec<String> = UNITS
        .iter()
        .skip(largest)
        .take(2)
        .map(|(unit, length)| {
            let count = rest / length;
            rest %= length;
            format!("{count} {unit}")
        })
        .collect();
    format!("{sign}{}", parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn the_two_largest_units() {
        let shown =
            [250_000, 12_000_000, 312_000_000, 3 * 86_400_000_000 + 4 * 3_600_000_000, -90_000_000].map(span);
        assert_eq!(shown, ["0.25 s", "12 s", "5 min 12 s", "3 d 4 h", "-1 min 30 s"]);
    }
}
