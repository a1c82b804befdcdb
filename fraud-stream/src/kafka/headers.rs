//! The headers of a record, whatever their names are made of.
//!
//! The safe interface panics on a name that is not UTF-8, and one such record would end every process that reads it.

use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_void};

use rdkafka::bindings::{rd_kafka_header_get_all, rd_kafka_message_headers};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;

/// A record's headers in their order, as names and values; a name that is no text has replacement characters in it.
#[allow(unsafe_code)]
pub(super) fn of<'a>(message: &'a BorrowedMessage<'_>) -> impl Iterator<Item = (Cow<'a, str>, Option<&'a [u8]>)> {
    let mut list = std::ptr::null_mut();
    // SAFETY: the message is valid for the call, because it is borrowed; `list` is writable. The list that is given back
    // belongs to the message and lives as long.
    let error = unsafe { rd_kafka_message_headers(message.ptr(), &raw mut list) };
    let any = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && !list.is_null();
    (0..).take_while(move |_| any).map_while(move |index| {
        let (mut name, mut value, mut size) = (std::ptr::null::<c_char>(), std::ptr::null::<c_void>(), 0);
        // SAFETY: `list` is the one of above, whose message is borrowed for 'a and not written to; the three places are
        // writable. An index beyond the list is answered with an error.
        let error = unsafe { rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut size) };
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: without an error the name ends with a zero byte, and the value is null or has `size` bytes; both belong
        // to the list and so live for 'a.
        unsafe {
            let bytes = |value: *const c_void| std::slice::from_raw_parts(value.cast::<u8>(), size);
            Some((CStr::from_ptr(name).to_string_lossy(), (!value.is_null()).then(|| bytes(value))))
        }
    })
}

/// Bytes of a record: key, value and headers.
pub(super) fn size_of(message: &BorrowedMessage<'_>) -> usize {
    let headers = of(message).map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len));
    message.key_len() + message.payload_len() + headers.sum::<usize>()
}
