//! The same answer as text for people and as JSON for scripts. Nothing is computed here.

pub mod cleanup;
pub mod find;
pub mod index;
pub mod json;
pub mod resolve;
pub mod text;
pub mod timelines;
pub mod verify;

/// Replaces control characters, so that a name from an archive cannot write to a terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let plain = !c.is_control() && !is_invisible(c);
            let escaped = (!plain).then(|| c.escape_unicode());
            let kept = plain.then_some(c);
            escaped.into_iter().flatten().chain(kept)
        })
        .collect()
}

/// Characters that turn the direction of text around or show nothing.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        assert_eq!(printable("a\u{1b}[31mb\r\n\u{202e}é"), "a\\u{1b}[31mb\\u{d}\\u{a}\\u{202e}é");
    }
}
