#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;

fn values(text: &str) -> Vec<(String, String)> {
    let conf = Conf::parse(text.as_bytes()).unwrap();
    conf.settings.into_iter().map(|s| (s.name, s.value)).collect()
}

/// Each value as PostgreSQL 15 shows it in pg_file_settings for the same line.
#[test]
fn the_servers_grammar() {
    for (line, value) in [
        ("a = 'x'", "x"),
        ("a 'x'", "x"),
        ("  A\t=\r'x' # comment", "x"),
        ("a = on", "on"),
        ("a = 0x1F", "0x1F"),
        ("a = -1.5e3", "-1.5e3"),
        ("a = 16MB", "16MB"),
        ("a = path/to-file.x:y", "path/to-file.x:y"),
        ("a = 'it''s'", "it's"),
        (r"a = 'it\'s'", "it's"),
        (r"a = 'C:\\wal\\%f \t\101\q'", "C:\\wal\\%f \tAq"),
        ("a = '# no comment'", "# no comment"),
        ("a = ''", ""),
        ("a='x'#c", "x"),
    ] {
        assert_eq!(values(line), [("a".to_owned(), value.to_owned())], "{line}");
    }
    assert_eq!(
        values("\n  \n# a = 1\na.b = 1\r\nc=2"),
        [("a.b", "1"), ("c", "2")].map(|(n, v)| (n.into(), v.into()))
    );
}

#[test]
fn order_last_and_includes() {
    let conf = Conf::parse(b"x = 1\nINCLUDE 'other.conf'\nX = 2\n").unwrap();
    assert_eq!(conf.last("x").map(|s| (s.value.as_str(), s.written.as_str(), s.line)), Some(("2", "X", 3)));
    assert_eq!(conf.includes.len(), 1);
    assert_eq!(conf.last("include"), None);
}

#[test]
fn what_the_server_cannot_read() {
    for (text, near) in [
        ("a", "end of line"),
        ("a =", "end of line"),
        ("a = b c", "token \"c\""),
        ("a = b.c", "token \"b.c\""),
        ("a = 2024-01-01", "token \"-01\""),
        ("a = 'open", "token \"'\""),
        ("1 = 2", "token \"1\""),
        ("a = = b", "token \"=\""),
        ("a == b", "token \"=\""),
    ] {
        let error = Conf::parse(format!("\n{text}\n").as_bytes()).unwrap_err();
        assert_eq!((error.line, error.near.as_str()), (2, near), "{text}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = Conf::parse(&bytes);
    }

    #[test]
    fn no_text_of_these_letters_panics(text in "[a'\\\\ =#0-9.\n]{0,40}") {
        let _ = Conf::parse(text.as_bytes());
    }
}
