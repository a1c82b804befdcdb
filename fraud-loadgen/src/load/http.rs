//! Just enough of HTTP/1.1 for a client that waits for each answer before it sends again on a connection.

use std::borrow::Cow;

/// Longest answer read, in bytes.
pub const MAX_RESPONSE_BYTES: usize = 64 << 20;
const MAX_HEAD_BYTES: usize = 64 << 10;

/// A complete answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// The body, put together when it came in chunks.
    pub body: Cow<'a, [u8]>,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
    /// Bytes of the whole answer.
    pub length: usize,
}

/// How far an answer is.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// All of it is there.
    Complete(Response<'a>),
    /// More has to come; it makes no sense to look again before there are so many bytes.
    Partial(usize),
}

/// What a server sent that is no HTTP/1.1 answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Its head cannot be read.
    #[error("the answer's head is not HTTP/1.1")]
    Head,
    /// Its length cannot be read.
    #[error("the answer's length cannot be told")]
    Length,
    /// It is longer than [`MAX_RESPONSE_BYTES`].
    #[error("the answer is longer than {MAX_RESPONSE_BYTES} bytes")]
    TooLong,
}

/// Reads an answer from the beginning of `bytes`. An answer that only the connection's end ends is not understood:
/// keep-alive needs a length.
///
/// # Errors
/// [`HttpError`].
pub fn parse(bytes: &[u8]) -> Result<Progress<'_>, HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; 48];
    let mut head = httparse::Response::new(&mut headers);
    let start = match head.parse(bytes).map_err(|_| HttpError::Head)? {
        httparse::Status::Complete(start) => start,
        httparse::Status::Partial if bytes.len() > MAX_HEAD_BYTES => return Err(HttpError::Head),
        httparse::Status::Partial => return Ok(Progress::Partial(bytes.len() + 1)),
    };
    let status = head.code.ok_or(HttpError::Head)?;
    let mut keep_alive = head.version == Some(1);
    let (mut length, mut chunked) = (None, false);
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).map_err(|_| HttpError::Length)?;
            length = Some(text.trim().parse::<usize>().map_err(|_| HttpError::Length)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = contains_token(header.value, b"chunked");
        } else if header.name.eq_ignore_ascii_case("connection") {
            if contains_token(header.value, b"close") {
                keep_alive = false;
            } else if contains_token(header.value, b"keep-alive") {
                keep_alive = true;
            }
        }
    }
    if chunked {
        return Ok(match unchunk(bytes, start)? {
            Some((body, length)) => Progress::Complete(Response { status, body: Cow::Owned(body), keep_alive, length }),
            None => Progress::Partial(bytes.len() + 1),
        });
    }
    let length = match length {
        Some(length) if length > MAX_RESPONSE_BYTES => return Err(HttpError::TooLong),
        Some(length) => length,
        // These have no body by definition.
        None if status == 204 || status == 304 => 0,
        None => return Err(HttpError::Length),
    };
    Ok(match bytes.get(start..start + length) {
        Some(body) => {
            Progress::Complete(Response { status, body: Cow::Borrowed(body), keep_alive, length: start + length })
        }
        None => Progress::Partial(start + length),
    })
}

fn contains_token(value: &[u8], token: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

/// The body put together and where the answer ends, or `None` while chunks are missing.
fn unchunk(bytes: &[u8], start: usize) -> Result<Option<(Vec<u8>, usize)>, HttpError> {
    let (mut at, mut body) = (start, Vec::new());
    loop {
        let rest = &bytes[at..];
        let (line, size) = match httparse::parse_chunk_size(rest).map_err(|_| HttpError::Length)? {
            httparse::Status::Complete(found) => found,
            httparse::Status::Partial => return Ok(None),
        };
        let size = usize::try_from(size).map_err(|_| HttpError::TooLong)?;
        if size > MAX_RESPONSE_BYTES - body.len() {
            return Err(HttpError::TooLong);
        }
        at += line;
        if size == 0 {
            return trailer_end(bytes, at).map(|end| end.map(|end| (body, end)));
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        let (chunk, end) = chunk.split_at(size);
        if end != b"\r\n" {
            return Err(HttpError::Length);
        }
        body.extend_from_slice(chunk);
        at += size + 2;
    }
}

/// The end of the lines after the last chunk.
fn trailer_end(bytes: &[u8], mut at: usize) -> Result<Option<usize>, HttpError> {
    loop {
        let rest = &bytes[at..];
        let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
            return if rest.len() > MAX_HEAD_BYTES { Err(HttpError::Head) } else { Ok(None) };
        };
        at += end + 2;
        if end == 0 {
            return Ok(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(bytes: &[u8]) -> Response<'_> {
        match parse(bytes) {
            Ok(Progress::Complete(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_is_complete_with_its_last_byte_and_not_before() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello";
        let chunked =
            b"HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nA: b\r\n\r\n";
        for (bytes, status) in [(&plain[..], 200), (&chunked[..], 503)] {
            for end in 0..bytes.len() {
                let Ok(Progress::Partial(wanted)) = parse(&bytes[..end]) else { panic!("{end}") };
                assert!(wanted > end && wanted <= bytes.len(), "{end}: {wanted}");
            }
            let response = complete(bytes);
            assert_eq!((response.status, &*response.body, response.length), (status, &b"hello"[..], bytes.len()));
            assert!(response.keep_alive);
        }
    }

    #[test]
    fn the_connection_header_decides() {
        assert!(!complete(b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n").keep_alive);
        assert!(!complete(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").keep_alive);
        assert!(complete(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\nContent-Length: 0\r\n\r\n").keep_alive);
        assert_eq!(complete(b"HTTP/1.1 204 No Content\r\n\r\n").length, 27);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert_eq!(parse(b"SSH-2.0-x\r\n"), Err(HttpError::Head));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\n"), Err(HttpError::Length));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), Err(HttpError::Length));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), Err(HttpError::TooLong));
        let chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n";
        assert_eq!(parse(chunk), Err(HttpError::TooLong));
        assert_eq!(parse(&vec![b'a'; MAX_HEAD_BYTES + 1]), Err(HttpError::Head));
    }
}
