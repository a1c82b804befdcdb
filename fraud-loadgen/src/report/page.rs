//! The report as one page.

use super::Record;

/// The page of a record, with everything that it needs in it.
#[must_use]
pub fn page(record: &Record) -> String {
    // `</` could end the script; in JSON it can only stand in a text, where the escaped form means the same.
    let data = serde_json::to_string(record).unwrap_or_default().replace("</", "<\\/");
    include_str!("page.html").replace("__RECORD__", &data)
}
