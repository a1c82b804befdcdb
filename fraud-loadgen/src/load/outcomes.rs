//! The decisions in an answer's body.
//!
//! The bodies are the service's own, so one name is looked for instead of parsing all of the JSON, which would cost
//! more than sending the request. `decision` stands before `reasons`, the only part that holds texts of others.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::stats::Outcome;

static QUOTE_D: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"decision\""));

/// Calls `each` with the outcome of every row, in order, and answers how many there were. A row is an object of the outermost
/// level, or of an array there.
pub(super) fn read(body: &[u8], rows: usize, mut each: impl FnMut(Outcome)) -> usize {
    if rows == 1 && body.trim_ascii_start().first() == Some(&b'{') {
        return decision(body).map_or(0, |outcome| {
            each(outcome);
            1
        });
    }
    let mut found = 0;
    for row in Rows(body) {
        // A row without a decision is a row's error.
        each(decision(row).unwrap_or(Outcome::Error));
        found += 1;
    }
    found
}

fn decision(row: &[u8]) -> Option<Outcome> {
    let after = QUOTE_D.find(row)? + b"\"decision\"".len();
    let value = row[after..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    [(&b"\"approve\""[..], Outcome::Approve), (b"\"review\"", Outcome::Review), (b"\"decline\"", Outcome::Decline)]
        .into_iter()
        .find_map(|(word, outcome)| value.starts_with(word).then_some(outcome))
}

/// The objects of a JSON array or of NDJSON.
struct Rows<'a>(&'a [u8]);

impl<'a> Iterator for Rows<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = memchr::memchr(b'{', self.0)?;
        let (mut depth, mut at) = (0_u32, start);
        // Only quotes and braces matter; between them is skipped.
        loop {
            at += memchr::memchr3(b'{', b'}', b'"', &self.0[at..])?;
            match self.0[at] {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => at = string_end(self.0, at)?,
            }
            at += 1;
            if depth == 0 {
                let row = &self.0[start..at];
                self.0 = &self.0[at..];
                return Some(row);
            }
        }
    }
}

/// Where the string that begins at `at` has its closing quote.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += 1;
        at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 1;
        if at >= bytes.len() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(body: &str, rows: usize) -> Vec<Outcome> {
        let mut found = Vec::new();
        assert_eq!(read(body.as_bytes(), rows, |outcome| found.push(outcome)), found.len());
        found
    }

    #[test]
    fn one_answer() {
        assert_eq!(outcomes(r#"{"transaction_id":"1","decision":"approve"}"#, 1), [Outcome::Approve]);
        assert_eq!(outcomes(r#" { "decision" : "decline" }"#, 1), [Outcome::Decline]);
        assert_eq!(outcomes(r#"{"title":"no"}"#, 1), []);
        assert_eq!(outcomes("", 1), []);
    }

    #[test]
    fn rows_of_arrays_and_lines_in_order() {
        let one = r#"{"decision":"review","reasons":[{"rule":"a \"}{\" b"},{"feature":"x"}]}"#;
        let two = r#"{"error":{"title":"bad","decision_":"approve"}}"#;
        let three = r#"{"decision":"approve"}"#;
        let expected = [Outcome::Review, Outcome::Error, Outcome::Approve];
        assert_eq!(outcomes(&format!("[{one}, {two},{three}]"), 3), expected);
        assert_eq!(outcomes(&format!("{one}\n{two}\n{three}\n"), 3), expected);
        assert_eq!(outcomes(&format!("[{three}]"), 1), [Outcome::Approve]);
    }

    #[test]
    fn torn_bodies_give_what_is_whole() {
        let body = r#"[{"decision":"review"},{"decision":"appro"#;
        assert_eq!(outcomes(body, 2), [Outcome::Review]);
        for end in 0..body.len() {
            outcomes(&body[..end], 2);
        }
        outcomes("[{\"a\\", 2);
        outcomes("[}}{", 2);
    }
}
