//! Spans of time as people write them: `90s`, `15m`, `1h`, `7d`.

const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Seconds of a whole number with one of the units `s`, `m`, `h`, `d`.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let problem = || format!("`{text}` is no span of time: write a whole number and s, m, h or d, such as `7d`");
    let unit = text.chars().last().ok_or_else(problem)?;
    let (_, seconds) = UNITS.iter().find(|(letter, _)| *letter == unit).ok_or_else(problem)?;
    let number = &text[..text.len() - unit.len_utf8()];
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(problem());
    }
    number
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(*seconds))
        .ok_or_else(|| format!("`{text}` is too long a span of time"))
}

/// The shortest text that [`parse`] reads as these seconds.
#[must_use]
pub fn format(seconds: u32) -> String {
    let whole = |size: u32| seconds > 0 && seconds.is_multiple_of(size);
    let (unit, size) = UNITS.into_iter().find(|(_, size)| whole(*size)).unwrap_or(('s', 1));
    format!("{}{unit}", seconds / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("15m", 900), ("36h", 129_600), ("7d", 604_800)] {
            assert_eq!(parse(text), Ok(seconds));
            assert_eq!(format(seconds), text);
        }
        assert_eq!(format(86_401), "86401s");
        for bad in ["", "7", "d", "-1d", "1.5h", "7 d", "1w", "7é", "99999999999s", "99999d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
