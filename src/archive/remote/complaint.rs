//! What a failed request says to a person: the service's own code and message, one line, no secrets.
//!
//! Services answer a bad signature with the access key and the string that was signed, and a URL in an error may
//! end in a signature (Azure's shared access). Neither may reach a log.

use super::service::Failure;
use std::io;

/// The longest text passed on.
const TEXT_BYTES_MAX: usize = 300;

/// The error as an I/O error.
pub(super) fn io_error(failure: &object_store::Error) -> io::Error {
    let kind = match failure {
        object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            io::ErrorKind::PermissionDenied
        }
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, text(failure))
}

/// The error as a failed fetch.
pub(super) fn failure(failure: &object_store::Error) -> Failure {
    Failure::Failed(io_error(failure))
}

/// The error in one line.
pub(super) fn text(failure: &object_store::Error) -> String {
    if matches!(failure, object_store::Error::NotFound { .. }) && tag(&failure.to_string(), "Code").is_none()
    {
        return "there is no such object".to_owned();
    }
    shorten(&failure.to_string())
}

fn shorten(text: &str) -> String {
    let (before, document) =
        text.find("<?xml").or_else(|| text.find("<Error")).map_or((text, ""), |at| text.split_at(at));
    let mut line = without_queries(before.trim_end_matches([':', ' ', '\n']));
    if let Some(code) = tag(document, "Code") {
        line = format!("{line}: {code}");
    }
    if let Some(message) = tag(document, "Message") {
        line = format!("{line}: {message}");
    }
    let mut end = line.len().min(TEXT_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text of the first element called `name`.
fn tag<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(text, _)| text)
}

/// `text` with the query of each URL left out.
fn without_queries(text: &str) -> String {
    let mut parts = text.split('?');
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find([' ', ')', '"', '\'', '>', '\n']).unwrap_or(part.len());
        kept.push_str("?…");
        kept.push_str(&part[end..]);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_error_keeps_its_code_and_loses_the_key() {
        let text = "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?><Error><Code>\
                    SignatureDoesNotMatch</Code><Message>The signature does not match.</Message><AWSAccessKeyId>\
                    AKIAEXAMPLE</AWSAccessKeyId><StringToSign>AWS4-HMAC-SHA256</StringToSign></Error>";
        assert_eq!(
            shorten(text),
            "Server returned non-2xx status code: 403 Forbidden: SignatureDoesNotMatch: The signature does not match."
        );
    }

    #[test]
    fn a_url_loses_its_query_and_the_text_its_length() {
        let text =
            "error sending request for url (https://a.example/c?sig=SECRET&se=1) after 3 retries\n? ok";
        assert_eq!(
            shorten(text),
            "error sending request for url (https://a.example/c?…) after 3 retries ?… ok"
        );
        assert!(shorten(&"é".repeat(1000)).len() <= TEXT_BYTES_MAX);
    }
}
